//! Proves that nothing is unaccounted: the event log against the ledger, the ledger against the tables, and the
//! producers' numbers against what arrived. Sums only, so parts that ClickHouse has not merged yet change nothing.
//!
//! May run while ranges arrive: what has offsets is compared up to the committed ones that the caller names, what has none
//! is compared again until the ledger stands still meanwhile.

mod ledger;
mod recent;
mod tables;

use clickhouse::Row;
use serde::Deserialize;

pub use recent::{Recent, verify_recent};

use crate::{Warehouse, WarehouseError, queries};

const DAY_S: u32 = 86_400;

/// What the event log says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionTotals {
    /// Which one.
    pub partition: u32,
    /// From where the log can count: 0, or where the ledger has a range that begins there ([`range_from`]). Ranges before it
    /// are compared among themselves only.
    pub first_offset: u64,
    /// Next offset to consume, as committed by the group.
    pub committed_offset: u64,
    /// Offset that the next message gets.
    pub end_offset: u64,
    /// Events in `[first_offset, committed_offset)` as announced by the producers.
    pub events: u64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What does not hold, for people. Empty: everything holds.
    pub findings: Vec<String>,
    /// Messages that wait to be consumed.
    pub messages_waiting: u64,
    /// Ranges in the ledger.
    pub ranges: u64,
    /// Events in the ledger.
    pub events: u64,
    /// Of these, rows in `requests`.
    pub kept: u64,
    /// Of these, counted by the rollups only.
    pub sampled_out: u64,
    /// Of these, in `dead_letters`.
    pub dead_lettered: u64,
    /// Events that producers numbered and that never got into the log, by boot. No fault of the pipeline behind it.
    pub producer_gaps: Vec<ProducerGap>,
}

/// What is missing of one boot of a producer.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct ProducerGap {
    /// Service of the producer.
    pub service: String,
    /// Instance of the producer.
    pub instance: String,
    /// Boot of the producer.
    pub boot_id: String,
    /// Numbers below the highest one seen that never arrived as an event that can be read.
    pub missing: u64,
    /// How many events arrived whose number had arrived before.
    pub repeated: u64,
    /// Numbers above the highest one seen that were given out, as the next boot says.
    pub missing_at_end: u64,
}

impl Report {
    /// Whether everything holds. Gaps of producers are reported, and don't count: they happened before the log.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.findings.is_empty()
    }
}

/// The ledger by now.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
struct State {
    now_s: u32,
    installed_s: u32,
    ranges: u64,
    events: u64,
}

impl State {
    async fn read(warehouse: &Warehouse) -> Result<Self, WarehouseError> {
        let states = warehouse.rows(queries::LEDGER_STATE, &[]).await?;
        states
            .into_iter()
            .next()
            .ok_or_else(|| WarehouseError::Schema("ClickHouse answers nothing".to_owned()))
    }
}

/// Offsets by partition, as a parameter.
fn map(offsets: impl Iterator<Item = (u32, u64)>) -> String {
    let pairs: Vec<String> = offsets.map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    format!("{{{}}}", pairs.join(","))
}

/// Where the first range of a partition begins that begins at or after an offset: from there on sums of the ledger can be
/// compared with those of a log that has lost what was before. None: the ledger has no such range.
///
/// # Errors
/// See [`WarehouseError`].
pub async fn range_from(
    warehouse: &Warehouse,
    topic: &str,
    partition: u32,
    offset: u64,
) -> Result<Option<u64>, WarehouseError> {
    let (partition, offset) = (partition.to_string(), offset.to_string());
    let parameters = [("topic", topic), ("partition", &*partition), ("offset", &*offset)];
    Ok(warehouse.rows(queries::RANGE_FROM, &parameters).await?.into_iter().next())
}

/// Compares the event log, the ledger, the tables and the producers' numbers. `partitions` are as of before the call.
///
/// # Errors
/// See [`WarehouseError`]: that it could not be found out, not that something is wrong.
pub async fn verify(
    warehouse: &Warehouse,
    topic: &str,
    partitions: &[PartitionTotals],
) -> Result<Report, WarehouseError> {
    let config = warehouse.config();
    let state = State::read(warehouse).await?;
    let committed = map(partitions.iter().map(|totals| (totals.partition, totals.committed_offset)));
    let counted_from = map(partitions.iter().map(|totals| (totals.partition, totals.first_offset)));
    // An event is at most a week older than its message; the day that is left is for messages that waited. After a longer
    // wait old events expire sooner than this allows for, and show as missing.
    let fresh_days = config.requests_ttl_days - 8;
    let parameters = [
        ("topic", topic),
        ("committed", &committed),
        ("counted_from", &counted_from),
        ("now_s", &state.now_s.to_string()),
        ("since_s", &state.now_s.saturating_sub(fresh_days * DAY_S).to_string()),
        ("requests_ttl_days", &config.requests_ttl_days.to_string()),
    ];
    let mut report = Report::default();
    // A day before the first range can expire.
    let expiring = u64::from(state.now_s.saturating_sub(state.installed_s)) / u64::from(DAY_S)
        >= u64::from(config.rollups_ttl_days) - 1;
    ledger::check(warehouse, &parameters, partitions, expiring, &mut report).await?;
    tables::check_by_offset(warehouse, &parameters, &mut report).await?;
    tables::check_by_time(warehouse, state, &mut report).await?;

    report.producer_gaps = warehouse.rows(queries::PRODUCER_GAPS, &parameters).await?;
    for gap in report.producer_gaps.iter().filter(|gap| gap.repeated > 0) {
        let ProducerGap { service, instance, boot_id, repeated, .. } = gap;
        report.findings.push(format!("{service}/{instance}/{boot_id}: {repeated} events arrived twice"));
    }
    Ok(report)
}
