//! Circuit breakers: a dependency that keeps failing is left alone for a moment, then asked by a few calls first.
//! Only the state and its counts: deadlines are the calls' own, and what is a failure is said by who calls.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;

use crate::config::BreakerConfig;
use crate::metrics::Dependencies;

/// A breaker around one dependency.
#[derive(Debug)]
pub struct Breaker {
    name: &'static str,
    config: BreakerConfig,
    state: Mutex<State>,
    metrics: Dependencies,
    gauge: Gauge,
}

/// The breaker is open: nothing may be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open;

/// A call that was let through. Dropped without a word, it says nothing: its caller went away.
#[derive(Debug)]
#[must_use]
pub struct Call<'a> {
    breaker: &'a Breaker,
    /// The opening that it probes the end of; none for a call through a closed breaker.
    probes: Option<u64>,
    told: bool,
}

#[derive(Debug)]
struct State {
    kind: Kind,
    /// How often it has opened: who began before is not believed after.
    openings: u64,
}

#[derive(Debug)]
enum Kind {
    Closed { in_row: u32, window: Window },
    Open { until: Instant },
    HalfOpen { under_way: u32, succeeded: u32 },
}

/// Calls counted in two halves of the window, of which the older one is forgotten as a whole.
#[derive(Debug)]
struct Window {
    since: Instant,
    now: Counts,
    before: Counts,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    calls: u32,
    failed: u32,
}

impl Breaker {
    /// A closed one.
    pub fn new(name: &'static str, config: &BreakerConfig, metrics: &Dependencies) -> Self {
        let state = State { kind: closed(Instant::now()), openings: 0 };
        let gauge = metrics.breaker_state(name);
        Self { name, config: config.clone(), state: Mutex::new(state), metrics: metrics.clone(), gauge }
    }

    /// What it guards, for events and metrics.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Lets a call through, or not.
    ///
    /// # Errors
    /// While it is open, and while as many probes are under way as may be.
    pub fn admit(&self) -> Result<Call<'_>, Open> {
        self.admit_at(Instant::now())
    }

    /// Whether a call would be refused now.
    pub fn is_open(&self) -> bool {
        match self.lock().kind {
            Kind::Closed { .. } => false,
            Kind::Open { until } => Instant::now() < until,
            Kind::HalfOpen { under_way, .. } => under_way >= self.config.probes,
        }
    }

    fn admit_at(&self, now: Instant) -> Result<Call<'_>, Open> {
        let mut state = self.lock();
        if let Kind::Open { until } = state.kind
            && now >= until
        {
            state.kind = Kind::HalfOpen { under_way: 0, succeeded: 0 };
            self.turned("half_open", 1);
        }
        let openings = state.openings;
        let probes = match &mut state.kind {
            Kind::Closed { .. } => None,
            Kind::HalfOpen { under_way, .. } if *under_way < self.config.probes => {
                *under_way += 1;
                Some(openings)
            }
            Kind::Open { .. } | Kind::HalfOpen { .. } => return Err(Open),
        };
        Ok(Call { breaker: self, probes, told: false })
    }

    /// Counts the end of a call; `ok` is none for one that was given up.
    fn ended(&self, probes: Option<u64>, ok: Option<bool>, now: Instant) {
        let mut state = self.lock();
        let openings = state.openings;
        match (&mut state.kind, ok) {
            (Kind::Closed { in_row, window }, Some(ok)) if probes.is_none() => {
                *in_row = if ok { 0 } else { *in_row + 1 };
                let counts = window.count(ok, now, Duration::from_millis(self.config.window_ms));
                let too_many = counts.calls >= self.config.calls_min
                    && u64::from(counts.failed) * 100
                        >= u64::from(counts.calls) * u64::from(self.config.failed_percent_max);
                if *in_row >= self.config.failures_max || (!ok && too_many) {
                    self.open(&mut state, now);
                }
            }
            (Kind::HalfOpen { under_way, succeeded }, ok) if probes == Some(openings) => {
                *under_way = under_way.saturating_sub(1);
                match ok {
                    Some(true) => *succeeded += 1,
                    Some(false) => return self.open(&mut state, now),
                    None => {}
                }
                if *succeeded >= self.config.probes {
                    state.kind = closed(now);
                    self.turned("closed", 0);
                }
            }
            // It was asked before the state changed, and says nothing about what is now.
            _ => {}
        }
    }

    fn open(&self, state: &mut State, now: Instant) {
        state.kind = Kind::Open { until: now + Duration::from_millis(self.config.open_ms) };
        state.openings += 1;
        self.turned("open", 2);
    }

    fn turned(&self, to: &'static str, gauge: i64) {
        self.gauge.set(gauge);
        self.metrics.breaker_turned(self.name, to);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// It answered.
    pub fn succeeded(self) {
        self.tell(true);
    }

    /// It did not.
    pub fn failed(self) {
        self.tell(false);
    }

    /// Either, of a result of which some errors are answers.
    pub fn ended<T, E>(self, result: &Result<T, E>, is_failure: impl FnOnce(&E) -> bool) {
        self.tell(!result.as_ref().is_err_and(is_failure));
    }

    fn tell(mut self, ok: bool) {
        self.told = true;
        self.breaker.ended(self.probes, Some(ok), Instant::now());
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.breaker.ended(self.probes, None, Instant::now());
        }
    }
}

impl Window {
    fn count(&mut self, ok: bool, now: Instant, length: Duration) -> Counts {
        let age = now.saturating_duration_since(self.since);
        if age >= length / 2 {
            self.before = if age < length { self.now } else { Counts::default() };
            (self.now, self.since) = (Counts::default(), now);
        }
        self.now.calls = self.now.calls.saturating_add(1);
        self.now.failed = self.now.failed.saturating_add(u32::from(!ok));
        Counts {
            calls: self.now.calls.saturating_add(self.before.calls),
            failed: self.now.failed.saturating_add(self.before.failed),
        }
    }
}

fn closed(now: Instant) -> Kind {
    let window = Window { since: now, now: Counts::default(), before: Counts::default() };
    Kind::Closed { in_row: 0, window }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        let config = BreakerConfig {
            failures_max: 3,
            failed_percent_max: 50,
            calls_min: 10,
            window_ms: 1_000,
            open_ms: 100,
            probes: 2,
        };
        Breaker::new("test", &config, &Dependencies::default())
    }

    impl Breaker {
        fn call(&self, at: Instant, ok: bool) -> Result<(), Open> {
            let mut call = self.admit_at(at)?;
            call.told = true;
            self.ended(call.probes, Some(ok), at);
            Ok(())
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_probes_close_it() {
        let (breaker, start) = (breaker(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for ok in [false, false, true, false, false] {
            breaker.call(at(0), ok).unwrap();
        }
        assert!(breaker.call(at(0), false).is_ok(), "the third in a row was let through");
        assert_eq!(breaker.call(at(99), true), Err(Open));
        let first = breaker.admit_at(at(100)).unwrap();
        let second = breaker.admit_at(at(100)).unwrap();
        assert!(breaker.admit_at(at(100)).is_err(), "no more than two at once");
        drop(second);
        let second = breaker.admit_at(at(100)).expect("one that is given up leaves its place");
        first.succeeded();
        assert_eq!(breaker.gauge.get(), 1);
        second.succeeded();
        assert_eq!(breaker.gauge.get(), 0);
        assert!(breaker.call(at(101), true).is_ok());
    }

    #[test]
    fn a_probe_that_fails_opens_it_again_and_late_ones_say_nothing() {
        let (breaker, start) = (breaker(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let early = breaker.admit_at(at(0)).unwrap();
        (0..3).for_each(|_| breaker.call(at(0), false).unwrap());
        let late_probe = breaker.admit_at(at(100)).unwrap();
        breaker.call(at(100), false).unwrap();
        assert_eq!(breaker.gauge.get(), 2);
        early.succeeded();
        late_probe.succeeded();
        assert_eq!(breaker.gauge.get(), 2, "what was asked before says nothing");
        assert_eq!(breaker.call(at(199), true), Err(Open));
        assert!(breaker.call(at(200), true).is_ok());
    }

    #[test]
    fn a_share_of_failures_opens_it_from_a_number_of_calls_on() {
        let (breaker, start) = (breaker(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for call in 0..9 {
            breaker.call(at(call), call % 2 == 0).unwrap();
        }
        assert_eq!(breaker.gauge.get(), 0, "too few calls to judge");
        breaker.call(at(9), false).unwrap();
        assert_eq!(breaker.gauge.get(), 2);
    }

    #[test]
    fn old_calls_are_forgotten() {
        let (breaker, start) = (breaker(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for call in 0..8 {
            breaker.call(at(call), call % 2 == 0).unwrap();
        }
        for call in 0..8 {
            breaker.call(at(1_200 + call), true).unwrap();
        }
        breaker.call(at(1_300), false).unwrap();
        assert_eq!(breaker.gauge.get(), 0);
    }
}
