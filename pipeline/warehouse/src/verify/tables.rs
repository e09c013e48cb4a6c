//! The tables against the ledger: one query a comparison, each answer a row with what is expected and what is there.
//! What is compared stands in the queries.

use std::time::Duration;

use clickhouse::Row;
use serde::Deserialize;

use super::{Report, State};
use crate::{Warehouse, WarehouseError, queries};

/// How often tables without offsets are compared before it is said that it can't be done. A range is in the tables some
/// milliseconds before it is in the ledger, and a busy collector stores one a second: ten looks find a pause.
const LOOKS_MAX: u32 = 10;

/// Between two looks: longer than a range takes from its first table to the ledger.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Row, Deserialize)]
pub(super) struct Comparison {
    what: String,
    source: String,
    at_least: u64,
    at_most: u64,
    stored: u64,
}

impl Comparison {
    fn finding(&self) -> Option<String> {
        let Self { what, source, at_least, at_most, stored } = self;
        if (at_least..=at_most).contains(&stored) {
            None
        } else if at_least == at_most {
            Some(format!("{what}: {source} says {at_least}, stored are {stored}"))
        } else {
            Some(format!("{what}: {source} says {at_least} to {at_most}, stored are {stored}"))
        }
    }
}

impl Comparison {
    /// What is there too little, and too much.
    pub(super) fn differences(&self) -> (u64, u64) {
        (self.at_least.saturating_sub(self.stored), self.stored.saturating_sub(self.at_most))
    }
}

/// Sorted, since the rows of a `UNION ALL` come in any order.
pub(super) fn findings(comparisons: &[Comparison]) -> Vec<String> {
    let mut findings: Vec<_> = comparisons.iter().filter_map(Comparison::finding).collect();
    findings.sort_unstable();
    findings
}

/// Tables that know offsets: their state up to the committed ones does not change any more.
pub(super) async fn check_by_offset(
    warehouse: &Warehouse,
    parameters: &[(&str, &str)],
    report: &mut Report,
) -> Result<(), WarehouseError> {
    report.findings.extend(findings(&compare_by_offset(warehouse, parameters).await?));
    Ok(())
}

/// The comparison itself, of what was begun after `since_s`.
pub(super) async fn compare_by_offset(
    warehouse: &Warehouse,
    parameters: &[(&str, &str)],
) -> Result<Vec<Comparison>, WarehouseError> {
    warehouse.rows(queries::STORED_BY_OFFSET, parameters).await
}

/// Tables that know none. A difference counts only when the ledger stood still over all looks: otherwise it may be that
/// of a range which is half stored.
pub(super) async fn check_by_time(
    warehouse: &Warehouse,
    first: State,
    report: &mut Report,
) -> Result<(), WarehouseError> {
    let config = warehouse.config();
    let parameters = [
        ("now_s", &*first.now_s.to_string()),
        ("installed_s", &first.installed_s.to_string()),
        ("rollups_ttl_days", &config.rollups_ttl_days.to_string()),
        ("clicks_ttl_days", &config.clicks_ttl_days.to_string()),
    ];
    let (mut before, mut moved) = (State::read(warehouse).await?, false);
    for look in 1..=LOOKS_MAX {
        let comparisons: Vec<Comparison> = warehouse.rows(queries::STORED_BY_TIME, &parameters).await?;
        let found = findings(&comparisons);
        let after = State::read(warehouse).await?;
        let still = (before.ranges, before.events) == (after.ranges, after.events);
        if still && found.is_empty() {
            break;
        }
        (before, moved) = (after, moved || !still);
        if look < LOOKS_MAX {
            tokio::time::sleep(PAUSE).await;
        } else if moved {
            report.findings.push("rollups and clicks could not be compared: ranges keep arriving".to_owned());
        } else {
            let hint =
                if report.messages_waiting > 0 { "; messages wait: a range may be half stored" } else { "" };
            report.findings.extend(found.into_iter().map(|finding| finding + hint));
        }
    }
    Ok(())
}
