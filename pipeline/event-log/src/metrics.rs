//! Metrics of the event log. Counters are exact for this process; gauges of the spool are of the whole spool and
//! refreshed about once a second by the process that appends. The collector's lag is the collector's.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::AppendError;
use crate::kafka::KafkaMetrics;

/// Handles of the metrics; clones share their values.
#[derive(Debug, Clone, Default)]
pub struct EventLogMetrics {
    pub(crate) appended_messages: Counter,
    pub(crate) appended_events: Counter,
    pub(crate) appended_bytes: Counter,
    pub(crate) append_failures: Family<FailureLabels, Counter>,
    pub(crate) spool_bytes: Gauge,
    pub(crate) spool_bytes_max: Gauge,
    pub(crate) depth_messages: Gauge,
    pub(crate) depth_events: Gauge,
    pub(crate) oldest_age_s: Gauge<f64, AtomicU64>,
    pub(crate) kafka: KafkaMetrics,
}

/// Labels of a failed append.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FailureLabels {
    reason: &'static str,
}

impl EventLogMetrics {
    /// Adds them to a registry, whose prefix is the caller's.
    pub fn register(&self, registry: &mut Registry) {
        let log = registry.sub_registry_with_prefix("event_log");
        log.register("appended_messages", "Messages durably appended", self.appended_messages.clone());
        log.register("appended_events", "Events in the messages appended", self.appended_events.clone());
        log.register_with_unit("appended", "Payload appended", Unit::Bytes, self.appended_bytes.clone());
        log.register("append_failures", "Append calls that failed, by reason", self.append_failures.clone());
        let spool = registry.sub_registry_with_prefix("spool");
        spool.register_with_unit("disk", "Size of the spool on disk", Unit::Bytes, self.spool_bytes.clone());
        let limit = "Size that the spool may have; 0: this process has none";
        spool.register_with_unit("disk_max", limit, Unit::Bytes, self.spool_bytes_max.clone());
        spool.register("depth_messages", "Messages some group has not consumed", self.depth_messages.clone());
        spool.register("depth_events", "Events some group has not consumed", self.depth_events.clone());
        spool.register_with_unit(
            "oldest_unconsumed_age",
            "Age of the oldest message some group has not consumed; 0 if none",
            Unit::Seconds,
            self.oldest_age_s.clone(),
        );
        self.kafka.register(registry);
    }

    pub(crate) fn failed(&self, error: &AppendError) {
        self.append_failures.get_or_create(&FailureLabels { reason: error.reason() }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_units_are_prometheus_style() {
        let (mut registry, metrics) = (Registry::default(), EventLogMetrics::default());
        metrics.register(registry.sub_registry_with_prefix("hoplog"));
        metrics.failed(&AppendError::Closed);
        metrics.appended_bytes.inc_by(7);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "hoplog_event_log_append_failures_total{reason=\"closed\"} 1",
            "hoplog_event_log_appended_bytes_total 7",
            "hoplog_event_log_appended_events_total 0",
            "hoplog_spool_disk_bytes 0",
            "hoplog_spool_oldest_unconsumed_age_seconds 0.0",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
        }
    }
}
