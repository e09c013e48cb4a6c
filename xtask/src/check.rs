//! `cargo xtask check`: everything that can be said about the code without running it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{command, engine, generate};

/// Installed from source when missing (about a minute), for there is no package of a version that reads our lock file.
const CARGO_DENY: &str = "0.20.2";

pub(crate) fn run() -> Result<()> {
    command::run(command::cargo()?.args(["fmt", "--all", "--check"]))?;
    generate::run(generate::Mode::Check)?;
    command::run(command::cargo()?.args([
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-Dwarnings",
    ]))?;
    let mut doc = command::cargo()?;
    doc.args(["doc", "--release", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings");
    command::run(&mut doc)?;
    let mut deny = Command::new(cargo_deny()?);
    deny.current_dir(command::root()?).args(["--locked", "check", "bans", "licenses", "sources"]);
    command::run(&mut deny)?;
    eprintln!("check: all passed");
    Ok(())
}

/// The pinned `cargo-deny` in our cache. Its advisory and TLS parts are left out, and so is optimisation: it
/// runs for a second and is compiled for longer.
fn cargo_deny() -> Result<PathBuf> {
    let directory = engine::cache_dir()?.join("tools").join(format!("cargo-deny-{CARGO_DENY}"));
    let program = directory.join("bin").join("cargo-deny");
    if !program.is_file() {
        let mut install = command::cargo()?;
        install.args(["install", "--locked", "--no-default-features", "--root"]).arg(&directory);
        install.arg(format!("cargo-deny@{CARGO_DENY}"));
        install.env("CARGO_TARGET_DIR", directory.join("build"));
        for (name, value) in
            [("OPT_LEVEL", "0"), ("LTO", "false"), ("DEBUG", "false"), ("CODEGEN_UNITS", "16")]
        {
            install.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
        }
        command::run(&mut install)?;
        std::fs::remove_dir_all(directory.join("build"))?;
    }
    Ok(program)
}
