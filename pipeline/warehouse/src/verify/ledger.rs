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
    let limit = (FAULTS_MAX + 1).to_string();
    let parameters: Vec<_> = parameters.iter().copied().chain([("limit", &*limit)]).collect();
    let faults: Vec<Fault> = warehouse.rows(queries::LEDGER_FAULTS, &parameters).await?;
    check_faults(report, &faults);
    Ok(())
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
    let Totals { begins, beyond, events_announced, .. } = ledger;
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
    if begins < first_offset {
        findings.push(format!("partition {partition}: {begins} overlaps what was before {first_offset}"));
    } else if begins > first_offset && !expiring {
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
    } else if events_announced > events || (events_announced < events && begins == first_offset) {
        // With the first ranges gone, the log has more: it does not say how many of its events were in them.
        findings.push(format!(
            "partition {partition}: the log accepted {events} events, the ledger has {events_announced}"
        ));
    }
    findings
}

fn check_faults(report: &mut Report, faults: &[Fault]) {
    for fault in faults.iter().take(FAULTS_MAX) {
        let Fault { log_partition, first_offset, last_offset, expected, events, .. } = fault;
        let Fault { kept, sampled_out, dead_lettered, .. } = fault;
        let range = format!("partition {log_partition}, {first_offset} to {last_offset}");
        if first_offset > expected {
            let before = first_offset - 1;
            report
                .findings
                .push(format!("partition {log_partition}: nothing about offsets {expected} to {before}"));
        } else if first_offset < expected {
            report.findings.push(format!("{range}: overlaps an earlier range"));
        }
        if kept.saturating_add(*sampled_out).saturating_add(*dead_lettered) != *events {
            report.findings.push(format!(
                "{range}: {events} events are not {kept} kept + {sampled_out} sampled out + {dead_lettered} dead letters"
            ));
        }
        if fault.impossible != 0 {
            report.findings.push(format!("{range}: the counts are impossible"));
        }
    }
    if faults.len() > FAULTS_MAX {
        report.findings.push(format!("more than {FAULTS_MAX} ranges are wrong: these are the first"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_covers_its_log_or_says_why() {
        let whole = Totals { ranges: 2, ends: 10, events: 10, events_announced: 10, ..Totals::default() };
        let begins_late = Totals { begins: 4, events_announced: 6, ..whole.clone() };
        let log = PartitionTotals {
            partition: 3,
            first_offset: 0,
            committed_offset: 10,
            end_offset: 12,
            events: 10,
        };
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
