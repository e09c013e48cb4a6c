//! `hoplog probe`: black-box monitoring of the whole path, from a new link to the event of its visit in ClickHouse.
//! It uses what callers, visitors and analysts use, and nothing else; what it finds is printed, and counted.

mod metrics;
mod round;
mod visit;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{MissedTickBehavior, interval};
use warehouse::Warehouse;

use crate::cli;
use crate::config::Config;
use crate::ops::{self, Ops, Readiness};
use crate::role::stop::{self, Stop};
use metrics::ProbeMetrics;
use round::{Probe, Round};
use visit::Shortener;

/// More often, it would be load.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// One round, or one after the other until told to end.
///
/// # Errors
/// When there is no token or key, or the address of the metrics can't be bound.
pub(crate) async fn run(options: cli::Probe, config: Config) -> Result<ExitCode> {
    let http = &config.serve.shortener.http;
    ensure!(
        !http.probe_token.is_empty(),
        "no token, so its visits would be taken for visitors': set serve.shortener.http.probe_token here and where \
         the shortener runs; `hoplog up` makes one in its --data"
    );
    let key_file = options.key_file.clone().unwrap_or_else(|| options.place.data.join("admin.key"));
    let key = std::fs::read_to_string(&key_file)
        .with_context(|| format!("can't read the API key from {}", key_file.display()))?;
    let url = options.url.as_deref().unwrap_or(&config.serve.shortener.links.base_url);
    let probe = Probe {
        shortener: Shortener::new(url, key.trim(), http.probe_token.expose())?,
        warehouse: Warehouse::new(&config.warehouse),
        event_within: options.event_within,
    };
    if options.every.is_some() {
        return go_on(&probe, &options, &config.service.version).await;
    }
    let round = probe.round().await;
    print(&round, options.json)?;
    Ok(if round.failed().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn go_on(probe: &Probe, options: &cli::Probe, version: &str) -> Result<ExitCode> {
    let stop = stop::listen(false).context("can't catch signals")?;
    let metrics = ProbeMetrics::default();
    let mut registry = ops::registry(version);
    metrics.register(registry.sub_registry_with_prefix("hoplog"));
    let ops = Ops {
        registry: Arc::new(Mutex::new(registry)),
        further: Box::new(|_| {}),
        // It gets no traffic; what it finds is in the metrics.
        readiness: Box::new(|| Readiness::Ready),
    };
    let listener = ops::bind(options.ops_listen).await?;
    let ops = tokio::spawn(ops::serve(listener, ops, stop::stopped(stop.clone())));
    let outcome = rounds(probe, options, &metrics, stop).await;
    ops.await.context("the ops listener broke")??;
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn rounds(probe: &Probe, options: &cli::Probe, metrics: &ProbeMetrics, stop: Stop) -> Result<()> {
    let mut ticks = interval(options.every.unwrap_or_default().max(EVERY_MIN));
    // A round that takes longer than the time between two is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let round = tokio::select! {
            () = stop::stopped(stop.clone()) => return Ok(()),
            round = async { ticks.tick().await; probe.round().await } => round,
        };
        metrics.add(&round);
        print(&round, options.json)?;
    }
}

#[allow(clippy::print_stdout)] // what it found is what was asked for
fn print(round: &Round, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(round)?);
    } else {
        print!("{round}");
    }
    Ok(())
}
