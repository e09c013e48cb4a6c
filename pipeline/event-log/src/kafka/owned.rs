//! Which partitions are ours and how far they are: what consumer and committer share. Whatever is not in here can't be
//! committed. Talks to nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Mutex as AsyncMutex;

use super::session::Client;
use crate::{CommitError, METADATA_BYTES_MAX, Position};

/// The order of a partition's commits, over all assignments of it: whoever holds it may send one. Whoever takes or gives
/// a partition waits for it, so that no commit arrives behind that.
pub(super) type Order = Arc<AsyncMutex<()>>;

/// The partitions of a consumer.
#[derive(Default)]
pub(super) struct Owned {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    assignments: u64,
    partitions: BTreeMap<u32, Reach>,
    orders: BTreeMap<u32, Order>,
}

/// An assigned partition.
struct Reach {
    /// Number of the assignment.
    assignment: u64,
    /// Not kept alive: leaving the group must not wait for commits that wait.
    client: Weak<Client>,
    committed: u64,
    /// Next offset to deliver.
    next: u64,
}

/// The right to commit in an assignment, as long as it lasts.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) partition: u32,
    assignment: u64,
    pub(super) client: Weak<Client>,
}

impl Owned {
    /// A partition is ours, from this offset on.
    pub(super) fn insert(&self, partition: u32, offset: u64, client: Weak<Client>) {
        let mut state = self.state();
        state.assignments += 1;
        let assignment = state.assignments;
        state.partitions.insert(partition, Reach { assignment, client, committed: offset, next: offset });
    }

    /// A partition is no longer ours: commits that have not been sent fail.
    pub(super) fn remove(&self, partition: u32) {
        self.state().partitions.remove(&partition);
    }

    /// Nothing is ours any more.
    pub(super) fn clear(&self) {
        self.state().partitions.clear();
    }

    pub(super) fn delivered(&self, partition: u32, next: u64) {
        if let Some(reach) = self.state().partitions.get_mut(&partition) {
            reach.next = next;
        }
    }

    /// What is committed of a partition that is ours.
    pub(super) fn committed(&self, partition: u32) -> Option<u64> {
        self.state().partitions.get(&partition).map(|reach| reach.committed)
    }

    /// Notes a commit that the group took.
    pub(super) fn note_committed(&self, claim: &Claim, offset: u64) {
        if let Some(reach) = self.state().partitions.get_mut(&claim.partition)
            && reach.assignment == claim.assignment
        {
            reach.committed = offset;
        }
    }

    pub(super) fn order(&self, partition: u32) -> Order {
        Arc::clone(self.state().orders.entry(partition).or_default())
    }

    pub(super) fn claim(&self, partition: u32) -> Result<Claim, CommitError> {
        let state = self.state();
        let reach = state.partitions.get(&partition).ok_or(CommitError::Fenced)?;
        Ok(Claim { partition, assignment: reach.assignment, client: Weak::clone(&reach.client) })
    }

    /// Whether a position may be committed now.
    pub(super) fn check(&self, claim: &Claim, position: &Position) -> Result<(), CommitError> {
        let state = self.state();
        let reach = state.partitions.get(&claim.partition).ok_or(CommitError::Fenced)?;
        if reach.assignment != claim.assignment {
            return Err(CommitError::Fenced);
        }
        if position.metadata.len() > METADATA_BYTES_MAX {
            return Err(CommitError::Invalid("the metadata is longer than 4096 bytes"));
        }
        if position.offset < reach.committed {
            return Err(CommitError::Invalid("the offset is below the committed one"));
        }
        if position.offset > reach.next {
            return Err(CommitError::Invalid("the offset is beyond what was delivered"));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one insertion or assignment: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
