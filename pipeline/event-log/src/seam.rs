//! The seam between producer and collector: two object-safe traits, so that the binary picks at run time.
//! Calls are per batch; what the boxing costs does not show. Says nothing about how a log is stored.

use std::time::Duration;

use async_trait::async_trait;

use crate::{AppendError, CommitError, ConsumeError, Message, Position, Record};

/// Takes messages and keeps them.
#[async_trait]
pub trait Producer: Send + Sync {
    /// Appends messages; durable when it returns `Ok`. Messages of one call stay in their order within their
    /// partition. The spool takes all or none of a call; Kafka may have taken some when it fails.
    ///
    /// A dropped future may still have its messages appended.
    ///
    /// # Errors
    /// See [`AppendError`]; each failure is counted by reason in the metrics.
    async fn append(&self, messages: Vec<Message>) -> Result<(), AppendError>;
}

/// Reads partitions in order and remembers how far a group is.
#[async_trait]
pub trait Consumer: Send {
    /// The topic: part of dedup tokens and of the ledger.
    fn topic(&self) -> &str;

    /// The next thing that happened; [`Delivery::Idle`] if nothing did within about `wait`.
    /// Dropping the future loses no record, so it may stand in a `select!`.
    ///
    /// # Errors
    /// See [`ConsumeError`]; after an error nothing was skipped.
    async fn next(&mut self, wait: Duration) -> Result<Delivery, ConsumeError>;

    /// Stores the position of the group, durably and atomically with its metadata. The offset may stay the
    /// same (to write only metadata) but not go back. What is read next is not affected.
    ///
    /// # Errors
    /// See [`CommitError`]; the committed position is then unchanged, or unknown if the connection broke.
    async fn commit(&mut self, partition: u32, position: Position) -> Result<(), CommitError>;

    /// Stops delivery of a partition's records, for back-pressure. Records read ahead are delivered after
    /// [`Consumer::resume`]; none are lost. Assignments and revocations go on. Unknown partitions: no effect.
    fn pause(&mut self, partition: u32);

    /// Delivers a paused partition's records again.
    fn resume(&mut self, partition: u32);

    /// How far each assigned partition is behind, by what was committed. For metrics: may ask the log.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    async fn lag(&mut self) -> Result<Vec<Lag>, ConsumeError>;
}

/// What [`Consumer::next`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The partition is ours from here on; its records follow, from `position.offset`.
    /// Whoever had it before can no longer commit.
    Assigned {
        /// Which one.
        partition: u32,
        /// As committed by the group; for a new group the oldest offset there is, with empty metadata.
        position: Position,
    },
    /// The partition is no longer ours; commits of it fail. Drop what is held of it. The spool never revokes:
    /// it answers [`ConsumeError::Fenced`].
    Revoked {
        /// Which one.
        partition: u32,
    },
    /// Records in ascending order, following on what was delivered before. Never empty; bounded in number
    /// and bytes by the consumer's configuration (a single larger record comes alone).
    Records {
        /// Where they are from.
        partition: u32,
        /// The records.
        records: Vec<Record>,
    },
    /// Nothing happened within the wait.
    Idle,
}

/// How far a group is behind in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Which one.
    pub partition: u32,
    /// Committed: next offset to consume.
    pub committed: u64,
    /// Offset that the next append gets.
    pub end: u64,
    /// When the oldest record not yet committed was appended, microseconds since the Unix epoch;
    /// `None` if there is none. Now minus this is the time lag.
    pub oldest_appended_at_us: Option<i64>,
}

impl Lag {
    /// Messages not yet committed.
    pub fn messages(&self) -> u64 {
        self.end.saturating_sub(self.committed)
    }
}
