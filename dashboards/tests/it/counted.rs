//! Requests as the emitter's counters have them: by route, outcome and status, with a histogram of durations.

use std::collections::BTreeMap;

use wide_event::Outcome;

use crate::day::{ROUTES, Request};
use crate::samples::{Samples, series};
use crate::shapes::{histogram, process};

/// The emitter's bounds, in seconds.
const BOUNDS_S: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

#[derive(Default)]
struct Cell {
    status: u16,
    /// Not cumulative yet.
    buckets: [u64; BOUNDS_S.len() + 1],
    sum_us: u64,
}

/// Counters since the day began.
#[derive(Default)]
pub(crate) struct Counted(BTreeMap<(usize, usize, usize), Cell>);

impl Counted {
    pub(crate) fn add(&mut self, request: &Request) {
        let key = (request.route, request.outcome as usize, request.instance);
        let cell = self.0.entry(key).or_default();
        // An outcome has one class of status here.
        cell.status = request.status;
        let took_s = request.duration_us as f64 / 1e6;
        cell.buckets[BOUNDS_S.partition_point(|bound| *bound < took_s)] += 1;
        cell.sum_us += request.duration_us;
    }

    /// What is scraped at the end of a minute.
    pub(crate) fn scrape(&self, minute: usize, samples: &mut Samples) {
        for ((route, outcome, instance), cell) in &self.0 {
            let (process, class) = (process(*instance), format!("{}xx", cell.status / 100));
            let labels = [
                ("instance", process.as_str()),
                ("job", "shortener"),
                ("outcome", Outcome::ALL[*outcome].as_str()),
                ("route", ROUTES[*route].0),
                ("synthetic", "false"),
            ];
            let count = cell.buckets.iter().sum::<u64>() as f64;
            let with_class = [&labels[..], &[("status", class.as_str())]].concat();
            samples.set(series("hoplog_requests_total", &with_class), minute, count);
            let mut below = 0;
            let cumulative = BOUNDS_S.iter().zip(cell.buckets).map(|(bound, bucket)| {
                below += bucket;
                (bound, below as f64)
            });
            let all = (count, cell.sum_us as f64 / 1e6);
            histogram(samples, "hoplog_request_duration_seconds", &labels, minute, cumulative, all);
        }
    }
}
