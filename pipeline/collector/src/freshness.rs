//! How fresh ranges are: from an event's own time until it can be queried. That is known only when its range is committed,
//! so a range keeps how old its events were when it was begun, to the millisecond, and how many were as old: at the commit
//! all have become older by the same. Every event counts; none is ever counted fresher than it was, or older by more than
//! that millisecond, which is less than the time between the tables' commit and the clock's reading.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds in milliseconds: the promise is 5 s at p99, so they are dense around it.
const BOUNDS_MS: [i64; 12] =
    [250, 500, 1_000, 1_500, 2_000, 3_000, 4_000, 5_000, 10_000, 30_000, 300_000, 3_600_000];

/// Runs of one age are put together when there are as many as this, and whenever they have doubled: what came in order has
/// few, and what did not is never more than a run an event.
const RUNS_MIN: usize = 1_024;

/// How old the events of a range were at some time, in milliseconds, rounded up: runs of an age and a number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ages {
    at_us: i64,
    runs: Vec<(i32, u32)>,
    /// How many runs there may be before those of one age are put together.
    runs_max: usize,
}

impl Ages {
    /// As of a time, in microseconds since 1970.
    pub(crate) fn at(at_us: i64) -> Self {
        Self { at_us, runs: Vec::new(), runs_max: RUNS_MIN }
    }

    /// Adds an event by its own time. Ages are cut to 24 days, before and after.
    pub(crate) fn add(&mut self, time_us: i64) {
        let age_us = self.at_us.saturating_sub(time_us);
        let age_ms = age_us.div_euclid(1_000) + i64::from(age_us.rem_euclid(1_000) > 0);
        let age_ms = i32::try_from(age_ms).unwrap_or(if age_ms < 0 { i32::MIN } else { i32::MAX });
        match self.runs.last_mut() {
            Some((last_ms, count)) if *last_ms == age_ms && *count < u32::MAX => *count += 1,
            _ => {
                if self.runs.len() >= self.runs_max {
                    self.put_together();
                }
                self.runs.push((age_ms, 1));
            }
        }
    }

    fn put_together(&mut self) {
        self.runs.sort_unstable_by_key(|(age_ms, _)| *age_ms);
        self.runs.dedup_by(|(age_ms, count), (kept_ms, kept)| {
            let sum = kept.checked_add(*count).filter(|_| age_ms == kept_ms);
            sum.is_some_and(|sum| {
                *kept = sum;
                true
            })
        });
        self.runs_max = (self.runs.len() * 2).max(RUNS_MIN);
    }

    /// Gives back what memory the list has too much, once nothing is added any more.
    pub(crate) fn shrink(&mut self) {
        self.put_together();
        self.runs.shrink_to_fit();
    }
}

/// The histogram of Prometheus: filled a range at a time, under one lock. Clones share their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Freshness(Arc<Mutex<Counts>>);

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    sum_s: f64,
    /// The last is of what is above all bounds.
    buckets: [u64; BOUNDS_MS.len() + 1],
}

impl Freshness {
    /// Counts a range whose events can be queried since this time, in microseconds since 1970.
    pub(crate) fn add(&self, ages: &Ages, now_us: i64) {
        let since_us = now_us.saturating_sub(ages.at_us);
        let mut counts = Counts::default();
        for (age_ms, count) in &ages.runs {
            let fresh_us = (i64::from(*age_ms) * 1_000).saturating_add(since_us).max(0);
            let bucket = BOUNDS_MS.partition_point(|bound_ms| bound_ms * 1_000 < fresh_us);
            counts.buckets[bucket] += u64::from(*count);
            #[allow(clippy::cast_precision_loss)] // 2^53 us are 285 years
            let fresh_s = fresh_us as f64 / 1e6;
            counts.sum_s += fresh_s * f64::from(*count);
        }
        let mut all = self.lock();
        all.sum_s += counts.sum_s;
        for (bucket, count) in all.buckets.iter_mut().zip(counts.buckets) {
            *bucket += count;
        }
    }

    /// Sums: a panic leaves at most one half added.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TypedMetric for Freshness {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Freshness {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = *self.lock();
        #[allow(clippy::cast_precision_loss)] // at most 3,600,000
        let bounds = BOUNDS_MS.iter().map(|bound_ms| *bound_ms as f64 / 1e3).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(counts.buckets).collect();
        encoder.encode_histogram::<NoLabelSet>(counts.sum_s, counts.buckets.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::{Registry, Unit};
    use proptest::prelude::*;

    const AT_US: i64 = 1_763_764_620_000_000;
    const S: i64 = 1_000_000;

    fn text(freshness: &Freshness) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register_with_unit("freshness", "Of events", Unit::Seconds, freshness.clone());
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn ages_grow_until_the_commit() {
        let (freshness, mut ages) = (Freshness::default(), Ages::at(AT_US));
        // One is of the future, by a clock that is ahead.
        for age_us in [0, 4 * S, 4 * S, 4 * S + 1, 9 * S, 7_200 * S, -60 * S] {
            ages.add(AT_US - age_us);
        }
        ages.shrink();
        freshness.add(&ages, AT_US + S);
        let text = text(&freshness);
        for (le, count) in
            [("0.5", 1), ("1.0", 2), ("4.0", 2), ("5.0", 4), ("10.0", 6), ("3600.0", 6), ("+Inf", 7)]
        {
            let line = format!("freshness_seconds_bucket{{le=\"{le}\"}} {count}\n");
            assert!(text.contains(&line), "no {line} in\n{text}");
        }
        assert!(text.contains("freshness_seconds_count 7\n"), "{text}");
        // 1 + 5 + 5 + 5.001 + 10 + 7,201 + 0.
        assert!(text.contains("freshness_seconds_sum 7227.001\n"), "{text}");
    }

    #[test]
    fn what_comes_in_any_order_takes_a_run_an_age() {
        let mut ages = Ages::at(AT_US);
        for number in 0..1_000_000 {
            ages.add(AT_US - number * 7_919 % (2 * S));
        }
        assert!(ages.runs.len() <= 4 * 2_001, "{}", ages.runs.len());
        ages.shrink();
        assert_eq!(ages.runs.len(), 2_001);
        assert_eq!(ages.runs.iter().map(|(_, count)| u64::from(*count)).sum::<u64>(), 1_000_000);
    }

    proptest! {
        #[test]
        fn none_is_fresher_than_it_was_or_older_by_more_than_a_millisecond(
            ages_us in prop::collection::vec(-10 * S..10 * S, 1..2_000),
            later_us in 0..5 * S,
        ) {
            let (freshness, mut ages) = (Freshness::default(), Ages::at(AT_US));
            ages_us.iter().for_each(|age_us| ages.add(AT_US - age_us));
            freshness.add(&ages, AT_US + later_us);
            let counts = *freshness.lock();
            prop_assert_eq!(counts.buckets.iter().sum::<u64>(), ages_us.len() as u64);
            let mut within = 0;
            for (bound_ms, count) in BOUNDS_MS.iter().zip(counts.buckets) {
                within += count;
                let as_fresh = |by_us: i64| {
                    let fresh = |age_us: &&i64| (**age_us + later_us).max(0) <= bound_ms * 1_000 - by_us;
                    ages_us.iter().filter(fresh).count() as u64
                };
                prop_assert!(as_fresh(1_000) <= within && within <= as_fresh(0));
            }
        }
    }
}
