//! The ledger by itself, and against the event log. ClickHouse adds up and looks for what does not follow; only sums and
//! a bounded number of offenders come here.

use clickhouse::Row;
use serde::Deserialize;

use super::{PartitionTotals, Report};
use crate::{Warehouse, WarehouseError, queries};

/// Ranges that are named when they are wrong. Who has more of them reads the query.
const FAULTS_MAX: usize = 100;

/// A partition, as the ledger has it up to the committed offset.
#[derive(Debug, Clone, Default, Row, Deserialize)]
struct Totals {
    log_partition: u32,
    ranges: u64,
    begins: u64,
    ends: u64,
    beyond: u64,
    events: u64,
    counted_from: u64,
    events_announced: u64,
    kept: u64,
    sampled_out: u64,
    dead_lettered: u64,
}

/// A range that does not follow on the one before it, or does not add up.
#[derive(Debug, Clone, Row, Deserialize)]
struct Fault {
    log_partition: u32,
    first_offset: u64,
    last_offset: u64,
    expected: u64,
    events: u64,
    kept: u64,
    sampled_out: u64,
    dead_lettered: u64,
    impossible: u8,
}

/// `expiring`: the installation is so old that its first ranges may be gone.
pub(super) async fn check(
    warehouse: &Warehouse,
    parameters: &[(&str, &str)],
    partitions: &[PartitionTotals],
    expiring: bool,
    report: &mut Report,
) -> Result<(), WarehouseError> {
    let totals: Vec<Totals> = warehouse.rows(queries::LEDGER_TOTALS, parameters).await?;
    check_totals(report, &totals, partitions, expiring);
    let of_all_times = parameters.iter().filter(|(name, _)| *name != "since_s");
    let of_all_times: Vec<_> = of_all_times.copied().chain([("since_s", "0")]).collect();
    report.findings.extend(check_ranges(warehouse, &of_all_times).await?.findings);
    Ok(())
}

/// What is wrong with ranges by themselves.
#[derive(Debug, Default)]
pub(super) struct RangeFaults {
    pub(super) findings: Vec<String>,
    /// Offsets that no range covers, between ranges.
    pub(super) missing_messages: u64,
    /// By how much events differ from what became of them.
    pub(super) unaccounted_events: u64,
}

/// Ranges that do not follow on each other or do not add up, from `since_s` on.
pub(super) async fn check_ranges(
    warehouse: &Warehouse,
    parameters: &[(&str, &str)],
) -> Result<RangeFaults, WarehouseError> {
    let limit = (FAULTS_MAX + 1).to_string();
    let parameters: Vec<_> = parameters.iter().copied().chain([("limit", &*limit)]).collect();
    Ok(range_faults(&warehouse.rows::<Fault>(queries::LEDGER_FAULTS, &parameters).await?))
}

fn check_totals(report: &mut Report, ledger: &[Totals], partitions: &[PartitionTotals], expiring: bool) {
    for totals in ledger {
        report.ranges += totals.ranges;
        report.events += totals.events;
        report.kept += totals.kept;
        report.sampled_out += totals.sampled_out;
        report.dead_lettered += totals.dead_lettered;
        if !partitions.iter().any(|log| log.partition == totals.log_partition) {
            report
                .findings
                .push(format!("the ledger knows partition {}, the log does not", totals.log_partition));
        }
    }
    for log in partitions {
        report.messages_waiting += log.end_offset.saturating_sub(log.committed_offset);
        let totals = ledger.iter().find(|totals| totals.log_partition == log.partition);
        let totals = totals.cloned().unwrap_or_default();
        report.findings.extend(against_log(&totals, log, expiring));
    }
}

/// What does not hold between a partition's ledger and its log.
fn against_log(ledger: &Totals, log: &PartitionTotals, expiring: bool) -> Vec<String> {
    let PartitionTotals { partition, first_offset, committed_offset, events, .. } = log;
    let Totals { begins, beyond, counted_from, events_announced, .. } = ledger;
    let mut findings = Vec::new();
    if *beyond > 0 {
        findings.push(format!(
            "partition {partition}: the ledger ends at {beyond}, committed is {committed_offset}"
        ));
    }
    if ledger.ranges == 0 {
        if committed_offset > first_offset && !expiring {
            findings.push(format!(
                "partition {partition}: committed up to {committed_offset}, the ledger ends at {first_offset}"
            ));
        }
        return findings;
    }
    let ends = ledger.ends;
    if begins > first_offset && !expiring {
        findings
            .push(format!("partition {partition}: nothing about offsets {first_offset} to {}", begins - 1));
    }
    if ends < *committed_offset {
        findings.push(format!(
            "partition {partition}: committed up to {committed_offset}, the ledger ends at {ends}"
        ));
    } else if ends > *committed_offset {
        findings.push(format!(
            "partition {partition}: the ledger ends at {ends}, committed is {committed_offset}"
        ));
    } else if events_announced > events || (events_announced < events && counted_from == first_offset) {
        // Where no range begins at the log's first offset, the log has more: it does not say how many of its events were in
        // what is gone, or in a range that began before.
        findings.push(format!(
            "partition {partition}: the log accepted {events} events, the ledger has {events_announced}"
        ));
    }
    findings
}

fn range_faults(faults: &[Fault]) -> RangeFaults {
    let mut found = RangeFaults::default();
    for fault in faults.iter().take(FAULTS_MAX) {
        let Fault { log_partition, first_offset, last_offset, expected, events, .. } = fault;
        let Fault { kept, sampled_out, dead_lettered, .. } = fault;
        let range = format!("partition {log_partition}, {first_offset} to {last_offset}");
        if first_offset > expected {
            let before = first_offset - 1;
            found.missing_messages += first_offset - expected;
            found
                .findings
                .push(format!("partition {log_partition}: nothing about offsets {expected} to {before}"));
        } else if first_offset < expected {
            found.findings.push(format!("{range}: overlaps an earlier range"));
        }
        let accounted = kept.saturating_add(*sampled_out).saturating_add(*dead_lettered);
        if accounted != *events {
            found.unaccounted_events = found.unaccounted_events.saturating_add(accounted.abs_diff(*events));
            found.findings.push(format!(
                "{range}: {events} events are not {kept} kept + {sampled_out} sampled out + {dead_lettered} dead letters"
            ));
        }
        if fault.impossible != 0 {
            found.findings.push(format!("{range}: the counts are impossible"));
        }
    }
    if faults.len() > FAULTS_MAX {
        found.findings.push(format!("more than {FAULTS_MAX} ranges are wrong: these are the first"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_covers_its_log_or_says_why() {
        let whole = Totals { ranges: 2, ends: 10, events: 10, events_announced: 10, ..Totals::default() };
        let begins_late = Totals { begins: 4, counted_from: 4, events_announced: 6, ..whole.clone() };
        let log = PartitionTotals {
            partition: 3,
            first_offset: 0,
            committed_offset: 10,
            end_offset: 12,
            events: 10,
        };
        // The log has lost what was before 4; a range begins there, or goes over it.
        let later = PartitionTotals { first_offset: 4, events: 6, ..log };
        let from_there = Totals { counted_from: 4, events_announced: 6, ..whole.clone() };
        for (ledger, expected) in [
            (from_there.clone(), None),
            (Totals { events_announced: 5, ..from_there.clone() }, Some("the ledger has 5")),
            (Totals { counted_from: 5, events_announced: 5, ..from_there.clone() }, None),
            (Totals { counted_from: 5, events_announced: 7, ..from_there }, Some("the ledger has 7")),
        ] {
            let found = against_log(&ledger, &later, false);
            assert_eq!(found.is_empty(), expected.is_none(), "{found:?}");
            assert!(expected.is_none_or(|text| found[0].contains(text)), "{found:?}");
        }
        for (ledger, expiring, expected) in [
            (whole.clone(), false, None),
            (whole.clone(), true, None),
            (begins_late.clone(), false, Some("nothing about offsets 0 to 3")),
            (begins_late.clone(), true, None),
            (Totals { events_announced: 11, ..begins_late }, true, Some("the ledger has 11")),
            (Totals::default(), false, Some("the ledger ends at 0")),
            (Totals::default(), true, None),
            (Totals { ends: 9, ..whole.clone() }, true, Some("the ledger ends at 9")),
            (Totals { ends: 12, ..whole.clone() }, false, Some("the ledger ends at 12")),
            (Totals { beyond: 20, ..whole.clone() }, false, Some("the ledger ends at 20")),
            (Totals { events_announced: 9, ..whole }, false, Some("the ledger has 9")),
        ] {
            let found = against_log(&ledger, &log, expiring);
            let as_expected = match expected {
                None => found.is_empty(),
                Some(text) => found.iter().any(|finding| finding.contains(text)),
            };
            assert!(as_expected, "{expected:?}: {found:?}");
        }
    }
}
