//! Whether the collector stores what it reads, for readiness and alerts: what needs a person, and for how long what is
//! under way has been. Decides nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who is blocked, or at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// Everything, before the start.
    Start,
    /// Reading.
    EventLog,
    /// The range that a partition has open.
    Partition(u32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::EventLog => f.write_str("event log"),
            Self::Partition(number) => write!(f, "partition {number}"),
        }
    }
}

/// What keeps the collector from storing, if anything. Clones share it.
#[derive(Debug, Clone)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What needs a person.
    blocked: BTreeMap<Who, String>,
    /// What is under way, since when in this process.
    under_way: BTreeMap<Who, Instant>,
    /// When the open ranges were first begun, by whichever process: microseconds since 1970.
    begun_at_us: BTreeMap<Who, i64>,
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            blocked: BTreeMap::from([(Who::Start, "not started".to_owned())]),
            under_way: BTreeMap::from([(Who::Start, Instant::now())]),
            begun_at_us: BTreeMap::new(),
        })))
    }
}

impl Health {
    /// Why it does not store; `None`: it does, or has nothing to do. While ClickHouse is merely away it waits, which is
    /// no reason; [`Health::stalled`] shows that.
    #[must_use]
    pub fn blocked_by(&self) -> Option<String> {
        self.lock().blocked.iter().next().map(|(who, reason)| format!("{who}: {reason}"))
    }

    /// For how long the work that takes longest has been under way: the start, an open range, reading again after a
    /// failure. A second or two while all is well; grows with any failure, and with an answer that does not come.
    #[must_use]
    pub fn stalled(&self) -> Duration {
        self.lock().under_way.values().min().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// When the oldest open range was begun, by this process or one before it, microseconds since 1970.
    pub(crate) fn oldest_intent_us(&self) -> Option<i64> {
        self.lock().begun_at_us.values().min().copied()
    }

    /// Returns whether anything changed.
    pub(crate) fn set(&self, who: Who, blocked_by: Option<String>) -> bool {
        let blocked = &mut self.lock().blocked;
        match blocked_by {
            Some(reason) => blocked.insert(who, reason.clone()).as_ref() != Some(&reason),
            None => blocked.remove(&who).is_some(),
        }
    }

    /// Work begins, unless it has.
    pub(crate) fn begin(&self, who: Who) {
        self.lock().under_way.entry(who).or_insert_with(Instant::now);
    }

    /// A range is open that was first begun then.
    pub(crate) fn open(&self, who: Who, begun_at_us: i64) {
        self.begin(who);
        self.lock().begun_at_us.insert(who, begun_at_us);
    }

    /// Work is done, or no longer ours.
    pub(crate) fn end(&self, who: Who) {
        let mut state = self.lock();
        state.under_way.remove(&who);
        state.begun_at_us.remove(&who);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_as_long_as_anything_is() {
        let health = Health::default();
        assert_eq!(health.blocked_by().as_deref(), Some("start: not started"));
        assert!(health.set(Who::Start, None));
        assert!(health.set(Who::Partition(1), Some("no table".to_owned())));
        assert!(!health.set(Who::Partition(1), Some("no table".to_owned())));
        assert!(!health.set(Who::Partition(2), None));
        assert_eq!(health.blocked_by().as_deref(), Some("partition 1: no table"));
        assert!(health.set(Who::Partition(1), None));
        assert_eq!(health.blocked_by(), None);
    }

    #[test]
    fn stalled_as_long_as_the_oldest_work() {
        let health = Health::default();
        assert!(health.stalled() > Duration::ZERO);
        health.end(Who::Start);
        assert_eq!((health.stalled(), health.oldest_intent_us()), (Duration::ZERO, None));
        health.open(Who::Partition(1), 30);
        health.open(Who::Partition(2), 20);
        assert_eq!(health.oldest_intent_us(), Some(20));
        let first = health.stalled();
        health.begin(Who::Partition(1));
        assert!(health.stalled() >= first);
        health.end(Who::Partition(2));
        assert_eq!(health.oldest_intent_us(), Some(30));
        health.end(Who::Partition(1));
        assert_eq!(health.stalled(), Duration::ZERO);
    }
}
