//! What rounds found, as metrics.

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::round::Round;

/// Seconds. Answers take milliseconds; events are promised within five seconds and waited for half a minute.
const BUCKETS_S: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    failed: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStep {
    step: &'static str,
}

/// All rounds so far.
#[derive(Debug)]
pub(super) struct ProbeMetrics {
    rounds: Family<Failed, Counter>,
    success: Gauge,
    last_success_s: Gauge<f64, AtomicU64>,
    durations_s: Family<OfStep, Histogram, fn() -> Histogram>,
}

impl Default for ProbeMetrics {
    fn default() -> Self {
        Self {
            rounds: Family::default(),
            success: Gauge::default(),
            last_success_s: Gauge::default(),
            durations_s: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)),
        }
    }
}

impl ProbeMetrics {
    /// Adds them to a registry, whose prefix is the caller's.
    pub(super) fn register(&self, registry: &mut Registry) {
        let all = registry.sub_registry_with_prefix("probe");
        all.register("rounds", "Rounds, by the step that failed; empty: none did", self.rounds.clone());
        all.register("success", "1 if the last round went well", self.success.clone());
        all.register_with_unit(
            "last_success_timestamp",
            "When a round last went well, since the Unix epoch; until one did, when the process began",
            Unit::Seconds,
            self.last_success_s.clone(),
        );
        // Its age is alerted on: from 0 it would be that of the epoch.
        self.last_success_s.set(unix_s());
        all.register_with_unit(
            "step_duration",
            "What a step took that went well",
            Unit::Seconds,
            self.durations_s.clone(),
        );
    }

    pub(super) fn add(&self, round: &Round) {
        let failed = round.failed();
        self.rounds.get_or_create(&Failed { failed: failed.map_or("", |step| step.as_str()) }).inc();
        self.success.set(i64::from(failed.is_none()));
        if failed.is_none() {
            self.last_success_s.set(unix_s());
        }
        for taken in round.steps.iter().filter(|taken| taken.error.is_none()) {
            let step = OfStep { step: taken.step.as_str() };
            self.durations_s.get_or_create(&step).observe(taken.took.as_secs_f64());
        }
    }
}

fn unix_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::round::{Step, Taken};
    use super::*;

    #[test]
    fn until_a_round_went_well_its_age_is_that_of_the_process() {
        let (before, metrics) = (unix_s(), ProbeMetrics::default());
        metrics.register(&mut Registry::default());
        let begun = metrics.last_success_s.get();
        assert!(begun >= before);
        let taken = Taken { step: Step::Create, took: Duration::ZERO, error: Some("refused".to_owned()) };
        metrics.add(&Round { steps: vec![taken], ..Round::default() });
        assert_eq!((metrics.success.get(), metrics.last_success_s.get()), (0, begun));
    }
}
