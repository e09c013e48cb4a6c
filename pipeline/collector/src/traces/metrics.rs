//! Metrics of the receiver of traces, `collector_trace_…`. Labels are symbols of the code, never of what was sent.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::decode::Decoded;
use crate::failure::Class;

/// Inserts, seconds: some milliseconds when all is well, up to the timeout.
const INSERT_S: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0];

/// Handles of the metrics; clones share their values.
#[derive(Debug, Clone)]
pub struct TraceMetrics {
    exports: Family<ExportLabel, Counter>,
    received: Counter,
    pub(super) stored: Counter,
    rejected: Family<ReasonLabel, Counter>,
    pub(super) repeated: Counter,
    pub(super) queue_bytes: Gauge,
    pub(super) connections: Gauge,
    receiving: Gauge,
    insert_s: Histogram,
    failures: Family<ClassLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExportLabel {
    protocol: &'static str,
    answer: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

impl Default for TraceMetrics {
    fn default() -> Self {
        Self {
            exports: Family::default(),
            received: Counter::default(),
            stored: Counter::default(),
            rejected: Family::default(),
            repeated: Counter::default(),
            queue_bytes: Gauge::default(),
            connections: Gauge::default(),
            receiving: Gauge::default(),
            insert_s: Histogram::new(INSERT_S),
            failures: Family::default(),
        }
    }
}

impl TraceMetrics {
    /// Adds them to a registry, whose prefix is the caller's.
    pub fn register(&self, registry: &mut Registry) {
        let all = registry.sub_registry_with_prefix("collector_trace");
        all.register("exports", "Exports that were answered, by protocol and answer", self.exports.clone());
        all.register("spans_received", "Spans in exports that could be read", self.received.clone());
        all.register("spans_stored", "Spans stored, each once", self.stored.clone());
        all.register("spans_rejected", "Spans that can't be stored, by reason", self.rejected.clone());
        all.register("repeated_exports", "Exports that were known already", self.repeated.clone());
        all.register_with_unit(
            "queue",
            "Rows held until they are stored",
            Unit::Bytes,
            self.queue_bytes.clone(),
        );
        all.register("connections", "Open connections of exporters", self.connections.clone());
        let receiving = "1 while spans are received, 0 where they are not, or no more";
        all.register("receiving", receiving, self.receiving.clone());
        all.register_with_unit("insert_duration", "Time of an insert", Unit::Seconds, self.insert_s.clone());
        all.register("insert_failures", "Inserts that failed, by what follows", self.failures.clone());
    }

    /// Says that spans are received until it is dropped, also by a panic.
    pub(super) fn receiving(&self) -> Receiving {
        self.receiving.set(1);
        Receiving(self.receiving.clone())
    }

    pub(super) fn decoded(&self, decoded: &Decoded) {
        let rejected: u64 = decoded.rejected.values().sum();
        self.received.inc_by(decoded.spans.len() as u64 + rejected);
        for (reason, count) in &decoded.rejected {
            self.rejected(reason.as_str(), *count);
        }
    }

    pub(super) fn rejected(&self, reason: &'static str, spans: u64) {
        self.rejected.get_or_create(&ReasonLabel { reason }).inc_by(spans);
    }

    pub(super) fn answered(&self, protocol: &'static str, answer: &'static str) {
        self.exports.get_or_create(&ExportLabel { protocol, answer }).inc();
    }

    pub(super) fn inserted(&self, took: Duration) {
        self.insert_s.observe(took.as_secs_f64());
    }

    pub(super) fn failed(&self, class: Class) {
        self.failures.get_or_create(&ClassLabel { class: class.as_str() }).inc();
    }
}

/// While it is there, spans are received.
#[derive(Debug)]
pub(super) struct Receiving(Gauge);

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.set(0);
    }
}
