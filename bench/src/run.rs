//! Sends the requests of a schedule over a bounded number of connections and counts what comes back. Which requests
//! and when is decided elsewhere (`plan`, `replay`, `schedule`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connection::{Connection, Target};
use crate::error::LoadError;
use crate::links::{self, NewLink};
use crate::plan::{Conduct, Plan, Request, Requests};
use crate::report::{Outcome, Report, Tally};
use crate::schedule::{Schedule, Ticket};
use crate::workload::{Arrivals, Workload};

/// Timers tick in milliseconds. A request that goes out at most this late from an idle connection is on time and
/// measured from when it went out; beyond that it is measured from when it was due.
const TIMER_TOLERANCE: Duration = Duration::from_millis(2);
/// A busy moment shorter than this is no failure to keep up.
const LATE: Duration = Duration::from_millis(100);

/// Creates the workload's links, sends its traffic and reports.
///
/// # Errors
/// When the workload makes no sense, or its links cannot be created.
pub async fn run(workload: &Workload, target: &Target) -> Result<Report, LoadError> {
    let wrong = workload.check();
    if !wrong.is_empty() {
        return Err(LoadError::Workload(wrong));
    }
    let seed = workload.seed.unwrap_or_else(fresh_seed);
    let new = |index| NewLink {
        long_url: format!("https://site.example/load/{seed}/{index}"),
        custom_slug: None,
        title: None,
    };
    let created = links::create(target, (0..workload.links.count).map(new).collect()).await?;
    let codes = created.into_iter().collect::<Result<Vec<String>, LoadError>>()?;
    Ok(run_codes(workload, seed, codes, target).await)
}

/// As [`run`], for links that exist already.
pub async fn run_codes(workload: &Workload, seed: u64, codes: Vec<String>, target: &Target) -> Report {
    let duration = Duration::from_secs_f64(workload.duration_s);
    let schedule = Schedule::new(workload.arrivals, workload.rate_per_s, duration, seed);
    let plan = Plan::new(workload, seed, &target.address, codes);
    let traffic = Traffic {
        schedule,
        requests: Box::new(plan),
        connections: workload.connections,
        timeout: Duration::from_millis(workload.timeout_ms),
        until: Some(duration),
    };
    let (tally, took) = send(traffic, &target.address).await;
    let wanted = (workload.arrivals != Arrivals::Closed).then_some(workload.rate_per_s);
    tally.report(seed, wanted, took)
}

/// A seed that differs from run to run; it is printed, so it need not be secret.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Below 2^53, so that it survives JSON readers.
    u64::try_from(now.as_micros()).unwrap_or_default() % (1 << 53)
}

/// All that is to be sent, and how.
pub(crate) struct Traffic {
    pub(crate) schedule: Schedule,
    pub(crate) requests: Box<dyn Requests>,
    pub(crate) connections: usize,
    pub(crate) timeout: Duration,
    /// When a run without an end of its own stops; one with an end may overrun it by one timeout.
    pub(crate) until: Option<Duration>,
}

/// Sends everything; what was counted and how long it took.
pub(crate) async fn send(traffic: Traffic, address: &str) -> (Tally, Duration) {
    let started = Instant::now();
    let connections = traffic.connections;
    let shared = Arc::new((traffic, AtomicBool::new(false)));
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(Worker::new(Arc::clone(&shared), address.to_owned(), started).work());
    }
    let mut all = Tally::default();
    while let Some(tally) = workers.join_next().await {
        // A worker has no way to panic that a test has not shown; were there one, the rest still counts.
        if let Ok(tally) = tally {
            all.merge(&tally);
        }
    }
    (all, started.elapsed())
}

struct Worker {
    shared: Arc<(Traffic, AtomicBool)>,
    address: String,
    started: Instant,
    connection: Option<Connection>,
    tally: Tally,
}

impl Worker {
    fn new(shared: Arc<(Traffic, AtomicBool)>, address: String, started: Instant) -> Self {
        Self { shared, address, started, connection: None, tally: Tally::default() }
    }

    async fn work(mut self) -> Tally {
        let shared = Arc::clone(&self.shared);
        let (traffic, over) = &*shared;
        let mut request = Request::default();
        while let Some(ticket) = traffic.schedule.next() {
            let elapsed = self.started.elapsed();
            match (traffic.until, ticket.due) {
                // A closed loop ends by the clock.
                (Some(until), None) if elapsed >= until => break,
                // An open one counts what it could not send in time and one timeout more.
                (Some(until), Some(_)) if elapsed >= until + traffic.timeout => {
                    over.store(true, Ordering::Relaxed)
                }
                _ => {}
            }
            if over.load(Ordering::Relaxed) {
                self.tally.unsent();
                continue;
            }
            traffic.requests.fill(ticket.index, &mut request);
            let began = self.wait(ticket).await;
            let outcome = timeout(traffic.timeout, self.exchange(&request)).await.unwrap_or(Outcome::Timeout);
            if !matches!(outcome, Outcome::Status(_)) {
                self.connection = None;
            }
            let answered = matches!(outcome, Outcome::Status(_)) && request.conduct == Some(Conduct::Normal);
            self.tally.count(request.kind, request.method, outcome, answered.then(|| began.elapsed()));
        }
        self.tally
    }

    /// Waits until the request is due and returns from when it is measured.
    async fn wait(&mut self, ticket: Ticket) -> Instant {
        let Some(due) = ticket.due.map(|due| self.started + due) else { return Instant::now() };
        let idle = Instant::now() < due;
        if idle {
            sleep_until(due).await;
        }
        let now = Instant::now();
        let by = now.saturating_duration_since(due);
        if by > LATE {
            self.tally.late(by);
        }
        if idle && by <= TIMER_TOLERANCE { now } else { due }
    }

    async fn exchange(&mut self, request: &Request) -> Outcome {
        let kept = self.connection.take().filter(|connection| !connection.is_stale());
        let mut connection = match kept {
            Some(connection) => connection,
            None => match Connection::open(&self.address).await {
                Ok(connection) => connection,
                Err(_) => return Outcome::Unconnected,
            },
        };
        let sent = connection.send(&request.bytes).await;
        if request.conduct == Some(Conduct::HangUp) {
            return Outcome::HungUp;
        }
        // A service may answer and close before it has read all of a hostile request: the answer counts.
        let answer = connection.receive(request.method == "HEAD").await;
        match (answer, sent) {
            (Ok(answer), _) => {
                if !answer.closes && request.conduct == Some(Conduct::Normal) {
                    self.connection = Some(connection);
                }
                Outcome::Status(answer.status)
            }
            (Err(_), _) => Outcome::Broken,
        }
    }
}
