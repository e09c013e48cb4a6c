//! Virtual environments for the scripts that need packages, with pinned versions, kept in the cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, engine};

/// The interpreter of the environment `name`, made anew when its requirements, a file of the repository, change.
pub(crate) fn with(name: &str, requirements: &str) -> Result<PathBuf> {
    let requirements = command::root()?.join(requirements);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("{} cannot be read", requirements.display()))?;
    let directory = engine::cache_dir()?.join("tools").join(name);
    let interpreter = directory.join("bin").join("python3");
    let installed = directory.join("installed.txt");
    if interpreter.is_file() && fs::read_to_string(&installed).is_ok_and(|before| before == wanted) {
        return Ok(interpreter);
    }
    command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory))?;
    let mut pip = Command::new(&interpreter);
    command::run(pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements))?;
    fs::write(installed, wanted)?;
    Ok(interpreter)
}
