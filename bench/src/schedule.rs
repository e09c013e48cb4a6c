//! When each request is due. The schedule knows nothing of answers: a slow service does not slow it down, which is
//! what makes the latencies honest.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::rng::Rng;
use crate::workload::Arrivals;

/// A request's number and when it is due, counted from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Number of the request, from 0.
    pub index: u64,
    /// When to send it; none where that is as soon as a connection is free.
    pub due: Option<Duration>,
}

/// Hands out requests in order, each once, to whoever asks.
#[derive(Debug)]
pub struct Schedule {
    kind: Kind,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Kind {
    /// Until a point in time; the mean distance in seconds, random or not.
    Rate { distance_s: f64, poisson: bool, seed: u64, until: Duration },
    /// At listed times.
    Listed(Vec<Duration>),
    /// So many, as soon as possible.
    Count(u64),
    /// As soon as possible; whoever takes tickets looks at the clock.
    Endless,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    due_s: f64,
}

/// Lane of the generator for distances, so that they don't depend on the requests' own numbers.
const DISTANCES: u64 = 0x5ced_0e5c_ed0e_5ced;

impl Schedule {
    /// Requests at a rate for a time, or without end for [`Arrivals::Closed`].
    #[must_use]
    pub fn new(arrivals: Arrivals, rate_per_s: f64, duration: Duration, seed: u64) -> Self {
        let poisson = arrivals == Arrivals::Poisson;
        let kind = match arrivals {
            Arrivals::Closed => Kind::Endless,
            Arrivals::Poisson | Arrivals::Even => {
                Kind::Rate { distance_s: 1.0 / rate_per_s, poisson, seed: seed ^ DISTANCES, until: duration }
            }
        };
        Self { kind, state: Mutex::default() }
    }

    /// Requests at listed times, which have to be in order.
    #[must_use]
    pub fn listed(times: Vec<Duration>) -> Self {
        Self { kind: Kind::Listed(times), state: Mutex::default() }
    }

    /// So many requests as soon as possible.
    #[must_use]
    pub fn count(count: u64) -> Self {
        Self { kind: Kind::Count(count), state: Mutex::default() }
    }

    /// The next request, or none when there are no more.
    pub fn next(&self) -> Option<Ticket> {
        // The state is two numbers, consistent after each statement.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let index = state.next;
        let due = match &self.kind {
            Kind::Endless => None,
            Kind::Count(count) => {
                if index >= *count {
                    return None;
                }
                None
            }
            Kind::Listed(times) => Some(*times.get(usize::try_from(index).ok()?)?),
            Kind::Rate { distance_s, poisson, seed, until } => {
                let due = Duration::from_secs_f64(state.due_s);
                if due >= *until {
                    return None;
                }
                // Distances between arrivals of a Poisson process are exponential; ln(1 - u) keeps clear of ln 0.
                let stretch = if *poisson { -(1.0 - Rng::new(*seed, index).unit()).ln() } else { 1.0 };
                state.due_s += distance_s * stretch;
                Some(due)
            }
        };
        state.next = index + 1;
        Some(Ticket { index, due })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::Schedule;
    use crate::workload::Arrivals;

    fn all(schedule: &Schedule) -> Vec<Duration> {
        std::iter::from_fn(|| schedule.next()).map(|ticket| ticket.due.unwrap()).collect()
    }

    proptest! {
        #[test]
        fn due_times_are_in_order_and_within_the_run(rate in 1.0_f64..5_000.0, seed: u64, poisson: bool) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Even };
            let until = Duration::from_millis(500);
            let due = all(&Schedule::new(arrivals, rate, until, seed));
            prop_assert!(due.is_sorted());
            prop_assert!(due.iter().all(|due| *due < until));
            prop_assert_eq!(due, all(&Schedule::new(arrivals, rate, until, seed)));
        }
    }

    #[test]
    fn the_rate_is_what_was_asked_for() {
        let even = all(&Schedule::new(Arrivals::Even, 1000.0, Duration::from_secs(2), 0));
        assert!((1999..=2001).contains(&even.len()), "{}", even.len());
        let poisson = all(&Schedule::new(Arrivals::Poisson, 10_000.0, Duration::from_secs(10), 3)).len();
        // Five standard deviations of a Poisson variable of mean 100,000 are 1581.
        assert!(poisson.abs_diff(100_000) < 1581, "{poisson}");
    }

    #[test]
    fn listed_and_counted_requests_end() {
        let times = vec![Duration::ZERO, Duration::from_secs(1)];
        assert_eq!(all(&Schedule::listed(times.clone())), times);
        let counted = Schedule::count(3);
        let indexes: Vec<u64> = std::iter::from_fn(|| counted.next()).map(|ticket| ticket.index).collect();
        assert_eq!(indexes, [0, 1, 2]);
    }
}
