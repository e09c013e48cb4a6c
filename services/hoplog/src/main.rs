#![doc = include_str!("../README.md")]

mod cli;
mod config;
mod disk;
mod dlq;
mod keys;
mod link_store;
mod load;
mod log;
mod ops;
mod probe;
mod role;
mod secret_file;
mod slo;
mod up;
mod verify;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser as _;
use collector::{RANGE_SPANS, SpanExport};
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

use cli::{Cli, Command};
use config::{Config, Mistake};

/// A mistake in the configuration, as in BSD's `sysexits.h` (EX_USAGE).
const EXIT_CONFIGURATION: u8 = 64;

/// How long the process's end waits for calls that block: a commit to a broker that is gone returns never. What has to
/// be safe is safe before, as after a kill.
const BLOCKED_MAX: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up(place) => configured(&place.clone(), |config| block_on(up::run(place, config))),
        Command::Serve(role) => {
            configured(&role.place, |config| block_on(role::serve::run(config, role.supervised)))
        }
        Command::Collect(role) => collect(&role),
        Command::Engine(role) => {
            configured(&role.place, |config| block_on(role::engine::run(config, role.supervised)))
        }
        Command::Migrate(place) => configured(&place, |config| {
            block_on(async {
                role::migrate::run(&config).await?.close().await;
                role::migrate::topics(&config).await?;
                Ok(ExitCode::SUCCESS)
            })
        }),
        Command::Verify(verify) => {
            configured(&verify.place.clone(), |config| block_on(verify::run(verify, config)))
        }
        Command::Dlq(dlq) => configured(&dlq.place.clone(), |config| block_on(dlq::run(dlq, config))),
        Command::Keys(keys) => configured(&keys.place, |config| block_on(keys::run(keys.action, config))),
        Command::Probe(probe) => {
            configured(&probe.place.clone(), |config| block_on(probe::run(probe, config)))
        }
        Command::Slo(slo) => configured(&slo.place.clone(), |config| block_on(slo::run(slo, config))),
        Command::Load(load) => {
            log_to_stderr(None);
            exit_code(block_on(load::run(load)))
        }
    }
}

/// The collector leaves spans beside its log. Where they go is configured, so that is read first.
fn collect(role: &cli::Role) -> ExitCode {
    let config = Config::load(&role.place).map(|config| (role::collect::span_export(&config), config));
    log_to_stderr(config.as_ref().ok().map(|(export, _)| export));
    started(config, |(export, config)| block_on(role::collect::run(config, export, role.supervised)))
}

/// Reads and checks the configuration before anything is opened or bound.
fn configured(place: &cli::Place, run: impl FnOnce(Config) -> Result<ExitCode>) -> ExitCode {
    log_to_stderr(None);
    started(Config::load(place), run)
}

/// Says all mistakes, where there are some.
fn started<C>(config: Result<C, Vec<Mistake>>, run: impl FnOnce(C) -> Result<ExitCode>) -> ExitCode {
    match config {
        Ok(config) => exit_code(run(config)),
        Err(mistakes) => {
            for mistake in &mistakes {
                tracing::error!("{}: {}", mistake.variable, mistake.problem);
            }
            tracing::error!("mistakes in the configuration: {}; nothing was started", mistakes.len());
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

fn block_on(run: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("can't start the runtime")?;
    let result = runtime.block_on(run);
    runtime.shutdown_timeout(BLOCKED_MAX);
    result
}

/// Says why it failed, with all causes, once.
fn exit_code(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}

/// What the process says of itself; requests leave events instead. Spans of ranges go to `export` and not to the log.
fn log_to_stderr(export: Option<&SpanExport>) {
    let filter = EnvFilter::try_from_env("HOPLOG_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    subscriber(filter, export).init();
}

fn subscriber(filter: EnvFilter, export: Option<&SpanExport>) -> impl Subscriber + Send + Sync + use<> {
    // Of any level; without a word about that, whoever asks would take everything down to `trace` for wanted.
    let no_ranges = filter_fn(|of| of.target() != RANGE_SPANS).with_max_level_hint(LevelFilter::TRACE);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(filter.and(no_ranges));
    let spans = export.and_then(SpanExport::layer);
    tracing_subscriber::registry().with(lines).with(spans)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn nothing_finer_is_wanted_than_log_and_spans_take() {
        let export = role::collect::span_export(&Config::default());
        for (export, said, wanted) in [
            (None, "warn", LevelFilter::WARN),
            (None, "debug", LevelFilter::DEBUG),
            (Some(&export), "warn", LevelFilter::INFO),
        ] {
            assert_eq!(subscriber(EnvFilter::new(said), export).max_level_hint(), Some(wanted), "{said}");
        }
    }

    #[test]
    fn a_call_that_blocks_for_ever_does_not_hold_the_end() {
        let (never, blocked) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            let result = block_on(async {
                let (begun, has_begun) = tokio::sync::oneshot::channel();
                tokio::task::spawn_blocking(move || {
                    begun.send(()).ok();
                    blocked.recv().ok();
                });
                has_begun.await?;
                Ok(ExitCode::SUCCESS)
            });
            ended.send(result.is_ok()).ok();
        });
        // Far above what it waits, since a machine may be slow; it would be for ever.
        assert_eq!(end.recv_timeout(BLOCKED_MAX * 60), Ok(true));
        drop(never);
    }
}
