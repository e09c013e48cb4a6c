//! `cargo xtask up`: from a fresh checkout to a running `hoplog up`. Supervision is hoplog's own work:
//! this process is replaced by it, so signals and exit status are hoplog's.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, engine};

pub(crate) fn run(args: &[String]) -> Result<()> {
    command::run(command::cargo()?.args(["build", "--release", "--package", "hoplog"]))?;
    let library = engine::library()?;
    let mut hoplog = Command::new(command::release_dir()?.join("hoplog"));
    hoplog.arg("up").args(args).env(engine::LIBRARY_VARIABLE, library);
    // Ours alone: hoplog refuses variables of its own prefix that it does not know.
    hoplog.env_remove("HOPLOG_ENGINE_ARCHIVE").env_remove("HOPLOG_ENGINE_SHA256");
    replace_this_process(&mut hoplog)?;
    Ok(())
}

fn replace_this_process(command: &mut Command) -> Result<Infallible> {
    Err(command.exec()).with_context(|| format!("could not start {}", command.get_program().display()))
}
