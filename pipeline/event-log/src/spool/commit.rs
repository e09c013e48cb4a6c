//! Commits positions of a group under the epoch of its consumer, from any task. Reads nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sqlx::SqliteConnection;
use tokio::sync::Mutex;

use super::failure::Failure;
use super::{SpoolConfig, files, now_us};
use crate::{CommitError, Committer, METADATA_BYTES_MAX, Position};

/// How far a partition may be committed, and how far it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    pub(super) committed: u64,
    /// Next offset to deliver.
    pub(super) next: u64,
}

/// Commits for the consumer that made it, as long as that has the group.
#[derive(Debug)]
pub(super) struct SpoolCommitter {
    config: Arc<SpoolConfig>,
    group: String,
    epoch: AtomicI64,
    reach: SyncMutex<BTreeMap<u32, Reach>>,
    /// One connection, made when needed and anew after a failure; also the order of commits.
    groups: Mutex<Option<SqliteConnection>>,
}

impl SpoolCommitter {
    pub(super) fn new(config: Arc<SpoolConfig>, group: String) -> Self {
        Self {
            config,
            group,
            epoch: AtomicI64::new(0),
            reach: SyncMutex::default(),
            groups: Mutex::default(),
        }
    }

    pub(super) fn set_epoch(&self, epoch: i64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    pub(super) fn assign(&self, partition: u32, reach: Reach) {
        self.reach().insert(partition, reach);
    }

    pub(super) fn forget(&self, partition: u32) {
        self.reach().remove(&partition);
    }

    pub(super) fn delivered(&self, partition: u32, next: u64) {
        if let Some(reach) = self.reach().get_mut(&partition) {
            reach.next = next;
        }
    }

    /// 0 for a partition that is not assigned.
    pub(super) fn committed(&self, partition: u32) -> u64 {
        self.reach().get(&partition).map_or(0, |reach| reach.committed)
    }

    fn reach(&self) -> MutexGuard<'_, BTreeMap<u32, Reach>> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, partition: u32, position: &Position) -> Result<(), CommitError> {
        let Some(reach) = self.reach().get(&partition).copied() else {
            return Err(CommitError::Invalid("the partition is not assigned"));
        };
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

    /// One statement, so that the epoch is checked in the transaction that commits.
    async fn update(
        &self,
        open: &mut Option<SqliteConnection>,
        partition: u32,
        position: &Position,
    ) -> Result<bool, Failure> {
        let groups = match open {
            Some(groups) => groups,
            None => open.insert(files::connect_groups(&self.config).await?),
        };
        let done = sqlx::query(
            "UPDATE positions SET offset = ?1, metadata = ?2, committed_at_us = ?3 \
             WHERE name = ?4 AND partition = ?5 AND (SELECT epoch FROM groups WHERE name = ?4) = ?6",
        )
        .bind(position.offset as i64)
        .bind(&position.metadata)
        .bind(now_us())
        .bind(&self.group)
        .bind(partition)
        .bind(self.epoch.load(Ordering::Acquire))
        .execute(groups)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

#[async_trait]
impl Committer for SpoolCommitter {
    async fn commit(&self, partition: u32, position: Position) -> Result<(), CommitError> {
        let mut open = self.groups.lock().await;
        self.check(partition, &position)?;
        let current = match self.update(&mut open, partition, &position).await {
            Ok(current) => current,
            Err(failure) => {
                *open = None;
                return Err(failure.into());
            }
        };
        if !current {
            return Err(CommitError::Fenced);
        }
        if let Some(reach) = self.reach().get_mut(&partition) {
            reach.committed = position.offset;
        }
        Ok(())
    }
}
