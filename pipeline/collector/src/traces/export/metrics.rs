//! Metrics of the export of spans, `collector_trace_export_…`. Labels are symbols of the code.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Handles of the metrics; clones share their values.
#[derive(Debug, Clone, Default)]
pub(super) struct ExportMetrics {
    sent: Family<To, Counter>,
    dropped: Family<Dropped, Counter>,
    waiting: Family<To, Gauge>,
    failures: Family<To, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct To {
    to: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Dropped {
    to: &'static str,
    reason: &'static str,
}

/// Why a span was not exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// More waited than may.
    Full,
    /// The backend was tried as often as it may be.
    Away,
    /// The backend will never take it.
    Refused,
    /// The process ended before.
    Stopped,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Full, Self::Away, Self::Refused, Self::Stopped];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Away => "away",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

/// The metrics of one destination.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    to: &'static str,
    metrics: ExportMetrics,
}

impl ExportMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let all = registry.sub_registry_with_prefix("collector_trace_export");
        all.register("spans", "Spans that a destination has taken", self.sent.clone());
        let dropped = "Spans that a destination did not get, by reason";
        all.register("dropped_spans", dropped, self.dropped.clone());
        all.register("waiting_spans", "Spans that wait to be sent", self.waiting.clone());
        all.register("failures", "Requests that failed, and are tried again or not", self.failures.clone());
    }

    /// Of one destination; all are zero from now on, so that the first drop is an increase.
    pub(super) fn of(&self, to: &'static str) -> Counts {
        drop(self.sent.get_or_create(&To { to }));
        drop(self.waiting.get_or_create(&To { to }));
        drop(self.failures.get_or_create(&To { to }));
        for reason in Reason::ALL {
            drop(self.dropped.get_or_create(&Dropped { to, reason: reason.as_str() }));
        }
        Counts { to, metrics: self.clone() }
    }
}

impl Counts {
    pub(super) fn to(&self) -> &'static str {
        self.to
    }

    pub(super) fn sent(&self, spans: u64) {
        self.metrics.sent.get_or_create(&To { to: self.to }).inc_by(spans);
    }

    pub(super) fn dropped(&self, reason: Reason, spans: u64) {
        let label = Dropped { to: self.to, reason: reason.as_str() };
        self.metrics.dropped.get_or_create(&label).inc_by(spans);
    }

    pub(super) fn waiting(&self, spans: usize) {
        let spans = i64::try_from(spans).unwrap_or(i64::MAX);
        self.metrics.waiting.get_or_create(&To { to: self.to }).set(spans);
    }

    pub(super) fn failed(&self) {
        self.metrics.failures.get_or_create(&To { to: self.to }).inc();
    }
}
