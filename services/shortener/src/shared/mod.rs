//! The seam to what instances share beside the link store: cached links, changes, buckets of tokens, leases.
//! Locally there is nobody to share with; Redis, or a Redis Cluster, is behind it otherwise. Losing it loses no data:
//! callers go on without.

pub mod local;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

use self::local::LocalState;
use crate::config::RedisConfig;

/// Why the shared state did not answer.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// It can't be reached or refused: the same call may work later.
    #[error("the shared state is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It was not asked: it has failed so often lately that it is left alone for a moment.
    #[error("the shared state is left alone after failures")]
    BreakerOpen,
    /// It took longer than the deadline.
    #[error("the shared state took longer than {ms} ms")]
    Timeout {
        /// The deadline.
        ms: u64,
    },
}

impl SharedError {
    /// A name for metrics and events, from a bounded set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "redis_unavailable",
            Self::BreakerOpen => "redis_breaker_open",
            Self::Timeout { .. } => "redis_timeout",
        }
    }
}

/// Opens the state that is configured. What can't be reached now is reached later: nothing waits for it.
pub fn open(_: &RedisConfig) -> Arc<dyn SharedState> {
    Arc::new(LocalState::default())
}

/// What another instance has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A link: created, edited or deleted.
    Link {
        /// See [`crate::domain::Domain::authority`].
        domain: String,
        /// Its alias.
        code: String,
    },
    /// The redirects of domains.
    Domains,
    /// Keys.
    Keys,
    /// Messages may have been lost: whatever is cached may be older than it seems.
    Unknown,
}

/// A bucket that fills at a rate up to a burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Tokens a second.
    pub per_s: f64,
    /// Tokens when full.
    pub burst: u32,
}

/// What a bucket gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whether the tokens were there; if not, none was taken.
    pub granted: bool,
    /// Whole tokens left.
    pub remaining: u32,
    /// When as many tokens as asked for will be there; zero when granted.
    pub retry_after: Duration,
    /// When the bucket will be full.
    pub full_after: Duration,
}

/// What instances share. Every call has a deadline of its own, far below a request's.
#[async_trait]
pub trait SharedState: Send + Sync + 'static {
    /// Where state is kept: `local` or `redis`.
    fn kind(&self) -> &'static str;

    /// Whether it answers.
    async fn ping(&self) -> Result<(), SharedError>;

    /// The value under a key. Always nothing locally.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, SharedError>;

    /// Keeps a value for a time.
    async fn put(&self, key: &str, value: Bytes, keep: Duration) -> Result<(), SharedError>;

    /// Removes a value.
    async fn remove(&self, key: &str) -> Result<(), SharedError>;

    /// Tells all other instances.
    async fn announce(&self, change: &Change) -> Result<(), SharedError>;

    /// What other instances announce from now on. A receiver that lags has lost changes, as with [`Change::Unknown`].
    fn changes(&self) -> broadcast::Receiver<Change>;

    /// Takes tokens out of the bucket of a name, made full when new.
    async fn take(&self, name: &str, bucket: Bucket, tokens: u32) -> Result<Taken, SharedError>;

    /// Whether `holder` has the lease of a name from now on: nobody else has, or it had it already. It ends by itself.
    async fn lease(&self, name: &str, holder: &str, keep: Duration) -> Result<bool, SharedError>;
}
