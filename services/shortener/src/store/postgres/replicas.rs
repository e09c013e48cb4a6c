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

use super::pool::{Primary, Server, deadline, failed};
use super::{PoolUse, StoreError};

/// A replica that failed is not asked for this long: short enough that its load is soon shared again, long enough that
/// hardly a read waits for it in vain.
const REST_MS: u64 = 2_000;

/// How often it is looked how far behind they are, within the bound. An answer has as long as the pause before it, so the bound
/// is kept to three tenths whatever hangs.
const LOOKS_IN_BOUND: u32 = 10;

/// How far behind a replica is of which that is not known.
const UNKNOWN: u64 = u64::MAX;

/// How far the primary's log is on the disk: a replica gets no more.
const PRIMARY: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint";

/// How much of it a replica has taken over. One that was promoted says for ever how much it had then.
const REPLICA: &str = "SELECT CASE WHEN pg_is_in_recovery()
     THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END";

/// SQLSTATEs of servers that don't have these functions, or not for us: not supported, unknown, forbidden.
const NO_LOG: [&str; 3] = ["0A000", "42883", "42501"];

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
            primary: Arc::clone(primary),
            every: self.lag_max / LOOKS_IN_BOUND,
            marks: Marks::default(),
            seen: self.all.iter().map(|_| Seen::default()).collect(),
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
    primary: Arc<Primary>,
    every: Duration,
    marks: Marks,
    /// Of each replica.
    seen: Vec<Seen>,
}

/// What was last seen of a replica.
#[derive(Default)]
struct Seen {
    /// It has everything that there was then.
    reached: Option<Instant>,
    /// It is too far behind.
    late: bool,
    /// It can't say how far behind it is.
    mute: bool,
}

impl Looks {
    async fn look(&mut self) {
        let asked = Instant::now();
        // While it does not answer, nothing is written that they could lack, as far as is known: they stay as far behind
        // as they were, and may still get what they lacked.
        if let Ok(end) = position(&self.primary.server, PRIMARY, self.every).await {
            self.marks.add(asked, end, self.replicas.lag_max);
        }
        let all = &self.replicas.all;
        let positions = all.iter().map(|replica| position(&replica.server, REPLICA, self.every));
        let positions = join_all(positions).await;
        for (place, (seen, position)) in self.seen.iter_mut().zip(positions).enumerate() {
            let behind = seen.behind(place, position.ok(), &self.marks, self.replicas.lag_max);
            all[place].behind_ms.store(behind.map_or(UNKNOWN, ms), Ordering::Relaxed);
        }
    }
}

impl Seen {
    /// How far it is behind, after it has answered or not: who does not answer gets older.
    fn behind(
        &mut self,
        place: usize,
        answer: Option<Position>,
        marks: &Marks,
        lag_max: Duration,
    ) -> Option<Duration> {
        if let Some(position) = answer {
            self.reached = marks.reached(position).or(self.reached);
            let was_mute = std::mem::replace(&mut self.mute, position.is_none());
            if self.mute && !was_mute {
                tracing::warn!(
                    place,
                    "a read replica can't say how far behind it is, and is asked all the same"
                );
            }
        }
        let behind = marks.newest().zip(self.reached).map(|(newest, reached)| newest - reached);
        let was_late = std::mem::replace(&mut self.late, behind.is_none_or(|behind| behind > lag_max));
        match (was_late, self.late) {
            (false, true) => {
                tracing::warn!(
                    place,
                    "a read replica is too far behind, and not asked until it has caught up"
                );
            }
            (true, false) => tracing::info!(place, "a read replica has caught up"),
            _ => {}
        }
        behind
    }
}

/// Where a server is in the log; nothing where it can't say so.
type Position = Option<i64>;

/// Where the primary's log was, and when, the newest last: as far back as a replica may be.
#[derive(Debug, Default)]
struct Marks(VecDeque<(Instant, Position)>);

impl Marks {
    fn add(&mut self, at: Instant, end: Position, kept: Duration) {
        self.0.push_back((at, end));
        while self.0.front().is_some_and(|(old, _)| at - *old > kept) {
            self.0.pop_front();
        }
    }

    fn newest(&self) -> Option<Instant> {
        self.0.back().map(|(at, _)| *at)
    }

    /// The last time of which a replica that is there has everything. After a failover the log may be shorter than before:
    /// what is newer counts.
    fn reached(&self, position: Position) -> Option<Instant> {
        let has = |end: Position| position.zip(end).is_none_or(|(position, end)| position >= end);
        self.0.iter().rev().find(|(_, end)| has(*end)).map(|(at, _)| *at)
    }
}

async fn position(
    server: &Server,
    statement: &'static str,
    answer_max: Duration,
) -> Result<Position, StoreError> {
    deadline(ms(answer_max), async {
        let mut lent = server.lend().await?;
        let answer = sqlx::query_scalar(statement).fetch_one(lent.connection()?).await;
        lent.give_back();
        match answer {
            Err(sqlx::Error::Database(said)) if said.code().is_some_and(|code| NO_LOG.contains(&&*code)) => {
                Ok(None)
            }
            answer => answer.map_err(failed),
        }
    })
    .await
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_has_what_there_was_when_the_log_was_where_it_is() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut marks = Marks::default();
        assert_eq!((marks.newest(), marks.reached(Some(5))), (None, None), "nothing is known yet");
        for (second, end) in [(0, 100), (1, 100), (2, 200), (3, 300)] {
            marks.add(at(second), Some(end), Duration::from_secs(2));
        }
        assert_eq!(marks.newest(), Some(at(3)));
        for (position, reached) in [
            (Some(99), None),
            (Some(100), Some(at(1))),
            (Some(299), Some(at(2))),
            (Some(300), Some(at(3))),
            (Some(400), Some(at(3))),
            (None, Some(at(3))),
        ] {
            assert_eq!(marks.reached(position), reached, "{position:?}");
        }
        // Another server is the primary, and its log is shorter.
        marks.add(at(4), Some(250), Duration::from_secs(2));
        assert_eq!(marks.reached(Some(260)), Some(at(4)));
        // It can't say.
        marks.add(at(5), None, Duration::from_secs(2));
        assert_eq!(marks.reached(Some(0)), Some(at(5)));
    }
}
