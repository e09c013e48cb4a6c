//! `hoplog slo`: budgets, burn rates and forecasts from ClickHouse alone, and the gate that a new version passes. What an SLO
//! measures and how budgets are reckoned stands in the crate `alerts`; here it is asked, judged and printed.

mod gate;
mod report;
mod status;

use std::process::ExitCode;

use alerts::Slos;
use anyhow::{Context as _, Result, bail};
use warehouse::Warehouse;

use crate::cli::{Slo, SloAction};
use crate::config::Config;

/// Not known, or not yet: ask again later.
const EXIT_WAIT: u8 = 3;
/// Nothing more should be released: a version is to be rolled back, a budget is spent, or one burns so that somebody is paged.
const EXIT_STOP: u8 = 4;

/// Seconds without anything new, after which nobody knows how things are: no traffic looks like no collector, and what a
/// version did before says nothing of how it does now.
const QUIET_S: u32 = 300;

/// Asks, prints, and says by the exit status what follows: 0 go on, 3 wait, 4 stop, 1 that it could not be found out.
///
/// # Errors
/// When ClickHouse can't be asked, or there is no such SLO.
pub(crate) async fn run(options: Slo, config: Config) -> Result<ExitCode> {
    let mut slos = Slos::built_in()?.slos;
    if !options.names.is_empty() {
        let unknown: Vec<_> =
            options.names.iter().filter(|name| slos.iter().all(|slo| slo.name != **name)).collect();
        if !unknown.is_empty() {
            let known: Vec<_> = slos.iter().map(|slo| slo.name.as_str()).collect();
            bail!("no SLO {unknown:?}; there are {}", known.join(", "));
        }
        slos.retain(|slo| options.names.contains(&slo.name));
    }
    let warehouse = Warehouse::new(&config.warehouse);
    match options.action {
        None => status::run(&slos, &config.service.name, &warehouse, options.json).await,
        Some(SloAction::Gate(gate)) => {
            gate::run(&gate, &slos, &config.service.name, &warehouse, options.json).await
        }
    }
}

/// Seconds since 1970 by this machine's clock.
fn now_s() -> Result<u32> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    u32::try_from(now).context("the clock is beyond what ClickHouse's times hold")
}
