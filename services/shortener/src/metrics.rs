//! Metrics of the shortener. Requests by route, outcome and latency are the emitter's.
//! Names come without the `hoplog_` prefix; label values are from sets fixed in the code.

mod dependencies;
mod pools;

pub use dependencies::Dependencies;
pub use pools::StorePools;

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use wide_event::Cache as Tier;

type Labels = [(&'static str, &'static str); 1];
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Store calls take from 20 microseconds (a cached page) to 5 seconds (the write deadline).
const STORE_SECONDS: [f64; 12] = [2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 1.0, 5.0];

/// Questions to ClickHouse take from milliseconds to the deadline of 3 seconds.
const STATISTICS_SECONDS: [f64; 9] = [2e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 3.0];

/// Handles of all metrics; clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    lookups: Family<Labels, Counter>,
    // Resolved once: the redirect path should not look labels up.
    lookups_l1: Counter,
    /// Lookups that waited for another one's store call.
    pub coalesced: Counter,
    /// Links read again before their time was over.
    pub refreshed: Counter,
    /// Links in the in-process cache.
    pub cache_entries: Gauge,
    store_calls: Histograms,
    store_errors: Family<Labels, Counter>,
    sheds: Family<Labels, Counter>,
    limited: Family<Labels, Counter>,
    /// Open connections.
    pub connections: Gauge,
    /// Connections accepted.
    pub connections_accepted: Counter,
    connections_refused: Family<Labels, Counter>,
    malformed: Family<Labels, Counter>,
    /// Generated codes that a custom slug already had.
    pub codes_skipped: Counter,
    /// Requests that hold a place under the limits.
    pub(crate) requests_in_flight: Gauge,
    /// Of what the shortener depends on.
    pub dependencies: Dependencies,
    statistics_seconds: Histogram,
    statistics_errors: Family<Labels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let lookups = Family::<Labels, Counter>::default();
        let lookups_l1 = lookups.get_or_create(&[("tier", Tier::L1.as_str())]).clone();
        Self {
            lookups,
            lookups_l1,
            coalesced: Counter::default(),
            refreshed: Counter::default(),
            cache_entries: Gauge::default(),
            store_calls: Family::new_with_constructor(|| Histogram::new(STORE_SECONDS)),
            store_errors: Family::default(),
            sheds: Family::default(),
            limited: Family::default(),
            connections: Gauge::default(),
            connections_accepted: Counter::default(),
            connections_refused: Family::default(),
            malformed: Family::default(),
            codes_skipped: Counter::default(),
            requests_in_flight: Gauge::default(),
            dependencies: Dependencies::default(),
            statistics_seconds: Histogram::new(STATISTICS_SECONDS),
            statistics_errors: Family::default(),
        }
    }
}

impl Metrics {
    /// Puts all of them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.dependencies.register(registry);
        registry.register("link_lookups", "Lookups of links by the tier that answered", self.lookups.clone());
        registry.register(
            "link_lookups_coalesced",
            "Lookups that waited for the store call of another one",
            self.coalesced.clone(),
        );
        registry.register(
            "link_refreshes",
            "Links read again before their time was over",
            self.refreshed.clone(),
        );
        registry.register("link_cache_entries", "Links in the in-process cache", self.cache_entries.clone());
        registry.register(
            "link_store_call_seconds",
            "Calls of the link store by name and their time",
            self.store_calls.clone(),
        );
        registry.register(
            "link_store_errors",
            "Failed calls of the link store by kind",
            self.store_errors.clone(),
        );
        registry.register("requests_shed", "Requests refused before work, by limiter", self.sheds.clone());
        registry.register(
            "requests_limited",
            "Requests refused because their client or key makes too many, by limiter",
            self.limited.clone(),
        );
        registry.register("connections_open", "Open connections", self.connections.clone());
        registry.register("connections_accepted", "Connections accepted", self.connections_accepted.clone());
        registry.register(
            "connections_refused",
            "Connections closed before anything was read, by reason",
            self.connections_refused.clone(),
        );
        registry.register(
            "requests_malformed",
            "Requests that never reached a route, by kind",
            self.malformed.clone(),
        );
        registry.register(
            "codes_skipped",
            "Generated codes that a custom slug already had",
            self.codes_skipped.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests that hold a place under the limits",
            self.requests_in_flight.clone(),
        );
        registry.register(
            "statistics_query_seconds",
            "Questions to ClickHouse and their time, waiting included",
            self.statistics_seconds.clone(),
        );
        registry.register(
            "statistics_errors",
            "Questions to ClickHouse without a fresh answer, by kind",
            self.statistics_errors.clone(),
        );
    }

    /// Counts a lookup.
    pub fn looked_up(&self, tier: Tier) {
        match tier {
            Tier::L1 => self.lookups_l1.inc(),
            tier => self.lookups.get_or_create(&[("tier", tier.as_str())]).inc(),
        };
    }

    /// Counts a store call.
    pub fn store_called(&self, call: &'static str, took: Duration) {
        self.store_calls.get_or_create(&[("call", call)]).observe(took.as_secs_f64());
    }

    /// Counts a failed store call.
    pub fn store_failed(&self, kind: &'static str) {
        self.store_errors.get_or_create(&[("kind", kind)]).inc();
    }

    /// Counts a request refused before work.
    pub fn shed(&self, limiter: &'static str) {
        self.sheds.get_or_create(&[("limiter", limiter)]).inc();
    }

    /// Counts a request refused because its client or key makes too many.
    pub fn rate_limited(&self, limiter: &'static str) {
        self.limited.get_or_create(&[("limiter", limiter)]).inc();
    }

    /// Counts a connection closed before anything was read.
    pub fn connection_refused(&self, reason: &'static str) {
        self.connections_refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a request that never reached a route.
    pub fn malformed(&self, kind: &'static str) {
        self.malformed.get_or_create(&[("kind", kind)]).inc();
    }

    /// Counts a question to ClickHouse.
    pub(crate) fn statistics_asked(&self, took: Duration) {
        self.statistics_seconds.observe(took.as_secs_f64());
    }

    /// Counts one without a fresh answer.
    pub(crate) fn statistics_failed(&self, kind: &'static str) {
        self.statistics_errors.get_or_create(&[("kind", kind)]).inc();
    }
}
