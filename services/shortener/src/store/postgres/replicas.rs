//! Read replicas: which of them is asked. One that failed rests for a moment; one that is too far behind the primary is not
//! asked until it has caught up, as it would bring back what caches have forgotten by then. What they are asked is not
//! known here.
//!
//! A replica has all that there was at a time when it has come to where the primary's log was at that time. So an idle
//! primary makes nobody old, and one that hears nothing any more does not pass for up to date.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::line::{Answer, Line, Log, Silence};
use super::pool::{Primary, Server};
use super::{PoolUse, StoreError};

/// A replica that failed is not asked for this long: short enough that its load is soon shared again, long enough that
/// hardly a read waits for it in vain.
const REST_MS: u64 = 2_000;

/// How often it is looked how far behind they are, within the bound. The primary's answer and theirs have as long as the pause
/// between two looks. So from what one look asks to what the next one shows it is half of the bound at most, whatever hangs: one
/// that is asked is never further behind than half as much again.
const LOOKS_IN_BOUND: u32 = 10;

/// How far behind a replica is of which that is not known.
const UNKNOWN: u64 = u64::MAX;

/// Read replicas, asked in turn.
#[derive(Debug)]
pub(super) struct Replicas {
    all: Vec<Replica>,
    turn: AtomicUsize,
    started: Instant,
    lag_max: Duration,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) server: Server,
    /// Until when it is not asked, in ms since the start.
    rests_until_ms: AtomicU64,
    /// How far it is behind, as last seen.
    behind_ms: AtomicU64,
}

impl Replicas {
    pub(super) fn new(servers: Vec<Server>, lag_max: Duration) -> Self {
        let replica = |server| Replica {
            server,
            rests_until_ms: AtomicU64::new(0),
            behind_ms: AtomicU64::new(UNKNOWN),
        };
        let all = servers.into_iter().map(replica).collect();
        Self { all, turn: AtomicUsize::new(0), started: Instant::now(), lag_max }
    }

    /// The next one that may be asked.
    pub(super) fn next(&self) -> Option<&Replica> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let (now, behind_max) = (self.now_ms(), ms(self.lag_max));
        (0..self.all.len()).map(|step| &self.all[first.wrapping_add(step) % self.all.len()]).find(|replica| {
            replica.rests_until_ms.load(Ordering::Relaxed) <= now
                && replica.behind_ms.load(Ordering::Relaxed) <= behind_max
        })
    }

    /// It failed: it rests.
    pub(super) fn rest(&self, replica: &Replica, error: &StoreError) {
        let now = self.now_ms();
        let before = replica.rests_until_ms.swap(now + REST_MS, Ordering::Relaxed);
        // Calls that were under way together fail together: one line for all of them.
        if before <= now {
            tracing::warn!(error = error as &dyn std::error::Error, "a read replica failed and rests");
        }
    }

    /// Looks from now on how far they are behind `primary`, within a tokio runtime. None is asked before it is known.
    pub(super) fn watch(self: &Arc<Self>, primary: &Arc<Primary>) -> Option<Watch> {
        if self.all.is_empty() {
            return None;
        }
        let mut looks = Looks {
            replicas: Arc::clone(self),
            primary: Line::to(&primary.server),
            every: self.lag_max / LOOKS_IN_BOUND,
            marks: Marks::default(),
            seen: self.all.iter().map(|replica| (Line::to(&replica.server), Seen::default())).collect(),
        };
        Some(Watch(tokio::spawn(async move {
            loop {
                looks.look().await;
                tokio::time::sleep(looks.every).await;
            }
        })))
    }

    /// How far the one that is furthest behind is behind, seconds; infinite where that is not known.
    pub(super) fn lag_s(&self) -> Option<f64> {
        let behind = self.all.iter().map(|replica| replica.behind_ms.load(Ordering::Relaxed)).max()?;
        Some(if behind == UNKNOWN { f64::INFINITY } else { Duration::from_millis(behind).as_secs_f64() })
    }

    /// All of them as one, if there are any: a label for each would be a host's.
    pub(super) fn pools(&self) -> Option<PoolUse> {
        let pools = self.all.iter().map(|replica| replica.server.pool("replicas"));
        pools.reduce(|sum, pool| PoolUse {
            busy: sum.busy + pool.busy,
            idle: sum.idle + pool.idle,
            connections_max: sum.connections_max + pool.connections_max,
            ..sum
        })
    }

    pub(super) async fn close(&self) {
        for replica in &self.all {
            replica.server.close().await;
        }
    }

    fn now_ms(&self) -> u64 {
        ms(self.started.elapsed())
    }
}

/// Looks until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Watch(JoinHandle<()>);

impl Watch {
    pub(super) fn end(&self) {
        self.0.abort();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is looked at, and what was seen.
struct Looks {
    replicas: Arc<Replicas>,
    primary: Line,
    every: Duration,
    marks: Marks,
    /// Of each replica.
    seen: Vec<(Line, Seen)>,
}

impl Looks {
    async fn look(&mut self) {
        let asked = Instant::now();
        let (every, lag_max) = (self.every, self.replicas.lag_max);
        self.marks.hear(asked, self.primary.ask(every).await, lag_max);
        let marks = &self.marks;
        let places = self.seen.iter_mut().zip(&self.replicas.all).enumerate();
        // Each is known as soon as it answers: one that hangs holds up no other.
        let looks = places.map(async |(place, ((line, seen), replica))| {
            let answer = line.ask(every).await;
            let behind = seen.behind(place, answer.ok(), marks, lag_max);
            replica.behind_ms.store(behind.map_or(UNKNOWN, ms), Ordering::Relaxed);
        });
        join_all(looks).await;
    }
}

/// What was last seen of a replica.
#[derive(Debug, Default)]
struct Seen {
    /// Where it was in the log.
    position: Option<i64>,
    /// It has everything that there was then.
    reached: Option<Instant>,
    /// By its own answer.
    standing: Standing,
    /// As it was logged.
    told: Standing,
}

/// What a replica is to the primary.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Standing {
    #[default]
    Replica,
    /// One that is too far behind.
    Late,
    /// It can't say how far behind it is.
    Mute,
    /// It was one, or is the primary: it writes a log of its own.
    Promoted,
    /// A replica of another primary.
    Foreign,
}

impl Standing {
    /// By what it says, beside the primary. One of another cluster that writes its own log may be a logical replica.
    fn of(answer: Answer, primary: Option<i64>) -> Self {
        let same = answer.system.zip(primary).map(|(system, primary)| system == primary);
        match (answer.log, same) {
            (Some(Log { replays: true, .. }), Some(false)) => Self::Foreign,
            (Some(Log { replays: true, position: Some(_) }), _) => Self::Replica,
            (Some(Log { replays: false, .. }), Some(true)) => Self::Promoted,
            _ => Self::Mute,
        }
    }

    fn log(self, place: usize) {
        match self {
            Self::Replica => tracing::info!(place, "a read replica has caught up"),
            Self::Late => tracing::warn!(
                place,
                "a read replica is too far behind, and not asked until it has caught up"
            ),
            Self::Mute => tracing::warn!(
                place,
                "a read replica can't say how far behind it is, and is asked all the same"
            ),
            Self::Promoted => tracing::warn!(
                place,
                "a read replica was promoted, or is the primary itself, and is not asked"
            ),
            Self::Foreign => tracing::warn!(
                place,
                "a read replica is one of another primary than store.postgres.url's, and not asked"
            ),
        }
    }
}

impl Seen {
    /// How far it is behind, after it has answered or not: who does not answer gets older.
    fn behind(
        &mut self,
        place: usize,
        answer: Option<Answer>,
        marks: &Marks,
        lag_max: Duration,
    ) -> Option<Duration> {
        if let Some(answer) = answer {
            self.hear(answer, marks);
        }
        let behind = marks.newest.zip(self.reached).map(|(newest, reached)| newest - reached);
        let standing = match self.standing {
            Standing::Replica | Standing::Mute if behind.is_none_or(|behind| behind > lag_max) => {
                Standing::Late
            }
            standing => standing,
        };
        if std::mem::replace(&mut self.told, standing) != standing {
            standing.log(place);
        }
        behind
    }

    fn hear(&mut self, answer: Answer, marks: &Marks) {
        self.standing = Standing::of(answer, marks.system);
        let before = self.position.take();
        self.reached = match self.standing {
            Standing::Promoted | Standing::Foreign => None,
            Standing::Mute => marks.newest,
            Standing::Replica | Standing::Late => {
                self.position = answer.log.and_then(|log| log.position);
                // Further back than before, it is another server, or has lost what it had.
                let known = if self.position < before { None } else { self.reached };
                self.position.and_then(|position| marks.reached(position)).or(known)
            }
        };
    }
}

/// Where the primary's log was, and when, the newest last: as far back as a replica may be.
#[derive(Debug, Default)]
struct Marks {
    /// Nothing where it could not say so.
    ends: VecDeque<(Instant, Option<i64>)>,
    /// Until when something may have been written.
    newest: Option<Instant>,
    /// Which cluster it is.
    system: Option<i64>,
}

impl Marks {
    /// What the primary answered when it was asked `at` a time.
    fn hear(&mut self, at: Instant, answer: Result<Answer, Silence>, kept: Duration) {
        match answer {
            // One that replays is no primary (any more): what is written elsewhere is not known.
            Ok(Answer { log: Some(Log { replays: true, .. }), .. }) | Err(Silence::Slow) => self.pass(at),
            Ok(answer) => {
                self.system = answer.system;
                self.add(at, answer.log.and_then(|log| log.position), kept);
            }
            // Nothing is written that replicas could lack: they stay as far behind as they were, and may still get what they
            // lacked.
            Err(Silence::Away) => {}
        }
    }

    fn add(&mut self, at: Instant, end: Option<i64>, kept: Duration) {
        self.newest = Some(at);
        self.ends.push_back((at, end));
        while self.ends.front().is_some_and(|(old, _)| at - *old > kept) {
            self.ends.pop_front();
        }
    }

    /// It is there for others, and where its log is is not known: all get older.
    fn pass(&mut self, at: Instant) {
        self.newest = self.newest.map(|_| at);
    }

    /// The last time of which a replica that is there has everything. After a failover the log may be shorter than before:
    /// what is newer counts.
    fn reached(&self, position: i64) -> Option<Instant> {
        let has = |end: Option<i64>| end.is_none_or(|end| position >= end);
        self.ends.iter().rev().find(|(_, end)| has(*end)).map(|(at, _)| *at)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG_MAX: Duration = Duration::from_secs(2);

    fn answer(system: i64, replays: bool, position: i64) -> Answer {
        Answer { system: Some(system), log: Some(Log { replays, position: Some(position) }) }
    }

    #[test]
    fn a_replica_has_what_there_was_when_the_log_was_where_it_is() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut marks = Marks::default();
        assert_eq!((marks.newest, marks.reached(5)), (None, None), "nothing is known yet");
        for (second, end) in [(0, 100), (1, 100), (2, 200), (3, 300)] {
            marks.add(at(second), Some(end), LAG_MAX);
        }
        assert_eq!(marks.newest, Some(at(3)));
        for (position, reached) in
            [(99, None), (100, Some(at(1))), (299, Some(at(2))), (300, Some(at(3))), (400, Some(at(3)))]
        {
            assert_eq!(marks.reached(position), reached, "{position}");
        }
        // Another server is the primary, and its log is shorter.
        marks.add(at(4), Some(250), LAG_MAX);
        assert_eq!(marks.reached(260), Some(at(4)));
        // It can't say.
        marks.add(at(5), None, LAG_MAX);
        assert_eq!(marks.reached(0), Some(at(5)));
    }

    #[test]
    fn replicas_get_older_while_the_primary_is_slow_and_not_while_it_is_away() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let (mut marks, mut seen) = (Marks::default(), Seen::default());
        let mut behind_s = |second, primary, replica| {
            marks.hear(at(second), primary, LAG_MAX);
            seen.behind(0, replica, &marks, LAG_MAX).map(|behind| behind.as_secs())
        };
        let replica = Some(answer(1, true, 100));
        assert_eq!(behind_s(0, Err(Silence::Slow), replica), None, "nothing is known yet");
        assert_eq!(behind_s(1, Ok(answer(1, false, 100)), replica), Some(0));
        assert_eq!(behind_s(2, Err(Silence::Away), replica), Some(0));
        assert_eq!(behind_s(3, Err(Silence::Slow), replica), Some(2), "others may have written");
        assert_eq!(behind_s(4, Err(Silence::Away), replica), Some(2), "they may have until then");
        assert_eq!(behind_s(5, Ok(answer(1, true, 100)), replica), Some(4), "it is no primary");
        assert_eq!(behind_s(6, Ok(answer(1, false, 100)), replica), Some(0));
        assert_eq!(behind_s(7, Ok(answer(1, false, 100)), None), Some(1), "it does not answer");
    }

    #[test]
    fn a_replica_that_goes_back_has_nothing_that_is_known() {
        let start = Instant::now();
        let (mut marks, mut seen) = (Marks::default(), Seen::default());
        marks.add(start, Some(100), LAG_MAX);
        let mut behind = |position| seen.behind(0, Some(answer(1, true, position)), &marks, LAG_MAX);
        assert_eq!(behind(100), Some(Duration::ZERO));
        assert_eq!(behind(99), None, "another server is there");
        assert_eq!(behind(99), None);
        assert_eq!(behind(100), Some(Duration::ZERO));
    }

    #[test]
    fn only_what_has_the_log_of_the_primary_is_its_replica() {
        let mute = Answer { log: None, ..answer(1, true, 5) };
        for (said, primary, standing) in [
            (answer(1, true, 5), Some(1), Standing::Replica),
            (answer(1, true, 5), None, Standing::Replica),
            (Answer { system: None, ..answer(1, true, 5) }, Some(1), Standing::Replica),
            (answer(2, true, 5), Some(1), Standing::Foreign),
            (answer(1, false, 5), Some(1), Standing::Promoted),
            // A logical one, or a copy.
            (answer(2, false, 5), Some(1), Standing::Mute),
            (answer(1, false, 5), None, Standing::Mute),
            (mute, Some(1), Standing::Mute),
        ] {
            assert_eq!(Standing::of(said, primary), standing, "{said:?} beside {primary:?}");
        }
        let (mut marks, mut seen) = (Marks::default(), Seen::default());
        marks.hear(Instant::now(), Ok(answer(1, false, 5)), LAG_MAX);
        let mut behind = |said| seen.behind(0, Some(said), &marks, LAG_MAX);
        assert_eq!(behind(answer(1, true, 5)), Some(Duration::ZERO));
        assert_eq!(behind(answer(1, false, 9)), None, "it was promoted");
        assert_eq!(behind(answer(2, true, 9)), None, "another's log");
        assert_eq!(behind(mute), Some(Duration::ZERO), "it is taken to be up to date");
    }
}
