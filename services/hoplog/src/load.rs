//! `hoplog load`: the load generator of `bench`, from the command line.

use std::fmt::Display;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bench::{Replay, Target, Workload};
use serde::Serialize;

use crate::cli::Load;

/// An answer later than this counts as a timeout, in a replay.
const REPLAY_TIMEOUT_MS: u64 = 5_000;

/// Sends the traffic and prints the report.
///
/// # Errors
/// When the files can't be read, or the shortener not be reached.
pub(crate) async fn run(load: Load) -> Result<ExitCode> {
    let key = std::fs::read_to_string(&load.key_file)
        .with_context(|| format!("can't read the API key from {}", load.key_file.display()))?;
    let target = Target::parse(&load.url, key.trim())?;
    if let Some(log) = load.replay {
        let replay = Replay {
            log,
            speed: load.speed,
            connections: load.connections,
            timeout_ms: REPLAY_TIMEOUT_MS,
            mapping: load.mapping,
        };
        let report = bench::replay(&replay, &target).await?;
        print(&report, load.json)?;
        // Lines that are no requests are the log's own; links that were refused bend what the replay shows.
        return Ok(if report.refused_links == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut workload = match &load.workload {
        Some(file) => Workload::read(file)?,
        None => Workload::default(),
    };
    workload.seed = load.seed.or(workload.seed);
    print(&bench::run(&workload, &target).await?, load.json)?;
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::print_stdout)] // the report is what was asked for
fn print<T: Serialize + Display>(report: &T, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}
