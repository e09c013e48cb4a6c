//! Proves that nothing is unaccounted: the event log against the ledger, the ledger against the tables, and the
//! producers' numbers against what arrived. Sums only, so parts that ClickHouse has not merged yet change nothing.
//!
//! Run it while no range is open: a range that is being inserted shows up as a difference.

use clickhouse::Row;
use serde::Deserialize;

use crate::{Warehouse, WarehouseError, queries};

/// What the event log says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionTotals {
    /// Which one.
    pub partition: u32,
    /// Where the group began to consume: 0 unless the log had a past before it.
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

    fn expect_equal(&mut self, what: &str, ledger: u64, stored: u64) {
        if ledger != stored {
            self.findings.push(format!("{what}: the ledger says {ledger}, stored are {stored}"));
        }
    }
}

#[derive(Debug, Clone, Row, Deserialize)]
struct Range {
    log_partition: u32,
    first_offset: u64,
    last_offset: u64,
    messages: u64,
    events: u64,
    events_announced: u64,
    kept: u64,
    sampled_out: u64,
    dead_lettered: u64,
    clicks: u64,
    click_rows: u64,
}

#[derive(Row, Deserialize)]
struct Stored {
    kept_ledger: u64,
    kept_stored: u64,
    dead_ledger: u64,
    dead_stored: u64,
    requests_ledger: u64,
    requests_stored: u64,
    clicks_ledger: u64,
    clicks_stored: u64,
    click_rows_ledger: u64,
    click_rows_stored: u64,
    rollups_expired: u8,
    clicks_expired: u8,
}

/// Compares the event log, the ledger, the tables and the producers' numbers.
///
/// # Errors
/// See [`WarehouseError`]: that it could not be found out, not that something is wrong.
pub async fn verify(
    warehouse: &Warehouse,
    topic: &str,
    partitions: &[PartitionTotals],
) -> Result<Report, WarehouseError> {
    let config = warehouse.config();
    let requests_ttl_days = config.requests_ttl_days.to_string();
    let rollups_ttl_days = config.rollups_ttl_days.to_string();
    let mut report = Report::default();

    let ranges: Vec<Range> = warehouse.rows(queries::LEDGER_RANGES, &[("topic", topic)]).await?;
    check_ranges(&mut report, &ranges, partitions);

    let parameters = [
        ("topic", topic),
        ("requests_ttl_days", &requests_ttl_days),
        ("rollups_ttl_days", &rollups_ttl_days),
        ("clicks_ttl_days", &config.clicks_ttl_days.to_string()),
    ];
    let stored: Vec<Stored> = warehouse.rows(queries::STORED, &parameters).await?;
    for stored in stored {
        check_stored(&mut report, &stored);
    }

    let parameters = [("requests_ttl_days", requests_ttl_days.as_str())];
    report.producer_gaps = warehouse.rows(queries::PRODUCER_GAPS, &parameters).await?;
    for gap in &report.producer_gaps {
        if gap.repeated > 0 {
            let ProducerGap { service, instance, boot_id, repeated, .. } = gap;
            report.findings.push(format!("{service}/{instance}/{boot_id}: {repeated} events arrived twice"));
        }
    }
    Ok(report)
}

/// The ledger by itself, and against the log. `ranges` are sorted by partition and offset.
fn check_ranges(report: &mut Report, ranges: &[Range], partitions: &[PartitionTotals]) {
    for range in ranges {
        let Range {
            log_partition, first_offset, last_offset, events, kept, sampled_out, dead_lettered, ..
        } = range;
        report.ranges += 1;
        report.events += events;
        report.kept += kept;
        report.sampled_out += sampled_out;
        report.dead_lettered += dead_lettered;
        if *events != kept + sampled_out + dead_lettered {
            report.findings.push(format!(
                "partition {log_partition}, {first_offset} to {last_offset}: {events} events are not {kept} kept + \
                 {sampled_out} sampled out + {dead_lettered} dead letters"
            ));
        }
        if range.messages > last_offset.saturating_sub(*first_offset) + 1 || range.click_rows > range.clicks {
            report.findings.push(format!(
                "partition {log_partition}, {first_offset} to {last_offset}: the counts are impossible"
            ));
        }
    }
    for totals in partitions {
        report.messages_waiting += totals.end_offset.saturating_sub(totals.committed_offset);
        let mut next = totals.first_offset;
        let mut announced = 0;
        for range in ranges.iter().filter(|range| range.log_partition == totals.partition) {
            let Range { first_offset, last_offset, .. } = range;
            let partition = totals.partition;
            if *first_offset > next {
                report.findings.push(format!(
                    "partition {partition}: nothing about offsets {next} to {}",
                    first_offset - 1
                ));
            } else if *first_offset < next {
                report.findings.push(format!(
                    "partition {partition}: {first_offset} to {last_offset} overlaps an earlier range"
                ));
            }
            next = next.max(last_offset + 1);
            announced += range.events_announced;
        }
        let PartitionTotals { partition, committed_offset, events, .. } = totals;
        if next < *committed_offset {
            report.findings.push(format!(
                "partition {partition}: committed up to {committed_offset}, the ledger ends at {next}"
            ));
        } else if next > *committed_offset {
            // A range is in the ledger just before it is committed: a crash in between heals with the next start.
            report.findings.push(format!(
                "partition {partition}: the ledger ends at {next}, committed is {committed_offset}"
            ));
        } else if announced != *events {
            report.findings.push(format!(
                "partition {partition}: the log accepted {events} events, the ledger has {announced}"
            ));
        }
    }
    let known = |range: &&Range| partitions.iter().any(|totals| totals.partition == range.log_partition);
    if let Some(range) = ranges.iter().find(|range| !known(range)) {
        report.findings.push(format!("the ledger knows partition {}, the log does not", range.log_partition));
    }
}

fn check_stored(report: &mut Report, stored: &Stored) {
    report.expect_equal("kept events in requests", stored.kept_ledger, stored.kept_stored);
    report.expect_equal("dead letters", stored.dead_ledger, stored.dead_stored);
    // What has begun to expire can't be compared any more.
    if stored.rollups_expired == 0 {
        report.expect_equal("requests in requests_by_minute", stored.requests_ledger, stored.requests_stored);
        report.expect_equal("clicks in clicks_by_hour", stored.clicks_ledger, stored.clicks_stored);
    }
    if stored.clicks_expired == 0 {
        report.expect_equal("rows in clicks", stored.click_rows_ledger, stored.click_rows_stored);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first_offset: u64, last_offset: u64) -> Range {
        let events = last_offset + 1 - first_offset;
        Range {
            log_partition: 0,
            first_offset,
            last_offset,
            messages: events,
            events,
            events_announced: events,
            kept: 0,
            sampled_out: events,
            dead_lettered: 0,
            clicks: 0,
            click_rows: 0,
        }
    }

    fn findings(ranges: &[Range], committed_offset: u64) -> Vec<String> {
        let mut report = Report::default();
        let totals = PartitionTotals {
            partition: 0,
            first_offset: 0,
            committed_offset,
            end_offset: committed_offset,
            events: committed_offset,
        };
        check_ranges(&mut report, ranges, &[totals]);
        report.findings
    }

    #[test]
    fn whole_ledgers_pass_and_others_say_why() {
        let none: [&str; 0] = [];
        assert_eq!(findings(&[range(0, 4), range(5, 9)], 10), none);
        assert_eq!(findings(&[], 0), none);
        for (ranges, committed, expected) in [
            (vec![range(0, 4), range(6, 9)], 10, "nothing about offsets 5 to 5"),
            (vec![range(0, 4), range(4, 9)], 10, "overlaps"),
            (vec![range(0, 4), range(0, 4), range(5, 9)], 10, "overlaps"),
            (vec![range(0, 4)], 10, "the ledger ends at 5"),
            (vec![range(0, 9)], 5, "committed is 5"),
            (vec![Range { sampled_out: 3, ..range(0, 9) }], 10, "10 events are not 0 kept"),
            (
                vec![Range { events_announced: 11, ..range(0, 9) }],
                10,
                "accepted 10 events, the ledger has 11",
            ),
            (vec![Range { log_partition: 7, ..range(0, 9) }], 0, "knows partition 7"),
            (vec![Range { messages: 11, ..range(0, 9) }], 10, "impossible"),
        ] {
            let found = findings(&ranges, committed);
            assert!(found.iter().any(|finding| finding.contains(expected)), "{expected}: {found:?}");
        }
    }
}
