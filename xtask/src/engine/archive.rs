//! Gets the archive that holds `libchdb.so`: given by the user, by `curl`, or by `npm pack`.
//! It verifies nothing: the digest that counts is the library's own, checked by `install`.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::pin::{Pin, VERSION};
use crate::command;

/// An archive on disk, and whether it is ours to delete.
pub(super) struct Archive {
    pub(super) path: PathBuf,
    pub(super) ours: bool,
}

/// Gets the archive, into `directory` where it has to be downloaded.
pub(super) fn obtain(pin: &Pin, directory: &Path) -> Result<Archive> {
    if let Some(given) = std::env::var_os("HOPLOG_ENGINE_ARCHIVE").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(given);
        if !path.is_file() {
            bail!("HOPLOG_ENGINE_ARCHIVE names {}, which is not a file", path.display());
        }
        return Ok(Archive { path, ours: false });
    }
    match (command::exists("npm"), command::exists("curl")) {
        (true, true) => {
            let wanted = format!("{}@{VERSION}", pin.package);
            let address = command::output(Command::new("npm").args(["view", &wanted, "dist.tarball"]))?;
            if address.is_empty() {
                bail!("npm knows no {wanted}");
            }
            eprintln!("engine: downloading {wanted}, about 180 MB, once");
            download(&address, directory)
        }
        (true, false) => pack(pin, directory),
        (false, true) => {
            let release = VERSION.split('-').next().unwrap_or(VERSION);
            eprintln!(
                "engine: no npm here; downloading {} of chdb-core v{release}, about 180 MB, once",
                pin.asset
            );
            let address =
                format!("https://github.com/chdb-io/chdb-core/releases/download/v{release}/{}", pin.asset);
            download(&address, directory)
        }
        (false, false) => {
            bail!("neither npm nor curl is here: install one, or set HOPLOG_ENGINE_ARCHIVE to the archive")
        }
    }
}

/// Downloads under a temporary name; a partial file of an interrupted run is continued. Were it of something else,
/// the digest would say so and the next run start afresh.
fn download(address: &str, directory: &Path) -> Result<Archive> {
    let path = directory.join("archive.tgz");
    let partial = directory.join("archive.tgz.partial");
    if !path.is_file() {
        let continued = partial.is_file();
        let mut status = curl(address, &partial)?;
        if continued && status.code().is_some_and(cannot_continue) {
            fs::remove_file(&partial)?;
            status = curl(address, &partial)?;
        }
        if !status.success() {
            bail!("the download failed (curl: {status}); run it again to continue from what has arrived");
        }
        fs::rename(&partial, &path)?;
    }
    Ok(Archive { path, ours: true })
}

/// curl's exit status where the server refuses the rest of a file: 22 for an HTTP error (416 among them), 33 and 36
/// for ranges it does not do.
fn cannot_continue(code: i32) -> bool {
    [22, 33, 36].contains(&code)
}

/// A progress bar on a terminal, a line now and then elsewhere.
fn curl(address: &str, path: &Path) -> Result<ExitStatus> {
    let on_terminal = std::io::stderr().is_terminal();
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--location", "--retry", "5", "--retry-delay", "2", "--connect-timeout", "30"]);
    // Below 1 kB/s for a minute nothing arrives any more; waiting for ever would hide it.
    curl.args(["--speed-limit", "1000", "--speed-time", "60", "--continue-at", "-"]);
    curl.args(if on_terminal { &["--progress-bar"][..] } else { &["--silent", "--show-error"] });
    curl.arg("--output").arg(path).arg(address);
    let run = |mut command: Command| command.status().context("could not start curl");
    if on_terminal { run(curl) } else { watched(path, || run(curl)) }
}

/// `npm pack` shows no progress of its own.
fn pack(pin: &Pin, directory: &Path) -> Result<Archive> {
    eprintln!("engine: no curl here; `npm pack` downloads about 180 MB, once, without showing progress");
    let mut npm = Command::new("npm");
    npm.arg("pack").arg(format!("{}@{VERSION}", pin.package)).arg("--pack-destination").arg(directory);
    let name = command::output(npm.current_dir(directory))?;
    let name = name.lines().last().context("npm pack named no file")?;
    Ok(Archive { path: directory.join(name), ours: true })
}

/// Runs a download and says every few seconds how far it is.
fn watched<T>(path: &Path, download: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut ticks = 0_u32;
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
                ticks += 1;
                // Five seconds: often enough to see life, seldom enough for a log.
                if ticks.is_multiple_of(50) {
                    let bytes = fs::metadata(path).map_or(0, |file| file.len());
                    eprintln!("engine: {} MB", bytes / 1_000_000);
                }
            }
        });
        let result = download();
        done.store(true, Ordering::Relaxed);
        result
    })
}
