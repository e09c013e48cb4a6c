//! Counters and latencies of all requests, by route and outcome: exact, without a lock, with a bounded set of labels.
//!
//! Routes are found in a table that is only ever added to; a request that has found its route adds to plain atomics.
//! Nothing here knows what an event is.

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use rustc_hash::FxHasher;
use wide_event::Outcome;
use wide_event::latency::slow_us;

use crate::durations::{self, Durations};
use crate::exemplars::{BUCKETS, Exemplar, Exemplars, bucket};

/// Routes that are told apart. A service has some dozens of templates; the rest counts as `other`, so that a
/// template made of user input can't fill the memory here or in Prometheus.
const ROUTES_MAX: usize = 128;
/// Longest name of a route, in bytes: what the event's field takes.
const NAME_BYTES_MAX: usize = 128;

const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
const OUTCOMES: usize = Outcome::ALL.len();

/// Outcomes that objectives count as failed, with whether an answer may have been begun in order before. A counter that
/// first appears with 1 has no increase, so the first failure of a route would be none: these are shown from 0 on.
const FAILED: [(Outcome, bool); 3] =
    [(Outcome::ServerError, true), (Outcome::Panic, true), (Outcome::Shed, false)];
/// Outcomes whose durations objectives of latency count, shown from 0 on for the same reason: who waits for too long hangs
/// up.
const TIMED: [Outcome; 2] = [Outcome::Ok, Outcome::Cancelled];
/// Place of 5xx in [`CLASSES`].
const FAILURES: usize = 5;

/// A place in the table of routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RouteId(u8);

impl RouteId {
    /// No route matched, or nobody said which.
    pub(crate) const UNMATCHED: Self = Self(0);
    /// No request came of it.
    pub(crate) const MALFORMED: Self = Self(1);
    /// One more than are told apart.
    const OTHER: Self = Self(2);
    const FIXED: [&str; 3] = ["unmatched", "malformed", "other"];
}

/// Counters of all requests.
pub(crate) struct Requests {
    routes: Box<[OnceLock<Box<Route>>]>,
}

struct Route {
    name: Box<str>,
    slow_us: u64,
    cells: [[Cell; OUTCOMES]; 2],
}

#[derive(Default)]
struct Cell {
    classes: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
    exemplars: Exemplars,
}

impl Route {
    fn new(name: &str) -> Box<Self> {
        let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
        Box::new(Self { name: name.into(), slow_us: slow_us(name), cells: Default::default() })
    }

    /// What of an outcome is shown from 0 on, for requests that are no probes.
    fn zeros(&self, place: usize, outcome: Outcome) -> Zeros {
        let mut zeros = Zeros::default();
        if let Some((_, begun)) = FAILED.iter().find(|(failed, _)| *failed == outcome) {
            zeros.classes[FAILURES] = true;
            if *begun {
                let answered = &self.cells[0][Outcome::Ok as usize].classes;
                for (zero, count) in zeros.classes.iter_mut().zip(answered) {
                    *zero |= count.load(Relaxed) > 0;
                }
            }
        }
        // What matched no route is not answered in order.
        zeros.durations = TIMED.contains(&outcome) && place >= RouteId::FIXED.len();
        zeros
    }
}

impl Requests {
    pub(crate) fn new() -> Self {
        let routes: Box<[OnceLock<Box<Route>>]> =
            std::iter::repeat_with(OnceLock::new).take(ROUTES_MAX).collect();
        for (slot, name) in routes.iter().zip(RouteId::FIXED) {
            slot.get_or_init(|| Route::new(name));
        }
        Self { routes }
    }

    /// The place of a route's template, which is made at its first use.
    pub(crate) fn route(&self, name: &str) -> RouteId {
        let fixed = RouteId::FIXED.len();
        let places = ROUTES_MAX - fixed;
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(name);
        // The remainder is below ROUTES_MAX.
        let start = usize::try_from(hash % places as u64).unwrap_or_default();
        for step in 0..places {
            let at = fixed + (start + step) % places;
            let route = self.routes[at].get_or_init(|| Route::new(name));
            if *route.name == *name || name.len() > NAME_BYTES_MAX && name.starts_with(&*route.name) {
                return RouteId(u8::try_from(at).unwrap_or(RouteId::OTHER.0));
            }
        }
        RouteId::OTHER
    }

    /// The template at a place.
    pub(crate) fn name(&self, route: RouteId) -> &str {
        self.routes[usize::from(route.0)].get().map_or("other", |route| &route.name)
    }

    /// Counts one request. Whether it was slow, for one of its route.
    pub(crate) fn count(
        &self,
        route: RouteId,
        synthetic: bool,
        outcome: Outcome,
        status: u16,
        took_us: u64,
    ) -> bool {
        let Some(route) = self.routes[usize::from(route.0)].get() else { return false };
        let cell = &route.cells[usize::from(synthetic)][outcome as usize];
        let class = usize::from(status / 100);
        cell.classes[if class < CLASSES.len() { class } else { 0 }].fetch_add(1, Relaxed);
        cell.buckets[bucket(took_us)].fetch_add(1, Relaxed);
        cell.sum_us.fetch_add(took_us, Relaxed);
        took_us >= route.slow_us
    }

    /// Notes a request that was counted, whose event is certain to be kept.
    pub(crate) fn point_to(&self, route: RouteId, synthetic: bool, outcome: Outcome, exemplar: Exemplar) {
        if let Some(route) = self.routes[usize::from(route.0)].get() {
            route.cells[usize::from(synthetic)][outcome as usize].exemplars.note(exemplar);
        }
    }

    /// All requests counted so far.
    pub(crate) fn total(&self) -> u64 {
        self.cells().flat_map(|shown| &shown.cell.classes).map(|count| count.load(Relaxed)).sum()
    }

    fn cells(&self) -> impl Iterator<Item = Shown<'_>> {
        self.routes.iter().enumerate().filter_map(|(place, route)| Some((place, route.get()?))).flat_map(
            |(place, route)| {
                [(0, "false"), (1, "true")].into_iter().flat_map(move |(at, synthetic)| {
                    Outcome::ALL.iter().map(move |outcome| Shown {
                        labels: [
                            ("route", &*route.name),
                            ("outcome", outcome.as_str()),
                            ("synthetic", synthetic),
                        ],
                        cell: &route.cells[at][*outcome as usize],
                        zeros: if at == 0 { route.zeros(place, *outcome) } else { Zeros::default() },
                    })
                })
            },
        )
    }

    /// Writes the counter; of what was never counted, only what failures are computed from.
    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests answered, refused or broken off: every one, whatever happens to its event";
        let mut metric = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for Shown { labels, cell, zeros } in self.cells() {
            for (at, (class, count)) in CLASSES.iter().zip(&cell.classes).enumerate() {
                let count = count.load(Relaxed);
                if count > 0 || zeros.classes[at] {
                    let [route, outcome, synthetic] = labels;
                    metric
                        .encode_family(&[route, outcome, synthetic, ("status", class)])?
                        .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        Ok(())
    }

    /// Appends the histogram; of what was never counted, only what objectives of latency are computed from.
    pub(crate) fn write_durations(&self, prefix: &str, text: &mut String) {
        durations::head(prefix, text);
        for Shown { labels, cell, zeros } in self.cells() {
            let buckets = cell.buckets.each_ref().map(|count| count.load(Relaxed));
            if zeros.durations || buckets.iter().any(|count| *count > 0) {
                let sum_us = cell.sum_us.load(Relaxed);
                let durations = Durations { buckets, sum_us, exemplars: cell.exemplars.get() };
                durations::histogram(prefix, &labels, &durations, text);
            }
        }
    }
}

/// A cell with what it is of, and which of its numbers are shown where they are 0.
struct Shown<'a> {
    labels: [(&'static str, &'a str); 3],
    cell: &'a Cell,
    zeros: Zeros,
}

#[derive(Default)]
struct Zeros {
    classes: [bool; CLASSES.len()],
    durations: bool,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("total", &self.total()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_found_again_and_bounded() {
        let requests = Requests::new();
        let first = requests.route("/{code}");
        assert_eq!(requests.route("/{code}"), first);
        assert_eq!(requests.name(first), "/{code}");
        assert_eq!(requests.name(RouteId::UNMATCHED), "unmatched");
        assert_eq!(requests.name(RouteId::default()), "unmatched");
        assert_eq!(requests.name(RouteId::MALFORMED), "malformed");
        for number in 0..1000 {
            requests.route(&format!("/made/up/{number}"));
        }
        assert_eq!(requests.route("/one more"), RouteId::OTHER);
        assert_eq!(requests.route("/{code}"), first);
    }

    #[test]
    fn long_names_are_cut_and_found_again() {
        let requests = Requests::new();
        let long = "é".repeat(100);
        let id = requests.route(&long);
        assert_eq!((requests.route(&long), requests.name(id)), (id, "é".repeat(64).as_str()));
    }

    #[test]
    fn a_value_on_a_bound_belongs_below_it() {
        let requests = Requests::new();
        for us in [100, 101, 10_000_000, 10_000_001] {
            requests.count(RouteId::UNMATCHED, false, Outcome::Ok, 200, us);
        }
        let cell = &requests.routes[0].get().unwrap().cells[0][0];
        let counts: Vec<_> = cell.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        assert_eq!(counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(requests.total(), 4);
    }
}
