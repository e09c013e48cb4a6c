//! Visits at a constant rate, whatever the answers: some links often, many seldom, some for the first time ever. It knows
//! which links each instance has been seen to have, and so which answers are failures.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bench::zipf::Zipf;

use super::parts::INSTANCES;
use crate::random::Random;
use crate::traffic::Connection;

/// Connections to an instance, and so the most visits under way at it.
pub(super) const CONNECTIONS: usize = 24;

/// One visit in so many is of a link that nobody has asked for before.
const COLD_IN: u64 = 50;

/// The phase in which all links are visited for the first time, as fast as it goes.
pub(super) const FIRST: &str = "first";

/// Failures that are shown; one is too many.
const SHOWN_MAX: usize = 20;

/// What is asked for, and how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Links in use, `l0` to below this; those from there on are asked for once.
    pub(super) links: u64,
    /// Visits of all instances together.
    pub(super) per_s: u64,
    pub(super) seed: u64,
}

/// A stretch of time, as visits are named by: visible ASCII without a slash. A visit belongs to the one that it was sent in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Phase {
    pub(super) name: String,
    /// Whether a link that an instance does not have may be refused: the store is away, or not known to be back.
    pub(super) store_is_away: bool,
}

/// Whether the instance had answered for the link before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Known,
    Cold,
}

/// What came of visits: by phase, instance, kind and status.
pub(super) type Answers = BTreeMap<(String, usize, Kind, u16), u64>;

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) answers: Answers,
    pub(super) failures: Vec<String>,
    pub(super) failed: u64,
    /// Links that each instance has redirected.
    known: [HashSet<u64>; INSTANCES],
    /// Links that each instance was asked for since [`Load::ask_anew`].
    pub(super) asked: [HashSet<u64>; INSTANCES],
    latencies_us: Vec<u64>,
}

struct Shared {
    plan: Plan,
    ports: Vec<u16>,
    started: Instant,
    phase: Mutex<Phase>,
    over: AtomicBool,
    /// Visits sent, by instance.
    sent: [AtomicU64; INSTANCES],
    cold: AtomicU64,
    seen: Mutex<Seen>,
}

pub(super) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Lets each instance see every link once, as fast as they answer, and then goes on at the rate.
    pub(super) fn start(plan: Plan, ports: Vec<u16>) -> Self {
        let shared = |started| Shared {
            plan,
            ports: ports.clone(),
            started,
            phase: Mutex::new(Phase { name: FIRST.to_owned(), store_is_away: false }),
            over: AtomicBool::new(false),
            sent: Default::default(),
            cold: AtomicU64::new(plan.links),
            seen: Mutex::default(),
        };
        let first = Arc::new(shared(Instant::now()));
        let all: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let shared = Arc::clone(&first);
                std::thread::spawn(move || shared.see_all(connection as u64))
            })
            .collect();
        all.into_iter().for_each(|thread| thread.join().unwrap());
        let Shared { seen, sent, .. } = Arc::into_inner(first).unwrap();
        // The rate begins now.
        let shared = Arc::new(Shared { seen, sent, ..shared(Instant::now()) });
        let visitors = (0..INSTANCES * CONNECTIONS).map(|number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.visit_on(number % INSTANCES, number as u64 / INSTANCES as u64))
        });
        Self { threads: visitors.collect(), shared }
    }

    /// What is sent from now on belongs to this phase.
    pub(super) fn enter(&self, name: &str, store_is_away: bool) {
        *self.shared.phase.lock().unwrap() = Phase { name: name.to_owned(), store_is_away };
    }

    pub(super) fn phase(&self) -> String {
        self.shared.phase.lock().unwrap().name.clone()
    }

    /// Visits sent to an instance so far.
    pub(super) fn sent(&self, instance: usize) -> u64 {
        self.shared.sent[instance].load(Ordering::SeqCst)
    }

    /// Answers and failures so far.
    pub(super) fn totals(&self) -> (u64, u64) {
        let seen = self.shared.seen.lock().unwrap();
        (seen.answers.values().sum(), seen.failed)
    }

    /// Forgets which links were asked for.
    pub(super) fn ask_anew(&self) {
        self.shared.seen.lock().unwrap().asked = Default::default();
    }

    /// How many links an instance was asked for since.
    pub(super) fn asked(&self, instance: usize) -> u64 {
        self.shared.seen.lock().unwrap().asked[instance].len() as u64
    }

    /// The latencies since it was asked last, as median, 99th percentile and longest.
    pub(super) fn latencies(&self) -> String {
        let mut all = std::mem::take(&mut self.shared.seen.lock().unwrap().latencies_us);
        all.sort_unstable();
        let at = |share: usize| all.get(all.len().saturating_sub(1) * share / 100).copied().unwrap_or(0);
        format!("p50 {} µs, p99 {} µs, longest {} µs", at(50), at(99), at(100))
    }

    /// Ends it when all that was sent is answered.
    pub(super) fn end(self) -> Seen {
        self.shared.over.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        Arc::into_inner(self.shared).unwrap().seen.into_inner().unwrap()
    }
}

impl Shared {
    /// Each link at one instance and then at the other, so that the second finds what the first has shared.
    fn see_all(&self, part: u64) {
        let mut connections: Vec<_> = self.ports.iter().map(|port| Connection::new(*port)).collect();
        for link in (part..self.plan.links).step_by(CONNECTIONS) {
            for turn in 0..INSTANCES {
                let instance = (link as usize + turn) % INSTANCES;
                self.visit(&mut connections[instance], instance, link);
            }
        }
    }

    /// Sends every visit of this connection when it is due, whatever became of the one before.
    fn visit_on(&self, instance: usize, number: u64) {
        let mut connection = Connection::new(self.ports[instance]);
        let popularity = Zipf::new(usize::try_from(self.plan.links).unwrap(), 1.0);
        let every = Duration::from_secs_f64((INSTANCES * CONNECTIONS) as f64 / self.plan.per_s as f64);
        let mut random = Random::new(self.plan.seed ^ (number << 32 | instance as u64));
        for turn in 0.. {
            let due = every.mul_f64(f64::from(turn) + number as f64 / CONNECTIONS as f64);
            while let Some(wait) = due.checked_sub(self.started.elapsed()).filter(|wait| !wait.is_zero()) {
                std::thread::sleep(wait);
            }
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let link = match random.below(COLD_IN) {
                0 => self.cold.fetch_add(1, Ordering::SeqCst),
                _ => popularity.rank(random.below(1 << 53) as f64 / (1_u64 << 53) as f64) as u64,
            };
            self.visit(&mut connection, instance, link);
        }
    }

    fn visit(&self, connection: &mut Connection, instance: usize, link: u64) {
        let phase = self.phase.lock().unwrap().clone();
        let number = self.sent[instance].fetch_add(1, Ordering::SeqCst);
        let kind = {
            let mut seen = self.seen.lock().unwrap();
            seen.asked[instance].insert(link);
            if seen.known[instance].contains(&link) { Kind::Known } else { Kind::Cold }
        };
        let request = format!(
            "GET /l{link} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Request-Id: {}/{number}\r\n\r\n",
            phase.name
        );
        let sent = Instant::now();
        let status = connection.send(request.as_bytes());
        let took = sent.elapsed();
        let away = phase.store_is_away || self.phase.lock().unwrap().store_is_away;
        let mut seen = self.seen.lock().unwrap();
        seen.latencies_us.push(u64::try_from(took.as_micros()).unwrap());
        match status {
            Ok(302) => _ = seen.known[instance].insert(link),
            Ok(503) if kind == Kind::Cold && away => {}
            ref other => {
                seen.failed += 1;
                if seen.failures.len() < SHOWN_MAX {
                    let failure =
                        format!("{}: {kind:?} l{link} at {instance}: {other:?} in {took:?}", phase.name);
                    seen.failures.push(failure);
                }
            }
        }
        // Without an answer there is a failure, which is shown; 0 is no status.
        *seen.answers.entry((phase.name, instance, kind, status.unwrap_or(0))).or_default() += 1;
    }
}
