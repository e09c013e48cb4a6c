//! What `hoplog verify` prints: for people, or as JSON.

use anyhow::Result;
use serde_json::json;
use warehouse::{PartitionTotals, Report};

/// Prints the report and what the log was compared in.
///
/// # Errors
/// When it can't be written as JSON.
#[allow(clippy::print_stdout)] // the report is what was asked for
pub(super) fn print(report: &Report, partitions: &[PartitionTotals], as_json: bool) -> Result<()> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(&as_value(report, partitions))?);
        return Ok(());
    }
    let Report { ranges, events, kept, sampled_out, dead_lettered, messages_waiting, .. } = report;
    println!(
        "{events} events in {ranges} ranges = {kept} kept + {sampled_out} sampled out + {dead_lettered} dead letters"
    );
    for totals in partitions.iter().filter(|totals| totals.first_offset > 0) {
        let PartitionTotals { partition, first_offset, committed_offset, events, .. } = totals;
        println!(
            "partition {partition}: the log was counted from offset {first_offset} to {committed_offset}: {events} events"
        );
    }
    println!("{messages_waiting} messages wait in the log");
    println!("{} events were numbered and never reached the log", missing(report));
    for gap in &report.producer_gaps {
        let at_end = gap.missing_at_end;
        println!(
            "  {} {} boot {}: {} missing, {at_end} of them at its end",
            gap.service,
            gap.instance,
            gap.boot_id,
            gap.missing + at_end
        );
    }
    for finding in &report.findings {
        println!("WRONG: {finding}");
    }
    println!(
        "{}",
        if report.ok() { "nothing is lost, nothing is there twice" } else { "the books do not balance" }
    );
    Ok(())
}

fn as_value(report: &Report, partitions: &[PartitionTotals]) -> serde_json::Value {
    let boots = report.producer_gaps.iter().map(|gap| {
        json!({
            "service": gap.service, "instance": gap.instance, "boot_id": gap.boot_id,
            "missing": gap.missing, "missing_at_end": gap.missing_at_end, "repeated": gap.repeated,
        })
    });
    let partitions = partitions.iter().map(|totals| {
        json!({
            "partition": totals.partition, "counted_from": totals.first_offset,
            "committed": totals.committed_offset, "end": totals.end_offset, "events": totals.events,
        })
    });
    json!({
        "ok": report.ok(), "findings": report.findings, "messages_waiting": report.messages_waiting,
        "ranges": report.ranges, "events": report.events, "kept": report.kept,
        "sampled_out": report.sampled_out, "dead_lettered": report.dead_lettered,
        "producer_gaps": missing(report), "boots_with_gaps": boots.collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

/// Events that producers numbered and that never reached the log.
pub(super) fn missing(report: &Report) -> u64 {
    report.producer_gaps.iter().map(|gap| gap.missing + gap.missing_at_end).sum()
}
