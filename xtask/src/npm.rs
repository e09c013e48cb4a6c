//! Packages for scripts that node runs, with pinned versions and digests, kept in the cache.
//! Scripts of packages are not run.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, engine};

/// What says which packages these are.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// The folder of the packages of `name`, fetched anew when `package.json` or its lock in a folder of the repository
/// change.
pub(crate) fn modules(name: &str, folder: &str) -> Result<PathBuf> {
    let folder = command::root()?.join(folder);
    let directory = engine::cache_dir()?.join("tools").join(name);
    let modules = directory.join("node_modules");
    let installed = directory.join("installed.txt");
    let mut wanted = String::new();
    for file in FILES {
        let path = folder.join(file);
        wanted += &fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    }
    if modules.is_dir() && fs::read_to_string(&installed).is_ok_and(|before| before == wanted) {
        return Ok(modules);
    }
    fs::create_dir_all(&directory)?;
    for file in FILES {
        fs::copy(folder.join(file), directory.join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).arg(&directory);
    command::run(&mut npm)?;
    fs::write(installed, wanted)?;
    Ok(modules)
}
