//! `hoplog verify`: the proof, run against the spool and ClickHouse of this place.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use event_log::spool::Spool;
use serde_json::json;
use warehouse::{PartitionTotals, Report, Warehouse};

use crate::cli::Verify;
use crate::config::Config;
use crate::role::collect::GROUP;

/// Between two looks at a collector that still has something to read.
const POLL: Duration = Duration::from_millis(200);

/// Waits for the collector, compares, prints; exits with 1 where something does not hold.
///
/// # Errors
/// When the event log or ClickHouse can't be read.
pub(crate) async fn run(options: Verify, config: Config) -> Result<ExitCode> {
    let topic = config.spool.topic.clone();
    let spool = Spool::new(config.spool);
    let warehouse = Warehouse::new(&config.warehouse);
    let patience = Instant::now() + Duration::from_secs(options.wait_s);
    // What the log holds now is what is waited for: with traffic going on there is always more.
    let goal = totals(&spool).await?;
    let report = loop {
        let totals = totals(&spool).await?;
        let behind: Vec<String> = goal.iter().filter_map(|goal| behind(goal, &totals)).collect();
        let out_of_time = Instant::now() >= patience;
        if behind.is_empty() || out_of_time {
            let mut report = warehouse::verify(&warehouse, &topic, &totals).await?;
            report.findings.extend(behind);
            // A range that was stored while we looked is no finding; one that stays is.
            if report.ok() || out_of_time {
                break report;
            }
        }
        tokio::time::sleep(POLL).await;
    };
    print(&report, options.json)?;
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the collector has not read of what the log held when we began.
fn behind(goal: &PartitionTotals, now: &[PartitionTotals]) -> Option<String> {
    let committed =
        now.iter().find(|now| now.partition == goal.partition).map_or(0, |now| now.committed_offset);
    (committed < goal.end_offset).then(|| {
        let PartitionTotals { partition, end_offset, .. } = goal;
        format!("partition {partition}: the collector is at {committed}, the log was at {end_offset}: does it run?")
    })
}

async fn totals(spool: &Spool) -> Result<Vec<PartitionTotals>> {
    let totals = spool.totals().await.context("can't read the event log")?;
    let partitions = totals.into_iter().map(|totals| {
        let group = totals.groups.iter().find(|group| group.group == GROUP);
        PartitionTotals {
            partition: totals.partition,
            first_offset: 0, // the group is there before the first message can expire
            committed_offset: group.map_or(0, |group| group.offset),
            end_offset: totals.end_offset,
            events: group.map_or(0, |group| group.events_consumed),
        }
    });
    Ok(partitions.collect())
}

#[allow(clippy::print_stdout)] // the report is what was asked for
fn print(report: &Report, json: bool) -> Result<()> {
    let gaps = || report.producer_gaps.iter();
    let missing: u64 = gaps().map(|gap| gap.missing + gap.missing_at_end).sum();
    if json {
        let boots = gaps().map(|gap| {
            json!({
                "service": gap.service, "instance": gap.instance, "boot_id": gap.boot_id,
                "missing": gap.missing, "missing_at_end": gap.missing_at_end, "repeated": gap.repeated,
            })
        });
        let whole = json!({
            "ok": report.ok(), "findings": report.findings, "messages_waiting": report.messages_waiting,
            "ranges": report.ranges, "events": report.events, "kept": report.kept,
            "sampled_out": report.sampled_out, "dead_lettered": report.dead_lettered,
            "producer_gaps": missing, "boots_with_gaps": boots.collect::<Vec<_>>(),
        });
        println!("{}", serde_json::to_string_pretty(&whole)?);
        return Ok(());
    }
    let Report { ranges, events, kept, sampled_out, dead_lettered, messages_waiting, .. } = report;
    println!(
        "{events} events in {ranges} ranges = {kept} kept + {sampled_out} sampled out + {dead_lettered} dead letters"
    );
    println!("{messages_waiting} messages wait in the log");
    println!("{missing} events were numbered and never reached the log");
    for gap in gaps() {
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
