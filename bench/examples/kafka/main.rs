//! What an outage of Kafka costs redirects: throughput of a closed loop and p99 of an open loop of the same `hoplog serve`,
//! in turns with Kafka running, halted and killed; what was dropped and why; and whether every event of a failure is in
//! the topic in the end. Run by `cargo xtask bench kafka`; result as JSON on standard output. No collector runs.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command line tool talks to its terminal

mod counters;
mod failures;
mod measure;
#[path = "../../src/bin/hoplog-bench/stack.rs"]
#[allow(dead_code, reason = "the other benchmark needs more of it")]
mod stack;
mod summary;
mod topic;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bench::links::{self, NewLink};
use clap::Parser;
use event_log::kafka::{Kafka, KafkaConfig};
use testbed::KafkaOptions;

use crate::counters::Counters;
use crate::failures::Failures;
use crate::measure::{LINKS, Load, Measured, State};
use crate::stack::{Running, Setup, Variant};
use crate::summary::{Found, table};

/// How to run it.
#[derive(Debug, Parser)]
struct Options {
    /// The hoplog binary.
    #[arg(long)]
    hoplog: PathBuf,
    /// Rounds; each measures every state of Kafka once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Requests a second of the open loop.
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// Requests a second that are refused, and so make events of failures. In an outage the emitter has room for
    /// 16,384 of them.
    #[arg(long, default_value_t = 50)]
    failures_per_s: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let scratch = std::env::temp_dir().join(format!("hoplog-bench-kafka-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let result = run(&options, &scratch).await;
    if result.is_ok() {
        std::fs::remove_dir_all(&scratch)?;
    } else {
        eprintln!("state and logs are in {}", scratch.display());
    }
    let summary = result?;
    eprintln!("{}", table(&summary));
    println!("{summary}");
    Ok(())
}

async fn run(options: &Options, scratch: &Path) -> Result<serde_json::Value> {
    let kafka =
        testbed::Kafka::start(KafkaOptions::default()).context("there is no Kafka to measure with")?;
    let settings = [
        ("HOPLOG_EVENT_LOG", "kafka".to_owned()),
        ("HOPLOG_KAFKA__BROKERS", kafka.bootstrap()),
        ("HOPLOG_SERVE__SHORTENER__LIMITS__API_IN_FLIGHT_MAX", "1".to_owned()),
        // Longer than any run: see `failures`.
        ("HOPLOG_SERVE__SHORTENER__LIMITS__BODY_READ_MS_MAX", "86400000".to_owned()),
    ];
    let setup = |settings| Setup {
        hoplog: options.hoplog.clone(),
        data: scratch.join("data"),
        events_off: String::new(),
        settings,
        log: scratch.join("log"),
    };
    // `serve` alone has no one to make its schema and its key: both come from a first `up`, with the spool.
    let codes = create_links(&setup(Vec::new())).await?;
    let settings = settings.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let running = Running::start(Variant::PipelineStopped, &setup(settings)).await?;
    let log = Kafka::new(KafkaConfig { brokers: kafka.bootstrap(), ..KafkaConfig::default() });
    let load = Load::new(options, codes);
    let found = rounds(options, &load, &kafka, &running, &log).await?;
    running.end().await?;
    Ok(found.summary(options))
}

async fn create_links(setup: &Setup) -> Result<Vec<String>> {
    let running = Running::start(Variant::Events, setup).await?;
    let new = |index| NewLink {
        long_url: format!("https://site.example/load/1/{index}"),
        custom_slug: None,
        title: None,
    };
    let created = links::create(&running.target, (0..LINKS).map(new).collect()).await;
    running.end().await?;
    created?.into_iter().map(|code| Ok(code?)).collect()
}

async fn rounds(
    options: &Options,
    load: &Load,
    kafka: &testbed::Kafka,
    running: &Running,
    log: &Kafka,
) -> Result<Found> {
    let failures = Failures::start(&running.target, options.failures_per_s).await?;
    let mut measured: Vec<Measured> = Vec::new();
    let mut requests = 0;
    for round in 1..=options.rounds {
        for state in State::ALL {
            let (before, refused) = (Counters::read(&running.target).await?, failures.count());
            state.enter(kafka);
            let one = load.measure(state, &running.target).await;
            let (after, refused_then) = (Counters::read(&running.target).await?, failures.count());
            state.leave(kafka);
            let mut one = one.with_context(|| format!("Kafka {} in round {round}", state.name()))?;
            requests += one.requests;
            one.failures = refused_then - refused;
            one.dropped = after.dropped_since(&before);
            eprintln!("round {round}: {one}");
            measured.push(one);
            // So that no state is measured beside what another one left.
            counters::until_handed_on(&running.target, || requests + failures.count()).await?;
        }
    }
    let refused = failures.end().await?;
    let counters = counters::until_handed_on(&running.target, || requests + refused).await?;
    eprintln!("reading the topic");
    let topic = topic::read(log).await?;
    Ok(Found { measured, requests, refused, counters, topic })
}
