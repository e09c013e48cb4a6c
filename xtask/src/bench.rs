//! `cargo xtask bench NAME`: runs one of the programs' benchmarks and keeps what it measured, with the machine and
//! the commit, so that a number of last month can be set beside one of today. It measures nothing itself.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{command, engine, maven};

/// Benchmarks by name.
const BENCHMARKS: [&str; 2] = [REDIRECT, KAFKA];
/// A subcommand of the program `hoplog-bench`.
const REDIRECT: &str = "redirect";
/// An example of the crate `bench`, since it needs what only tests may depend on.
const KAFKA: &str = "kafka";

pub(crate) fn run(name: &str, args: &[String]) -> Result<()> {
    if !BENCHMARKS.contains(&name) {
        bail!("there is no benchmark {name}; there are: {}", BENCHMARKS.join(", "));
    }
    let mut build = command::cargo()?;
    build.args(["build", "--release", "--package", "hoplog", "--package", "bench", "--bins"]);
    if name == KAFKA {
        build.args(["--example", name]);
    }
    command::run(&mut build)?;
    let library = engine::library()?;
    let release = command::release_dir()?;
    let mut program = if name == KAFKA {
        let mut program = Command::new(release.join("examples").join(name));
        program.env("TESTBED_KAFKA_LIBS", maven::libs("kafka")?);
        program
    } else {
        let mut program = Command::new(release.join("hoplog-bench"));
        program.arg(name);
        program
    };
    program.arg("--hoplog").arg(release.join("hoplog")).args(args);
    program.env_remove("HOPLOG_ENGINE_ARCHIVE").env_remove("HOPLOG_ENGINE_SHA256");
    program.env(engine::LIBRARY_VARIABLE, library).stdin(Stdio::null()).stdout(Stdio::piped());
    let child = program.spawn().context("could not start the benchmark")?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("benchmark {name} failed ({})", output.status);
    }
    let measured: Value = serde_json::from_slice(&output.stdout).context("its result is not JSON")?;
    record(name, &measured)
}

fn record(name: &str, measured: &Value) -> Result<()> {
    let line = json!({
        "benchmark": name,
        "at_unix_s": SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        "commit": commit()?,
        "machine": machine(),
        "result": measured,
    });
    let path = command::root()?.join("bench").join("results.jsonl");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    eprintln!("recorded in bench/results.jsonl");
    Ok(())
}

/// The commit, marked when the files differ from it: such a number belongs to no commit.
fn commit() -> Result<String> {
    let git = |args: &[&str]| command::output(Command::new("git").args(args).current_dir(command::root()?));
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results.jsonl"])?;
    Ok(if changed.is_empty() { commit } else { format!("{commit}+changes") })
}

/// What a reader needs to judge a number by; no host name.
fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    json!({
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "cpu": after(&read("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": after(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}
