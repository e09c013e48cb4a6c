//! The proof of what was collected lately, again and again, as metrics: so that loss is an alert and not a discovery.
//!
//! Every collector does it by itself: it costs by what is new, not by what is stored, and if only one of them did it, that
//! one hanging would look like all being well. Nothing is mended here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use event_log::{EventLog, PartitionState};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use warehouse::{Recent, Warehouse};

use super::positions;
use crate::role::collect::GROUP;

/// Looks before a finding counts: a replica may be a moment behind.
const LOOKS_MAX: u32 = 3;
/// Between two looks: longer than a range takes from its first table to its commit.
const PAUSE: Duration = Duration::from_secs(2);
/// One look; one that takes longer is stuck, and counts as one that could not be done.
const WITHIN: Duration = Duration::from_secs(120);
/// What a proof looks back on, as a multiple of the time between two: one or two may fail without leaving a hole.
const WINDOWS: u32 = 4;
/// The least that it looks back on: producers' numbers are settled after five minutes.
const WINDOW_MIN: Duration = Duration::from_secs(15 * 60);
/// Findings that are logged of one proof: the first ones say what it is about.
const FINDINGS_LOGGED_MAX: usize = 20;

/// Gauges of the last proof; clones share their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProofMetrics {
    findings: Gauge,
    lost_messages: Gauge,
    lost_rows: Gauge,
    repeated_rows: Gauge,
    unaccounted_events: Gauge,
    missing_numbers: Gauge,
    done: Gauge,
    failures: Counter,
    last_success_s: Gauge<f64, AtomicU64>,
    duration_s: Gauge<f64, AtomicU64>,
    window_s: Gauge<f64, AtomicU64>,
}

impl ProofMetrics {
    /// Adds them to a registry, whose prefix is the caller's.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let all = registry.sub_registry_with_prefix("verify");
        let gauges = [
            ("findings", "What does not hold of late; 0: nothing is lost or there twice", &self.findings),
            ("lost_messages", "Messages that the log accepted and no range covers", &self.lost_messages),
            ("lost_rows", "Rows and event numbers that the ledger knows and tables lack", &self.lost_rows),
            ("repeated_rows", "Rows and event numbers that are there twice", &self.repeated_rows),
            ("unaccounted_events", "Events of ranges of which nothing became", &self.unaccounted_events),
            ("missing_numbers", "Events that were numbered and never arrived", &self.missing_numbers),
            ("done", "1 if the last proof could be done; 0: log or ClickHouse can't be read", &self.done),
        ];
        for (name, help, gauge) in gauges {
            all.register(name, help, gauge.clone());
        }
        all.register("failures", "Proofs that could not be done", self.failures.clone());
        all.register_with_unit(
            "last_success_timestamp",
            "When a proof last found everything in order, since the Unix epoch; until one did, when the process began",
            Unit::Seconds,
            self.last_success_s.clone(),
        );
        // Its age is alerted on: from 0 it would be that of the epoch.
        self.last_success_s.set(unix_s());
        all.register_with_unit(
            "duration",
            "What the last proof took",
            Unit::Seconds,
            self.duration_s.clone(),
        );
        all.register_with_unit("window", "How far a proof looks back", Unit::Seconds, self.window_s.clone());
    }

    fn set(&self, recent: &Recent) {
        let set = |gauge: &Gauge, number: u64| _ = gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        set(&self.findings, recent.findings.len() as u64);
        set(&self.lost_messages, recent.missing_messages);
        set(&self.lost_rows, recent.lost_rows);
        set(&self.repeated_rows, recent.repeated_rows);
        set(&self.unaccounted_events, recent.unaccounted_events);
        set(&self.missing_numbers, recent.numbers_missing);
        self.done.set(1);
        if recent.findings.is_empty() {
            self.last_success_s.set(unix_s());
        }
    }
}

fn unix_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Proves until it is dropped.
pub(crate) async fn watch(
    log: Arc<dyn EventLog>,
    warehouse: Warehouse,
    metrics: ProofMetrics,
    every: Duration,
) {
    let window = WINDOW_MIN.max(every * WINDOWS);
    metrics.window_s.set(window.as_secs_f64());
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = BTreeSet::new();
    loop {
        ticks.tick().await;
        let started = Instant::now();
        let proof = prove(log.as_ref(), &warehouse, window).await;
        metrics.duration_s.set(started.elapsed().as_secs_f64());
        match proof {
            Ok(recent) => {
                metrics.set(&recent);
                say(&recent.findings, &mut said);
            }
            Err(error) => {
                metrics.done.set(0);
                metrics.failures.inc();
                // The gauges keep what was found last; that log or ClickHouse are away is said where they are needed.
                tracing::debug!("nothing could be proved: {error:#}");
            }
        }
    }
}

/// Looks until nothing is wrong, or what is wrong stays.
async fn prove(log: &dyn EventLog, warehouse: &Warehouse, window: Duration) -> Result<Recent> {
    let mut looks = 1;
    loop {
        let recent = timeout(WITHIN, look(log, warehouse, window)).await.context("no answer in time")??;
        if recent.findings.is_empty() || looks == LOOKS_MAX {
            return Ok(recent);
        }
        looks += 1;
        sleep(PAUSE).await;
    }
}

async fn look(log: &dyn EventLog, warehouse: &Warehouse, window: Duration) -> Result<Recent> {
    let partitions = log.partitions(GROUP).await.context("can't read the event log")?;
    let recent = warehouse::verify_recent(warehouse, log.topic(), &committed(&partitions), window).await;
    let mut recent = recent.context("can't read ClickHouse")?;
    recent.findings.extend(positions::deleted(&partitions));
    let deleted = |state: &PartitionState| state.first_offset.saturating_sub(state.committed_offset);
    recent.missing_messages += partitions.iter().map(deleted).sum::<u64>();
    Ok(recent)
}

/// Of the partitions of which something was collected: a group that never committed is where the log begins.
fn committed(partitions: &[PartitionState]) -> Vec<(u32, u64)> {
    let collected = partitions.iter().filter(|state| state.committed_offset != state.first_offset);
    collected.map(|state| (state.partition, state.committed_offset)).collect()
}

/// Says what was not said the last time.
fn say(findings: &[String], said: &mut BTreeSet<String>) {
    for finding in findings.iter().filter(|finding| !said.contains(*finding)).take(FINDINGS_LOGGED_MAX) {
        tracing::error!("the books do not balance: {finding}");
    }
    if findings.is_empty() && !said.is_empty() {
        tracing::info!("the books of late balance again");
    }
    *said = findings.iter().cloned().collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_last_proof() {
        let (mut registry, metrics, before) = (Registry::default(), ProofMetrics::default(), unix_s());
        metrics.register(registry.sub_registry_with_prefix("hoplog"));
        let begun = metrics.last_success_s.get();
        assert!(begun >= before, "a proof that never succeeded is as old as the process");
        metrics.set(&Recent { findings: vec!["x".to_owned()], lost_rows: 7, ..Recent::default() });
        assert_eq!((metrics.findings.get(), metrics.last_success_s.get()), (1, begun));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in ["hoplog_verify_findings 1", "hoplog_verify_lost_rows 7", "hoplog_verify_done 1"] {
            assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
        }
        metrics.set(&Recent::default());
        assert!(metrics.findings.get() == 0 && metrics.last_success_s.get() >= begun);
    }

    #[test]
    fn partitions_that_nobody_collected_are_not_expected_in_the_ledger() {
        let state = |partition, first_offset, committed_offset| PartitionState {
            partition,
            first_offset,
            committed_offset,
            end_offset: 9,
        };
        assert_eq!(
            committed(&[state(0, 0, 0), state(1, 5, 5), state(2, 5, 7), state(3, 7, 5)]),
            [(2, 7), (3, 5)]
        );
    }
}
