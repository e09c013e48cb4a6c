//! Whether the collector stores what it reads, for readiness and alerts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is blocked: a partition, or everything before the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Start,
    Partition(u32),
}

/// What keeps the collector from storing, if anything. Clones share it.
#[derive(Debug, Clone)]
pub struct Health(Arc<Mutex<BTreeMap<Who, String>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(BTreeMap::from([(Who::Start, "not started".to_owned())]))))
    }
}

impl Health {
    /// Why it does not store; `None`: it does, or has nothing to do. While ClickHouse is merely away it waits, which is
    /// no reason; the time lag shows that.
    #[must_use]
    pub fn blocked_by(&self) -> Option<String> {
        self.lock().values().next().cloned()
    }

    /// Returns whether anything changed.
    pub(crate) fn set(&self, who: Who, blocked_by: Option<String>) -> bool {
        let mut blocked = self.lock();
        match blocked_by {
            Some(reason) => blocked.insert(who, reason.clone()).as_ref() != Some(&reason),
            None => blocked.remove(&who).is_some(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Who, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_as_long_as_anything_is() {
        let health = Health::default();
        assert_eq!(health.blocked_by().as_deref(), Some("not started"));
        assert!(health.set(Who::Start, None));
        assert!(health.set(Who::Partition(1), Some("no table".to_owned())));
        assert!(!health.set(Who::Partition(1), Some("no table".to_owned())));
        assert!(!health.set(Who::Partition(2), None));
        assert_eq!(health.blocked_by().as_deref(), Some("no table"));
        assert!(health.set(Who::Partition(1), None));
        assert_eq!(health.blocked_by(), None);
    }
}
