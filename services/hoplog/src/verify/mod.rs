//! `hoplog verify`: the proof, run against the event log and ClickHouse of this place. What is compared stands in
//! `warehouse`; here is what the log says, when to ask again, and what is printed.

mod positions;
mod report;
mod watch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use warehouse::Warehouse;

use crate::cli::Verify;
use crate::config::Config;
use crate::log;
use positions::{Behind, Positions};
pub(crate) use watch::{ProofMetrics, watch};

/// Between two looks at a collector that still has something to read.
const POLL: Duration = Duration::from_millis(200);
/// A collector that runs has read what there is, or moved, within that.
const STILL: Duration = Duration::from_secs(3);

/// Waits for the collector, compares, prints; exits with 1 where something does not hold.
///
/// # Errors
/// When the event log or ClickHouse can't be read.
pub(crate) async fn run(options: Verify, config: Config) -> Result<ExitCode> {
    let log = log::event_log_of_tool(&config);
    let warehouse = Warehouse::new(&config.warehouse);
    let positions = Positions {
        log: log.as_ref(),
        kind: config.event_log,
        warehouse: &warehouse,
        messages_max: options.messages_max,
    };
    let patience = Instant::now() + Duration::from_secs(options.wait_s);
    // What the log holds now is what is waited for: with traffic going on there is always more.
    let at_first = positions.read().await?;
    let (mut seen, mut moved) = (Vec::new(), Instant::now());
    let (report, totals) = loop {
        let now = positions.read().await?;
        let mut behind = positions::behind(&at_first, &now);
        if seen != behind {
            (seen, moved) = (behind.clone(), Instant::now());
        }
        let out_of_time = Instant::now() >= patience;
        if !behind.is_empty() && (out_of_time || moved.elapsed() >= STILL) {
            behind = positions.without_marks(behind).await?;
        }
        if behind.is_empty() || out_of_time {
            let totals = positions.count(&now).await?;
            let mut report = warehouse::verify(&warehouse, log.topic(), &totals).await?;
            report.findings.extend(behind.iter().map(Behind::to_string));
            report.findings.extend(positions::deleted(&now));
            // A range that was stored while we looked is no finding; one that stays is.
            if report.ok() || out_of_time {
                break (report, totals);
            }
        }
        tokio::time::sleep(POLL).await;
    };
    report::print(&report, &totals, options.json)?;
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
