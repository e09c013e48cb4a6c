//! The seam between producer and collector: object-safe traits, so that the binary picks at run time.
//! Calls are per batch; what the boxing costs does not show. Says nothing about how a log is stored.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{AppendError, CommitError, ConsumeError, EventLogMetrics, Message, OpenError, Position, Record};

/// A log, by its configuration; what a process opens once.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// The topic of events: part of dedup tokens and of the ledger.
    fn topic(&self) -> &str;

    /// Makes the log where there is none, as far as that is ours to do, and checks that it can be used.
    ///
    /// # Errors
    /// See [`OpenError`].
    async fn open(&self) -> Result<(), OpenError>;

    /// A producer of events; one a process is enough.
    ///
    /// # Errors
    /// See [`OpenError`].
    fn producer(&self, metrics: EventLogMetrics) -> Result<Arc<dyn Producer>, OpenError>;

    /// A producer of dead letters beside the table of them; `None` where the log has no other readers.
    ///
    /// # Errors
    /// See [`OpenError`].
    fn dead_letters(&self, metrics: EventLogMetrics) -> Result<Option<Arc<dyn Producer>>, OpenError>;

    /// Joins a group, or takes it over. A new group starts at the oldest message there is.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    async fn consumer(&self, group: &str) -> Result<Box<dyn Consumer>, ConsumeError>;

    /// Where the partitions begin and end and how far a group is, in ascending order; reads only.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    async fn partitions(&self, group: &str) -> Result<Vec<PartitionState>, ConsumeError>;

    /// How many events the producers announced in the messages `[first, until)` of a partition; reads only, and may
    /// read all of them. `first` must be 0 or an offset still in the log.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    async fn count_events(&self, partition: u32, first: u64, until: u64) -> Result<u64, ConsumeError>;
}

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

    /// Whether messages may come packed by a [`Packer`](crate::Packer), as this log keeps them anyway: whoever collects messages
    /// then packs each while it is still in the processor's cache, and holds a fifth.
    fn takes_packed(&self) -> bool {
        false
    }

    /// Ends it in good order; what is appended afterwards is answered with [`AppendError::Closed`]. Without an own
    /// definition there is nothing to end.
    async fn close(&self) {}
}

/// Reads partitions in order and remembers how far a group is.
#[async_trait]
pub trait Consumer: Send {
    /// The topic: part of dedup tokens and of the ledger.
    fn topic(&self) -> &str;

    /// What the log is, by the name that OpenTelemetry's `messaging.system` has for it, or would have.
    fn system(&self) -> &'static str;

    /// The next thing that happened; [`Delivery::Idle`] if nothing did within about `wait`.
    /// Dropping the future loses no record, so it may stand in a `select!`.
    ///
    /// # Errors
    /// See [`ConsumeError`]; after an error nothing was skipped.
    async fn next(&mut self, wait: Duration) -> Result<Delivery, ConsumeError>;

    /// What commits positions, from any task, while [`Consumer::next`] waits.
    fn committer(&self) -> Arc<dyn Committer>;

    /// Stops delivery of a partition's records, for back-pressure. Records read ahead are delivered after
    /// [`Consumer::resume`]; none are lost. Assignments and revocations go on. Unknown partitions: no effect.
    fn pause(&mut self, partition: u32);

    /// Delivers a paused partition's records again.
    fn resume(&mut self, partition: u32);

    /// Gives a partition away that is [`Delivery::Revoking`]: what is open there is committed, or is left to the next
    /// owner. Until then the whole group waits. Nothing more is told of the partition. Others: no effect.
    fn release(&mut self, partition: u32);

    /// How far each assigned partition is behind, by what was committed. For metrics: may ask the log.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    async fn lag(&mut self) -> Result<Vec<Lag>, ConsumeError>;

    /// Leaves the group, so that others need not wait until this consumer's silence is noticed. Not called: they do.
    /// Without an own definition there is nobody to tell.
    async fn close(self: Box<Self>) {}
}

/// Commits positions of a group.
#[async_trait]
pub trait Committer: Send + Sync {
    /// Stores the position of the group, durably and atomically with its metadata. The offset may stay the
    /// same (to write only metadata) but not go back. What is read next is not affected.
    ///
    /// A dropped future may still have its position committed, but not after the partition was assigned anew.
    ///
    /// # Errors
    /// See [`CommitError`]; the committed position is then unchanged, or unknown if the connection broke.
    async fn commit(&self, partition: u32, position: Position) -> Result<(), CommitError>;
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
    /// The group is about to give the partition to another. It is still ours, and no more records of it come: finish
    /// what is open, commit, then [`Consumer::release`] it, soon.
    Revoking {
        /// Which one.
        partition: u32,
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

/// A partition at one moment: what of it there is, and how far a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    /// Which one.
    pub partition: u32,
    /// Oldest offset that is still in the log; `end_offset` if there is none.
    pub first_offset: u64,
    /// Committed: next offset to consume. A group that never committed is at `first_offset`.
    pub committed_offset: u64,
    /// Offset that the next append gets.
    pub end_offset: u64,
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
