//! The states of Kafka, and the load in each of them.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};
use bench::run::run_codes;
use bench::workload::{Arrivals, Links, Methods, Mix};
use bench::{Report, Target, Workload};

use crate::Options;

/// Links that requests are spread over; as in `redirect`.
pub(crate) const LINKS: usize = 1000;

/// What Kafka does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It takes events.
    Running,
    /// It is halted (SIGSTOP): connections stay open, and nothing answers.
    Halted,
    /// It was killed (SIGKILL): nothing listens.
    Killed,
}

impl State {
    /// In the order of a round.
    pub(crate) const ALL: [Self; 3] = [Self::Running, Self::Halted, Self::Killed];

    /// Name in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Halted => "halted",
            Self::Killed => "killed",
        }
    }

    /// From running to this state.
    pub(crate) fn enter(self, kafka: &testbed::Kafka) {
        match self {
            Self::Running => {}
            Self::Halted => kafka.pause(),
            Self::Killed => kafka.kill(),
        }
    }

    /// And back, on the same data.
    pub(crate) fn leave(self, kafka: &testbed::Kafka) {
        match self {
            Self::Running => {}
            Self::Halted => kafka.resume(),
            Self::Killed => kafka.restart(),
        }
    }
}

/// One state in one round.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) state: State,
    pub(crate) closed: Report,
    pub(crate) open: Report,
    /// Requests of this measurement, those to warm up included.
    pub(crate) requests: u64,
    /// Requests that failed meanwhile.
    pub(crate) failures: u64,
    /// Events dropped meanwhile, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
}

impl fmt::Display for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, closed, open, failures, dropped, .. } = self;
        let (rate, p99) = (closed.rate_per_s, open.latency_us.p99);
        let name = state.name();
        write!(out, "{name:<8} {rate:>8.0}/s, p99 {p99:>6} µs, {failures} failures, dropped {dropped:?}")
    }
}

/// The load, the same for all.
#[derive(Debug)]
pub(crate) struct Load {
    rate_per_s: f64,
    seconds: f64,
    connections: usize,
    codes: Vec<String>,
}

impl Load {
    pub(crate) fn new(options: &Options, codes: Vec<String>) -> Self {
        Self { rate_per_s: options.rate, seconds: options.seconds, connections: options.connections, codes }
    }

    /// Warms up, which in an outage also fills the emitter's queue; then as `redirect` does.
    pub(crate) async fn measure(&self, state: State, target: &Target) -> Result<Measured> {
        let warm_up = self.send(Arrivals::Closed, self.seconds / 5.0, target).await?;
        let closed = self.send(Arrivals::Closed, self.seconds, target).await?;
        let open = self.send(Arrivals::Poisson, self.seconds, target).await?;
        let requests = warm_up.requests + closed.requests + open.requests;
        Ok(Measured { state, closed, open, requests, failures: 0, dropped: BTreeMap::new() })
    }

    async fn send(&self, arrivals: Arrivals, duration_s: f64, target: &Target) -> Result<Report> {
        let workload = Workload {
            rate_per_s: self.rate_per_s,
            arrivals,
            duration_s,
            connections: self.connections,
            timeout_ms: 5000,
            seed: Some(1),
            links: Links { count: self.codes.len(), ..Links::default() },
            mix: Mix { unknown_share: 0.0, malformed_share: 0.0, hang_up_share: 0.0, bot_share: 0.1 },
            methods: Methods { get: 1.0, head: 0.0, post: 0.0 },
        };
        let report = run_codes(&workload, 1, self.codes.clone(), target).await;
        if report.outcome("302") != report.requests {
            bail!("not every request was redirected, so the numbers say nothing:\n{report}");
        }
        Ok(report)
    }
}
