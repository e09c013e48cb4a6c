use super::*;
use crate::policy::Policy;
use crate::rollup::Rollup;
use proptest::prelude::*;
use std::collections::BTreeMap;
use wide_event::{Text, TraceId};

const POLICY: &str = "slow = [{route = '/slow', duration_ms = 10}]\nclient_errors = {keep_max = 20}\n\
                      successes = {rate = 0.05, rare_keep = 3.0}";

fn event(route: &'static str, status: u16, outcome: Outcome, trace: u128) -> Event<'static> {
    Event { route: Text::new(route), status, outcome, trace_id: TraceId(trace), seq: 1, ..Event::default() }
}

/// Each event's fate.
fn fates(policy: &str, events: &[Event<'_>]) -> Vec<Option<(f64, Reason)>> {
    let policy = Policy::parse(policy).unwrap();
    let (mut rollup, mut strata) = (Rollup::default(), Strata::default());
    let mut candidates = Vec::new();
    for event in events {
        let number = rollup.add(event);
        let key = rollup.series(number);
        candidates.push(strata.add(&policy.rules, event, number, key, rollup.symbols.name(key.route)));
    }
    let decisions = strata.decide(&policy.rules);
    candidates.into_iter().map(|candidate| decisions.fate(candidate)).collect()
}

#[test]
fn each_rule_keeps_what_it_says() {
    let (ok, client, rate) = (Outcome::Ok, Outcome::ClientError, Outcome::RateLimited);
    let mut slow = event("/slow", 200, ok, 1);
    slow.duration_us = 10_000;
    let mut forced = event("/a", 200, ok, 2);
    forced.forced = true;
    for (event, reason) in [
        (slow, Reason::Slow),
        (forced, Reason::Forced),
        (event("/a", 500, Outcome::ServerError, 3), Reason::Failure),
        (event("/a", 503, Outcome::Shed, 4), Reason::Failure),
        (event("/a", 499, Outcome::Cancelled, 5), Reason::Failure),
        (event("/a", 500, Outcome::Panic, 6), Reason::Failure),
        (event("/a", 404, client, 7), Reason::ClientError),
        (event("/a", 429, rate, 8), Reason::ClientError),
        (event("/a", 302, ok, 9), Reason::Rare),
    ] {
        assert_eq!(fates(POLICY, &[event]), [Some((1.0, reason))]);
    }
}

#[test]
fn failures_are_kept_however_many_there_are() {
    let events: Vec<_> = (1..5000).map(|trace| event("/a", 500, Outcome::ServerError, trace)).collect();
    assert!(fates(POLICY, &events).iter().all(|fate| *fate == Some((1.0, Reason::Failure))));
}

#[test]
fn weights_follow_the_counts() {
    for (outcome, status, events, weight, reason) in [
        (Outcome::ClientError, 404, 20, 1.0, Reason::ClientError),
        (Outcome::ClientError, 404, 2000, 100.0, Reason::Flood),
        (Outcome::Ok, 302, 3, 1.0, Reason::Rare),
        (Outcome::Ok, 302, 30, 10.0, Reason::Rare),
        (Outcome::Ok, 302, 3000, 20.0, Reason::Base),
    ] {
        let events: Vec<_> = (1..=events).map(|trace| event("/a", status, outcome, trace)).collect();
        let kept: Vec<_> = fates(POLICY, &events).into_iter().flatten().collect();
        assert!(!kept.is_empty(), "{reason:?}");
        for (found, why) in kept {
            assert!(
                (found - weight).abs() < 1e-9 && why == reason,
                "{found} {why:?} is not {weight} {reason:?}"
            );
        }
    }
}

#[test]
fn a_trace_is_drawn_alike_everywhere_and_without_one_the_number_is() {
    let (one, mut two) = (event("/a", 200, Outcome::Ok, 77), event("/b", 302, Outcome::Ok, 77));
    two.seq = 9;
    assert_eq!(draw(&one), draw(&two));
    let (none, mut next) = (event("/a", 200, Outcome::Ok, 0), event("/a", 200, Outcome::Ok, 0));
    next.seq = 2;
    assert_ne!(draw(&none), draw(&next));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Over many draws the sum of weights estimates the count of each reason's events within three standard errors of
    /// the mean of `RUNS` independent estimates. 32 cases of at most three strata: a right sampler fails one of
    /// them in about four runs of a hundred, so the bound is four standard errors, which it passes but for 6 in 1000.
    #[test]
    fn sums_of_weights_are_unbiased(seed in any::<u64>(), floods in 1usize..400, many in 1usize..2000, rare in 1usize..40) {
        const RUNS: u64 = 60;
        let mut sums: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for run in 0..RUNS {
            let mut number = u128::from(mix(seed ^ mix(run))) << 64;
            let mut events = Vec::new();
            for (route, status, outcome, count) in [
                ("/flood", 404, Outcome::ClientError, floods),
                ("/many", 302, Outcome::Ok, many),
                ("/rare", 200, Outcome::Ok, rare),
            ] {
                events.extend((0..count).map(|_| {
                    number += 1;
                    event(route, status, outcome, number)
                }));
            }
            let mut run_sums = BTreeMap::from([("/flood", 0.0), ("/many", 0.0), ("/rare", 0.0)]);
            for (event, fate) in events.iter().zip(fates(POLICY, &events)) {
                if let (Some((weight, _)), Some(sum)) = (fate, run_sums.get_mut(event.route.as_str())) {
                    *sum += weight;
                }
            }
            for (route, sum) in run_sums {
                sums.entry(route).or_default().push(sum);
            }
        }
        for (route, exact, probability) in [
            ("/flood", floods, (20.0 / floods as f64).min(1.0)),
            ("/many", many, 0.05f64.max(3.0 / many as f64).min(1.0)),
            ("/rare", rare, 0.05f64.max(3.0 / rare as f64).min(1.0)),
        ] {
            let mean = sums[route].iter().sum::<f64>() / RUNS as f64;
            let variance = exact as f64 * (1.0 - probability) / probability;
            let bound = 4.0 * (variance / RUNS as f64).sqrt() + 1e-6;
            prop_assert!((mean - exact as f64).abs() <= bound, "{}: {} for {}, bound {}", route, mean, exact, bound);
        }
    }

    #[test]
    fn the_same_range_decides_the_same(traces in prop::collection::vec(any::<u128>(), 1..500)) {
        let events: Vec<_> = traces.iter().map(|trace| event("/a", 302, Outcome::Ok, *trace)).collect();
        prop_assert_eq!(fates(POLICY, &events), fates(POLICY, &events));
    }
}
