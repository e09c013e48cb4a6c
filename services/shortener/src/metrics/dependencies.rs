//! Metrics of what the shortener depends on: circuit breakers, the state that instances share, and what they tell each
//! other. Calls of the link store are counted beside the look-ups that make them.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Histograms, Labels};

/// Calls of Redis take from 50 microseconds (nearby, idle) to the deadline, tens of milliseconds.
const SHARED_SECONDS: [f64; 9] = [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 2.5e-2, 0.1];

/// Handles of these metrics; clones share their values.
#[derive(Debug, Clone)]
pub struct Dependencies {
    breaker_states: Family<Labels, Gauge>,
    breaker_turns: Family<[(&'static str, &'static str); 2], Counter>,
    shared_calls: Histograms,
    shared_errors: Family<Labels, Counter>,
    /// Changes that other instances could not be told of, however often it was tried.
    pub unannounced: Counter,
    /// Changes that other instances told of, lost messages included.
    pub changes_heard: Counter,
}

impl Default for Dependencies {
    fn default() -> Self {
        Self {
            breaker_states: Family::default(),
            breaker_turns: Family::default(),
            shared_calls: Family::new_with_constructor(|| Histogram::new(SHARED_SECONDS)),
            shared_errors: Family::default(),
            unannounced: Counter::default(),
            changes_heard: Counter::default(),
        }
    }
}

impl Dependencies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "breaker_state",
            "Circuit breakers by dependency: 0 closed, 1 half open, 2 open",
            self.breaker_states.clone(),
        );
        registry.register(
            "breaker_transitions",
            "Changes of circuit breakers by dependency and new state",
            self.breaker_turns.clone(),
        );
        registry.register(
            "shared_call_seconds",
            "Calls of the state that instances share, by name and their time",
            self.shared_calls.clone(),
        );
        registry.register(
            "shared_errors",
            "Failed calls of the state that instances share, by kind",
            self.shared_errors.clone(),
        );
        registry.register(
            "changes_unannounced",
            "Changes that other instances could not be told of for as long as they serve copies from before, or before this one ended",
            self.unannounced.clone(),
        );
        registry.register(
            "changes_heard",
            "Changes that other instances told of, and times when messages may have been lost",
            self.changes_heard.clone(),
        );
    }

    /// The gauge of a breaker.
    pub(crate) fn breaker_state(&self, name: &'static str) -> Gauge {
        self.breaker_states.get_or_create(&[("dependency", name)]).clone()
    }

    /// Counts a change of a breaker.
    pub(crate) fn breaker_turned(&self, name: &'static str, to: &'static str) {
        self.breaker_turns.get_or_create(&[("dependency", name), ("to", to)]).inc();
    }

    /// Counts a call of the shared state.
    pub(crate) fn shared_called(&self, call: &'static str, took: Duration) {
        self.shared_calls.get_or_create(&[("call", call)]).observe(took.as_secs_f64());
    }

    /// Counts a failed call of the shared state.
    pub(crate) fn shared_failed(&self, kind: &'static str) {
        self.shared_errors.get_or_create(&[("kind", kind)]).inc();
    }
}
