//! The proof of what was collected lately, small enough to be made all the time and shown as numbers. Looks at tables that
//! know offsets; rollups and clicks have none and are compared by the whole proof only.

use std::time::Duration;

use super::{ledger, map, tables};
use crate::{Warehouse, WarehouseError, queries};

/// What is wrong of late. All zero: everything holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent {
    /// What does not hold, for people.
    pub findings: Vec<String>,
    /// Messages up to the committed offsets that no range of the ledger covers: lost.
    pub missing_messages: u64,
    /// Events of ranges that are neither kept nor sampled out nor dead letters.
    pub unaccounted_events: u64,
    /// Rows and event numbers that the ledger knows and tables do not have: lost.
    pub lost_rows: u64,
    /// Rows and event numbers that tables have and the ledger does not know, and rows that are there twice.
    pub repeated_rows: u64,
    /// Events that producers numbered and that did not arrive. They may still be on their way in a partition that lags more
    /// than five minutes behind the others.
    pub numbers_missing: u64,
}

/// Compares what was collected in the last `window`, up to the committed offsets (partition and offset of each), and where
/// each partition's ledger ends. Costs by what is in the window, not by what is in the tables. Choose a window some times as
/// long as the time between two calls, and above ten minutes.
///
/// # Errors
/// See [`WarehouseError`]: that it could not be found out, not that something is wrong.
pub async fn verify_recent(
    warehouse: &Warehouse,
    topic: &str,
    committed: &[(u32, u64)],
    window: Duration,
) -> Result<Recent, WarehouseError> {
    // ClickHouse's clock, as in the whole proof.
    let now_s: Vec<u32> = warehouse.rows("SELECT toUInt32(now())", &[]).await?;
    let now_s = now_s.first().copied().unwrap_or_default();
    let since_s = now_s.saturating_sub(u32::try_from(window.as_secs()).unwrap_or(u32::MAX)).to_string();
    let (offsets, now_s) = (map(committed.iter().copied()), now_s.to_string());
    let parameters = [("topic", topic), ("committed", &*offsets), ("since_s", &*since_s), ("now_s", &*now_s)];
    let ranges = ledger::check_ranges(warehouse, &parameters).await?;
    let mut recent = Recent {
        findings: ranges.findings,
        missing_messages: ranges.missing_messages,
        unaccounted_events: ranges.unaccounted_events,
        ..Recent::default()
    };
    for (partition, committed) in committed {
        let ends = reaches(warehouse, topic, *partition).await?;
        if ends < *committed {
            recent.missing_messages += committed - ends;
            recent.findings.push(format!(
                "partition {partition}: committed up to {committed}, the ledger ends at {ends}"
            ));
        }
    }
    let comparisons = tables::compare_by_offset(warehouse, &parameters).await?;
    for (lost, repeated) in comparisons.iter().map(tables::Comparison::differences) {
        recent.lost_rows += lost;
        recent.repeated_rows += repeated;
    }
    recent.findings.extend(tables::findings(&comparisons));
    let missing: Vec<u64> = warehouse.rows(queries::RECENT_NUMBERS, &parameters).await?;
    recent.numbers_missing = missing.first().copied().unwrap_or_default();
    Ok(recent)
}

/// Where a partition's ledger ends; 0 where it has none.
async fn reaches(warehouse: &Warehouse, topic: &str, partition: u32) -> Result<u64, WarehouseError> {
    let partition = partition.to_string();
    let last: Vec<u64> =
        warehouse.rows(queries::LEDGER_REACHES, &[("topic", topic), ("partition", &*partition)]).await?;
    Ok(last.first().map_or(0, |last| last + 1))
}
