//! Counters and latencies of all requests, by route and outcome: exact, without a lock, with a bounded set of labels.
//!
//! Routes are found in a table that is only ever added to; a request that has found its route adds to plain atomics.
//! Nothing here knows what an event is.

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use rustc_hash::FxHasher;
use wide_event::Outcome;

/// Routes that are told apart. A service has some dozens of templates; the rest counts as `other`, so that a
/// template made of user input can't fill the memory here or in Prometheus.
const ROUTES_MAX: usize = 128;
/// Longest name of a route, in bytes: what the event's field takes.
const NAME_BYTES_MAX: usize = 128;

/// Upper bounds of the latency buckets, in seconds. Redirects from memory take well under a millisecond, and
/// objectives are usually stated at 5 ms to 1 s.
const BOUNDS_S: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// The same, in microseconds.
const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
const OUTCOMES: usize = Outcome::ALL.len();

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
    cells: [[Cell; OUTCOMES]; 2],
}

#[derive(Default)]
struct Cell {
    classes: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Route {
    fn new(name: &str) -> Box<Self> {
        let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
        Box::new(Self { name: name.into(), cells: Default::default() })
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

    /// Counts one request.
    pub(crate) fn count(&self, route: RouteId, synthetic: bool, outcome: Outcome, status: u16, took_us: u64) {
        let Some(route) = self.routes[usize::from(route.0)].get() else { return };
        let cell = &route.cells[usize::from(synthetic)][outcome as usize];
        let class = usize::from(status / 100);
        cell.classes[if class < CLASSES.len() { class } else { 0 }].fetch_add(1, Relaxed);
        cell.buckets[BOUNDS_US.partition_point(|&bound| bound < took_us)].fetch_add(1, Relaxed);
        cell.sum_us.fetch_add(took_us, Relaxed);
    }

    /// All requests counted so far.
    pub(crate) fn total(&self) -> u64 {
        self.cells().flat_map(|(_, cell)| &cell.classes).map(|count| count.load(Relaxed)).sum()
    }

    fn cells(&self) -> impl Iterator<Item = ([(&'static str, &str); 3], &Cell)> {
        self.routes.iter().filter_map(OnceLock::get).flat_map(|route| {
            [(0, "false"), (1, "true")].into_iter().flat_map(move |(at, synthetic)| {
                Outcome::ALL.iter().map(move |outcome| {
                    let labels =
                        [("route", &*route.name), ("outcome", outcome.as_str()), ("synthetic", synthetic)];
                    (labels, &route.cells[at][*outcome as usize])
                })
            })
        })
    }

    /// Writes both metrics; what was never counted is left out.
    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests answered, refused or broken off: every one, whatever happens to its event";
        let mut metric = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for (labels, cell) in self.cells() {
            for (class, count) in CLASSES.iter().zip(&cell.classes) {
                let count = count.load(Relaxed);
                if count > 0 {
                    let [route, outcome, synthetic] = labels;
                    metric
                        .encode_family(&[route, outcome, synthetic, ("status", class)])?
                        .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        let help = "From a request's head to the end of its answer";
        let mut metric = encoder.encode_descriptor(
            "request_duration",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (labels, cell) in self.cells() {
            let mut buckets = [(f64::INFINITY, 0); BOUNDS_US.len() + 1];
            for (at, (bucket, count)) in buckets.iter_mut().zip(&cell.buckets).enumerate() {
                *bucket = (BOUNDS_S.get(at).copied().unwrap_or(f64::INFINITY), count.load(Relaxed));
            }
            let count: u64 = buckets.iter().map(|(_, count)| count).sum();
            if count > 0 {
                let sum_s = Duration::from_micros(cell.sum_us.load(Relaxed)).as_secs_f64();
                metric
                    .encode_family(&labels)?
                    .encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)?;
            }
        }
        Ok(())
    }
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
    fn bounds_agree_and_ascend() {
        for (us, s) in BOUNDS_US.iter().zip(BOUNDS_S) {
            assert!((Duration::from_micros(*us).as_secs_f64() - s).abs() < 1e-9);
        }
        assert!(BOUNDS_US.is_sorted());
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
