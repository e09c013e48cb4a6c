//! Fetches the engine library once per machine. Order: what is cached; else an archive (`archive`), unpacked,
//! verified and renamed into place (`install`). What version and digest that is, `pin` says.

mod archive;
mod install;
mod pin;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Tells `hoplog` where the library is; it would find the cached one without.
pub(crate) const LIBRARY_VARIABLE: &str = "HOPLOG_ENGINE__LIBRARY";

/// The path of the library that the user names, else of the cached one.
pub(crate) fn library() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(LIBRARY_VARIABLE).filter(|value| !value.is_empty()) {
        let named = std::path::absolute(named)?;
        if !named.is_file() {
            bail!("{LIBRARY_VARIABLE} names {}, which is not a file", named.display());
        }
        return Ok(named);
    }
    fetch()
}

/// The path of the verified library in the cache; downloads it where it is not there.
pub(crate) fn fetch() -> Result<PathBuf> {
    let digest = std::env::var("HOPLOG_ENGINE_SHA256").ok();
    let pin = pin::pin(std::env::consts::OS, std::env::consts::ARCH, digest.as_deref())?;
    let directory = cache_dir()?.join("engine").join(pin::VERSION);
    install::ensure(&directory, &pin.sha256, |directory| archive::obtain(&pin, directory))
        .with_context(|| format!("could not get the engine library into {}", directory.display()))
}

/// Where hoplog's tooling keeps what is downloaded once per machine.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = set("HOPLOG_CACHE_DIR") {
        return std::path::absolute(own).context("HOPLOG_CACHE_DIR is not a usable path");
    }
    let shared = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(shared.context("set HOPLOG_CACHE_DIR: there is neither XDG_CACHE_HOME nor HOME")?.join("hoplog"))
}
