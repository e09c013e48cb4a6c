//! Metrics of the emitter: of requests (counted where they end), of the queue, of the publisher.
//!
//! What the request path touches are plain atomics; families with locks are the publisher's alone.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::emitter::Shared;

/// Seconds from an event's end to the log's acknowledgement, and of one append. Events are to be queryable
/// within 5 s, of which the publisher should need a tenth.
const PUBLISH_BOUNDS_S: [f64; 12] =
    [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Why events are dropped, but for `log_in_doubt`: such events may be in the log after all.
const FOR_GOOD: [&str; 8] = [
    "queue_full",
    "queue_full_failure",
    "shutdown",
    "encode_panic",
    "log_too_large",
    "log_closed",
    "log_broken",
    "log_refused",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Handles of the metrics; clones share their values.
#[derive(Debug, Clone)]
pub struct EmitterMetrics {
    dropped: Family<Reason, Counter>,
    pub(crate) dropped_queue_full: Counter,
    pub(crate) dropped_queue_full_failure: Counter,
    pub(crate) dropped_shutdown: Counter,
    pub(crate) published_events: Counter,
    pub(crate) published_messages: Counter,
    pub(crate) published_bytes: Counter,
    publish_failures: Family<Reason, Counter>,
    pub(crate) append_seconds: Histogram,
    pub(crate) publish_delay_seconds: Histogram,
    pub(crate) panics: Counter,
}

impl Default for EmitterMetrics {
    fn default() -> Self {
        let dropped = Family::<Reason, Counter>::default();
        // Handles of the reasons that occur on the request path, taken now so that no lock is taken there. Being
        // there from the start, they also show 0 to alerts.
        let counter = |reason| dropped.get_or_create_owned(&Reason { reason });
        Self {
            dropped_queue_full: counter("queue_full"),
            dropped_queue_full_failure: counter("queue_full_failure"),
            dropped_shutdown: counter("shutdown"),
            dropped,
            published_events: Counter::default(),
            published_messages: Counter::default(),
            published_bytes: Counter::default(),
            publish_failures: Family::default(),
            append_seconds: Histogram::new(PUBLISH_BOUNDS_S),
            publish_delay_seconds: Histogram::new(PUBLISH_BOUNDS_S),
            panics: Counter::default(),
        }
    }
}

impl EmitterMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let dropped = "Events that were not published, by reason; each is a gap in its boot's sequence";
        registry.register("events_dropped", dropped, self.dropped.clone());
        registry.register("events_published", "Events the log acknowledged", self.published_events.clone());
        let publisher = registry.sub_registry_with_prefix("publisher");
        publisher.register("messages", "Messages the log acknowledged", self.published_messages.clone());
        publisher.register_with_unit(
            "payload",
            "Payload acknowledged",
            Unit::Bytes,
            self.published_bytes.clone(),
        );
        publisher.register("failures", "Appends that failed, by reason", self.publish_failures.clone());
        let append = "How long an append took, successful or not";
        publisher.register_with_unit("append", append, Unit::Seconds, self.append_seconds.clone());
        let delay = "From the end of a message's oldest hop to the log's acknowledgement";
        publisher.register_with_unit("delay", delay, Unit::Seconds, self.publish_delay_seconds.clone());
        publisher.register("panics", "Panics that the publisher survived", self.panics.clone());
    }

    pub(crate) fn dropped(&self, reason: &'static str, events: u64) {
        self.dropped.get_or_create(&Reason { reason }).inc_by(events);
    }

    pub(crate) fn failed(&self, reason: &'static str) {
        self.publish_failures.get_or_create(&Reason { reason }).inc();
    }

    /// Events acknowledged by the log.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published_events.get()
    }

    /// Events that have a number and will never be published, for whatever reason. Those of an append whose outcome is
    /// not known are not among them.
    #[must_use]
    pub fn dropped_for_good(&self) -> u64 {
        FOR_GOOD.iter().map(|reason| self.dropped_for(reason)).sum()
    }

    /// Events dropped for a reason.
    #[must_use]
    pub fn dropped_for(&self, reason: &'static str) -> u64 {
        self.dropped.get(&Reason { reason }).map_or(0, |counter| counter.get())
    }
}

/// What is read from the request path's atomics at each scrape.
#[derive(Debug)]
pub(crate) struct RequestCollector(pub(crate) Arc<Shared>);

impl Collector for RequestCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.requests.encode(&mut encoder)?;
        let issued = self.0.sequence.issued();
        encoder
            .encode_descriptor("events_issued", "Sequence numbers given out", None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&issued, None)?;
        let gauges = [
            ("queue_depth_events", "Events waiting for the publisher", None, self.0.queue.events()),
            ("queue_size", "Memory of waiting events", Some(&Unit::Bytes), self.0.queue.bytes()),
        ];
        for (name, help, unit, value) in gauges {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}
