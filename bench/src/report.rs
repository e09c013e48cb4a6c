//! What a run found: counts by kind, method and outcome, and a latency histogram. Reading it is up to people and
//! to scripts: it prints as text and serialises as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Three digits: a latency is right to 0.1 %.
const DIGITS: u8 = 3;

/// How one request ended, as seen by the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// An answer with that status.
    Status(u16),
    /// No answer in time.
    Timeout,
    /// No connection.
    Unconnected,
    /// The connection ended before the answer did.
    Broken,
    /// We hung up, as the workload wanted.
    HungUp,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(out, "{status}"),
            Self::Timeout => out.write_str("timeout"),
            Self::Unconnected => out.write_str("no connection"),
            Self::Broken => out.write_str("broken"),
            Self::HungUp => out.write_str("hung up"),
        }
    }
}

/// What one worker counted; merged at the end, so that workers share nothing while they run.
#[derive(Debug)]
pub struct Tally {
    counts: BTreeMap<(&'static str, &'static str, Outcome), u64>,
    latency: Histogram<u64>,
    late: u64,
    late_max: Duration,
    unsent: u64,
}

impl Default for Tally {
    fn default() -> Self {
        // One microsecond to one hour; more is recorded as one hour.
        let latency = Histogram::new_with_bounds(1, 3_600_000_000, DIGITS);
        let latency = latency.unwrap_or_else(|_| unreachable!("the bounds are constants that a test uses"));
        Self { counts: BTreeMap::new(), latency, late: 0, late_max: Duration::ZERO, unsent: 0 }
    }
}

impl Tally {
    /// Counts a request; `latency` where there was an answer.
    pub fn count(
        &mut self,
        kind: &'static str,
        method: &'static str,
        outcome: Outcome,
        latency: Option<Duration>,
    ) {
        *self.counts.entry((kind, method, outcome)).or_default() += 1;
        if let Some(latency) = latency {
            self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
        }
    }

    /// Notes that a request was sent that much after its time, because every connection was busy.
    pub fn late(&mut self, by: Duration) {
        self.late += 1;
        self.late_max = self.late_max.max(by);
    }

    /// Notes a request that was never sent, because the run was over before a connection was free.
    pub fn unsent(&mut self) {
        self.unsent += 1;
    }

    /// Takes over what another worker counted.
    pub fn merge(&mut self, other: &Self) {
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
        // Same bounds, so nothing can be out of range.
        let _ = self.latency.add(&other.latency);
        self.late += other.late;
        self.late_max = self.late_max.max(other.late_max);
        self.unsent += other.unsent;
    }

    /// The report of a run that took so long.
    #[must_use]
    pub fn report(&self, seed: u64, wanted_rate_per_s: Option<f64>, took: Duration) -> Report {
        let requests: u64 = self.counts.values().sum();
        let at = |quantile| self.latency.value_at_quantile(quantile);
        let counts = self.counts.iter().map(|((kind, method, outcome), requests)| Count {
            kind,
            method,
            outcome: outcome.to_string(),
            requests: *requests,
        });
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let rate_per_s = requests as f64 / took.as_secs_f64().max(f64::EPSILON);
        Report {
            seed,
            requests,
            wanted_rate_per_s,
            rate_per_s,
            duration_s: took.as_secs_f64(),
            answered: self.latency.len(),
            latency_us: Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: self.latency.max(),
            },
            kept_up: self.late == 0 && self.unsent == 0,
            late: self.late,
            late_ms_max: u64::try_from(self.late_max.as_millis()).unwrap_or(u64::MAX),
            unsent: self.unsent,
            counts: counts.collect(),
        }
    }
}

/// What a run found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Makes the same requests again.
    pub seed: u64,
    /// Requests sent.
    pub requests: u64,
    /// The rate asked for; none for a closed loop.
    pub wanted_rate_per_s: Option<f64>,
    /// The rate achieved.
    pub rate_per_s: f64,
    /// From the first request to the last answer.
    pub duration_s: f64,
    /// Requests with an answer, whose latency is known.
    pub answered: u64,
    /// From the time a request was due to the end of its answer, in microseconds.
    pub latency_us: Latency,
    /// Whether every request could be sent when it was due. If not, latencies include the wait, and the rate is
    /// what service and generator together could do.
    pub kept_up: bool,
    /// Requests that were sent late because every connection was busy.
    pub late: u64,
    /// The longest of these delays.
    pub late_ms_max: u64,
    /// Requests that were due and never sent.
    pub unsent: u64,
    /// Requests by kind, method and outcome.
    pub counts: Vec<Count>,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half of the answers came at most this late.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// All of them.
    pub max: u64,
}

/// Requests that were of one kind and ended alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// `known`, `unknown`, `hang-up`, or what was wrong with it.
    pub kind: &'static str,
    /// The method.
    pub method: &'static str,
    /// HTTP status, or why there is none.
    pub outcome: String,
    /// How many.
    pub requests: u64,
}

impl Report {
    /// Requests with that outcome, of all kinds and methods.
    #[must_use]
    pub fn outcome(&self, outcome: &str) -> u64 {
        self.counts.iter().filter(|count| count.outcome == outcome).map(|count| count.requests).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} requests in {:.1} s, {:.0}/s", self.requests, self.duration_s, self.rate_per_s)?;
        match self.wanted_rate_per_s {
            Some(wanted) => writeln!(out, " of {wanted:.0}/s wanted; seed {}", self.seed)?,
            None => writeln!(out, "; seed {}", self.seed)?,
        }
        let Latency { p50, p90, p99, p999, max } = self.latency_us;
        writeln!(out, "latency in µs: p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")?;
        if !self.kept_up {
            writeln!(
                out,
                "COULD NOT KEEP UP: {} sent late (by up to {} ms), {} never sent; every connection was busy",
                self.late, self.late_ms_max, self.unsent
            )?;
        }
        for count in &self.counts {
            writeln!(
                out,
                "{:>10}  {:<8} {:<24} {}",
                count.requests, count.method, count.kind, count.outcome
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, Tally};

    #[test]
    fn workers_add_up() {
        let mut all = Tally::default();
        for (outcome, micros) in
            [(Outcome::Status(302), 100), (Outcome::Status(302), 300), (Outcome::Status(404), 200)]
        {
            let mut one = Tally::default();
            one.count("known", "GET", outcome, Some(Duration::from_micros(micros)));
            all.merge(&one);
        }
        all.count("known", "GET", Outcome::Timeout, None);
        let report = all.report(1, Some(2.0), Duration::from_secs(2));
        assert_eq!((report.requests, report.answered, report.kept_up), (4, 3, true));
        assert_eq!((report.latency_us.p50, report.latency_us.max), (200, 300));
        assert_eq!((report.outcome("302"), report.outcome("timeout"), report.outcome("500")), (2, 1, 0));
        assert!((report.rate_per_s - 2.0).abs() < 1e-9);
    }

    #[test]
    fn it_says_when_it_could_not_keep_up() {
        let mut tally = Tally::default();
        tally.late(Duration::from_millis(250));
        tally.unsent();
        let report = tally.report(1, Some(10.0), Duration::from_secs(1));
        let text = report.to_string();
        assert!(!report.kept_up && text.contains("1 sent late (by up to 250 ms), 1 never sent"), "{text}");
    }

    #[test]
    fn an_endless_latency_is_recorded_and_an_empty_run_reported() {
        let mut tally = Tally::default();
        tally.count("known", "GET", Outcome::Status(302), Some(Duration::from_secs(1 << 40)));
        assert!(tally.report(1, None, Duration::ZERO).latency_us.max >= 3_600_000_000);
        assert_eq!(Tally::default().report(1, None, Duration::ZERO).requests, 0);
    }
}
