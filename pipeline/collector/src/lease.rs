//! Proof that a range is still ours: its intent, committed once more. Whoever has lost the partition is answered
//! `Fenced`, so a process that was suspended meanwhile begins no insert of a range that is another's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_log::{CommitError, Committer, Position};
use tokio::sync::Mutex;

use crate::intent::Intent;

/// The right to insert a range, for a while.
pub(crate) struct Lease {
    committer: Arc<dyn Committer>,
    partition: u32,
    /// The committed offset; it stays while the range is open.
    first: u64,
    /// How long a proof is good for.
    limit: Duration,
    proven: Mutex<Option<Instant>>,
}

impl Lease {
    pub(crate) fn new(committer: Arc<dyn Committer>, partition: u32, first: u64, limit: Duration) -> Self {
        Self { committer, partition, first, limit, proven: Mutex::new(None) }
    }

    /// Writes the intent down, whether it is new or the same again. Ours from here on.
    pub(crate) async fn renew(&self, intent: &Intent) -> Result<(), CommitError> {
        self.prove(&mut *self.proven.lock().await, intent).await
    }

    /// To be called before each insert: renews, where the last proof is too old, and says whether it did. Inserts that
    /// begin side by side wait for one renewal.
    pub(crate) async fn hold(&self, intent: &Intent) -> Result<bool, CommitError> {
        let mut proven = self.proven.lock().await;
        if proven.is_some_and(|proven| proven.elapsed() < self.limit) {
            return Ok(false);
        }
        self.prove(&mut proven, intent).await?;
        Ok(true)
    }

    /// Ends the range: the next one begins at `next`.
    pub(crate) async fn end(&self, next: u64) -> Result<(), CommitError> {
        self.committer.commit(self.partition, Position { offset: next, metadata: String::new() }).await
    }

    async fn prove(&self, proven: &mut Option<Instant>, intent: &Intent) -> Result<(), CommitError> {
        // From when it was sent: when it was answered it may be long since true.
        let asked = Instant::now();
        let position = Position { offset: self.first, metadata: intent.to_metadata() };
        self.committer.commit(self.partition, position).await?;
        *proven = Some(asked);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Group {
        commits: AtomicUsize,
        lost: std::sync::atomic::AtomicBool,
    }

    #[async_trait::async_trait]
    impl Committer for Group {
        async fn commit(&self, _: u32, _: Position) -> Result<(), CommitError> {
            self.commits.fetch_add(1, Ordering::Relaxed);
            if self.lost.load(Ordering::Relaxed) { Err(CommitError::Fenced) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn a_proof_is_good_for_a_while_and_none_at_all_once_the_range_is_lost() {
        let (group, intent) = (Arc::new(Group::default()), Intent::new(9, "p".to_owned(), 0, true));
        let lease = |limit| Lease::new(Arc::<Group>::clone(&group), 0, 0, limit);
        for (limit, commits) in [(Duration::from_secs(3600), 1), (Duration::ZERO, 3)] {
            group.commits.store(0, Ordering::Relaxed);
            let lease = lease(limit);
            for _ in 0..3 {
                lease.hold(&intent).await.unwrap();
            }
            assert_eq!(group.commits.load(Ordering::Relaxed), commits);
        }
        group.lost.store(true, Ordering::Relaxed);
        let stale = lease(Duration::ZERO);
        assert!(matches!(stale.hold(&intent).await, Err(CommitError::Fenced)));
        assert!(matches!(stale.renew(&intent).await, Err(CommitError::Fenced)));
    }
}
