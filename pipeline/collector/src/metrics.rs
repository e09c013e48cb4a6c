//! Metrics of the collector. Counts are of what was stored and committed once, except for tries and failures.
//! Nothing here decides anything; labels are symbols of the code, never of the input.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::Health;
use crate::batch::Batch;
use crate::failure::Class;
use crate::freshness::Freshness;
use crate::health::Who;
use crate::time::now_us;

/// Inserts, seconds: some milliseconds when all is well, up to the timeout.
const INSERT_S: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Handles of the metrics; clones share their values.
#[derive(Debug, Clone)]
pub struct CollectorMetrics {
    /// Whether the collector stores what it reads.
    pub health: Health,
    pub(crate) consumed_messages: Counter,
    pub(crate) consumed_bytes: Counter,
    pub(crate) buffered_bytes: Gauge,
    pub(crate) open_intents: Gauge,
    pub(crate) gate_open: Gauge,
    pub(crate) lag_messages: Family<PartitionLabel, Gauge>,
    pub(crate) lag_s: Family<PartitionLabel, Gauge<f64, AtomicU64>>,
    ranges: Counter,
    replayed_ranges: Counter,
    events: Counter,
    kept: Family<ReasonLabel, Counter>,
    sampled_out: Counter,
    dead_letters: Family<ReasonLabel, Counter>,
    clicks: Counter,
    collapsed: Counter,
    folded: Counter,
    freshness: Freshness,
    spans: Counter,
    lost_spans: Counter,
    insert_rows: Family<TableLabel, Counter>,
    insert_bytes: Family<TableLabel, Counter>,
    insert_s: Family<TableLabel, Histogram, fn() -> Histogram>,
    failures: Family<FailureLabel, Counter>,
}

/// Label of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PartitionLabel {
    pub(crate) partition: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabel {
    table: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabel {
    step: &'static str,
    class: &'static str,
}

impl Default for CollectorMetrics {
    fn default() -> Self {
        Self {
            health: Health::default(),
            consumed_messages: Counter::default(),
            consumed_bytes: Counter::default(),
            buffered_bytes: Gauge::default(),
            open_intents: Gauge::default(),
            gate_open: Gauge::default(),
            lag_messages: Family::default(),
            lag_s: Family::default(),
            ranges: Counter::default(),
            replayed_ranges: Counter::default(),
            events: Counter::default(),
            kept: Family::default(),
            sampled_out: Counter::default(),
            dead_letters: Family::default(),
            clicks: Counter::default(),
            collapsed: Counter::default(),
            folded: Counter::default(),
            freshness: Freshness::default(),
            spans: Counter::default(),
            lost_spans: Counter::default(),
            insert_rows: Family::default(),
            insert_bytes: Family::default(),
            insert_s: Family::new_with_constructor(|| Histogram::new(INSERT_S)),
            failures: Family::default(),
        }
    }
}

impl CollectorMetrics {
    /// Adds them to a registry, whose prefix is the caller's.
    pub fn register(&self, registry: &mut Registry) {
        let all = registry.sub_registry_with_prefix("collector");
        all.register("consumed_messages", "Messages read from the event log", self.consumed_messages.clone());
        all.register_with_unit(
            "consumed",
            "Payload read from the event log",
            Unit::Bytes,
            self.consumed_bytes.clone(),
        );
        all.register_with_unit(
            "buffered",
            "Payload held, being inserted included",
            Unit::Bytes,
            self.buffered_bytes.clone(),
        );
        all.register("open_intents", "Ranges begun and not yet committed", self.open_intents.clone());
        all.register("gate_open", "1 if ranges can be stored; 0 needs a person", self.gate_open.clone());
        all.register("lag_messages", "Messages not yet committed", self.lag_messages.clone());
        all.register_with_unit(
            "lag",
            "Age of the oldest message not yet committed; 0 if none",
            Unit::Seconds,
            self.lag_s.clone(),
        );
        all.register("ranges", "Ranges stored and committed", self.ranges.clone());
        all.register("replayed_ranges", "Of these, begun by an earlier life", self.replayed_ranges.clone());
        all.register("events", "Events in committed ranges", self.events.clone());
        all.register("kept_events", "Events stored whole, by reason", self.kept.clone());
        all.register("sampled_out_events", "Events only counted", self.sampled_out.clone());
        all.register(
            "dead_letter_events",
            "Events that could not be stored, by reason",
            self.dead_letters.clone(),
        );
        all.register("clicks", "Clicks in committed ranges", self.clicks.clone());
        all.register(
            "collapsed_events",
            "Events counted under `other` since a range had too many series",
            self.collapsed.clone(),
        );
        all.register(
            "folded_visits",
            "Visits counted under `(other)` since a range had too many values, once a dimension",
            self.folded.clone(),
        );
        all.register_with_unit(
            "freshness",
            "From an event's own time until it can be queried, of every event",
            Unit::Seconds,
            self.freshness.clone(),
        );
        all.register("event_spans", "Spans of kept events, stored", self.spans.clone());
        all.register(
            "lost_event_spans",
            "Spans of kept events that are not stored: too many in a range, or not taken by their table",
            self.lost_spans.clone(),
        );
        self.register_inserts(all);
        all.register_collector(Box::new(Waits(self.health.clone())));
    }

    fn register_inserts(&self, all: &mut Registry) {
        all.register(
            "insert_rows",
            "Rows acknowledged, repetitions included, by table",
            self.insert_rows.clone(),
        );
        all.register_with_unit(
            "insert",
            "Bytes acknowledged before compression, by table",
            Unit::Bytes,
            self.insert_bytes.clone(),
        );
        all.register_with_unit(
            "insert_duration",
            "Time of acknowledged inserts, by table",
            Unit::Seconds,
            self.insert_s.clone(),
        );
        all.register("failures", "Failed tries, by what was tried and what follows", self.failures.clone());
    }

    pub(crate) fn failed(&self, step: &'static str, class: Class) {
        self.failures.get_or_create(&FailureLabel { step, class: class.as_str() }).inc();
    }

    pub(crate) fn inserted(&self, table: &'static str, rows: usize, bytes: usize, took: Duration) {
        let label = TableLabel { table };
        self.insert_rows.get_or_create(&label).inc_by(rows as u64);
        self.insert_bytes.get_or_create(&label).inc_by(bytes as u64);
        self.insert_s.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// A range was stored and committed.
    pub(crate) fn committed(&self, batch: &Batch, replay: bool, now_us: i64) {
        self.ranges.inc();
        self.replayed_ranges.inc_by(u64::from(replay));
        self.events.inc_by(batch.ledger.seen.events);
        for (reason, count) in &batch.kept {
            self.kept.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc_by(*count);
        }
        self.sampled_out.inc_by(batch.ledger.sampled_out());
        for (reason, count) in &batch.dead_letters {
            self.dead_letters.get_or_create(&ReasonLabel { reason }).inc_by(*count);
        }
        let spans = batch.spans_stored.map(|stored| if stored { &self.spans } else { &self.lost_spans });
        if let Some(spans) = spans {
            spans.inc_by(batch.spans.rows() as u64);
        }
        self.lost_spans.inc_by(batch.spans_omitted);
        self.clicks.inc_by(batch.ledger.visits.clicks);
        self.collapsed.inc_by(batch.collapsed);
        self.folded.inc_by(batch.folded);
        self.freshness.add(&batch.ages, now_us);
    }

    /// Says whether ranges can be stored, and why not. Returns whether that is news.
    pub(crate) fn gate(&self, who: Who, blocked_by: Option<String>) -> bool {
        let news = self.health.set(who, blocked_by);
        self.gate_open.set(i64::from(self.health.blocked_by().is_none()));
        news
    }
}

/// How long things have been under way, true at each scrape whatever the collector is doing.
#[derive(Debug)]
struct Waits(Health);

impl Collector for Waits {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let oldest_us = self.0.oldest_intent_us().map_or(0, |at| now_us().saturating_sub(at).max(0));
        for (name, help, seconds) in [
            (
                "stalled",
                "How long the start, an open range or a failed read has been under way; 0 if nothing is",
                self.0.stalled().as_secs_f64(),
            ),
            (
                "oldest_intent",
                "Age of the oldest open range since it was first begun, by whichever process; 0 if none is open",
                oldest_us as f64 / 1e6,
            ),
        ] {
            let gauge = ConstGauge::new(seconds);
            gauge.encode(encoder.encode_descriptor(
                name,
                help,
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_units_are_prometheus_style() {
        let (mut registry, metrics) = (Registry::default(), CollectorMetrics::default());
        metrics.register(registry.sub_registry_with_prefix("hoplog"));
        metrics.failed("insert", Class::Retry);
        metrics.health.end(Who::Start);
        metrics.inserted("clicks", 3, 40, Duration::from_millis(7));
        metrics.lag_s.get_or_create(&PartitionLabel { partition: 1 }).set(2.5);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "hoplog_collector_failures_total{step=\"insert\",class=\"retry\"} 1",
            "hoplog_collector_insert_rows_total{table=\"clicks\"} 3",
            "hoplog_collector_insert_bytes_total{table=\"clicks\"} 40",
            "hoplog_collector_insert_duration_seconds_count{table=\"clicks\"} 1",
            "hoplog_collector_lag_seconds{partition=\"1\"} 2.5",
            "hoplog_collector_gate_open 0",
            "hoplog_collector_stalled_seconds 0.0",
            "hoplog_collector_oldest_intent_seconds 0.0",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
        }
    }
}
