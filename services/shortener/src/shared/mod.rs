//! The seam to what instances share beside the link store: cached links, changes, buckets of tokens, leases.
//! Locally there is nobody to share with; Redis, or a Redis Cluster, is behind it otherwise. Losing it loses no data:
//! callers go on without.

mod announcer;
mod backoff;
mod guarded;
mod listener;
pub mod local;
pub mod redis;

pub use announcer::{Announcer, News};
pub use guarded::{DEPENDENCY, Guarded};
pub use listener::{Listener, listen};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

use self::local::LocalState;
use self::redis::RedisState;
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

/// Opens the state that is configured, within a tokio runtime. What can't be reached now is reached later: nothing
/// waits for it.
pub fn open(config: &RedisConfig) -> Arc<dyn SharedState> {
    if config.url.is_empty() { Arc::new(LocalState::default()) } else { Arc::new(RedisState::open(config)) }
}

/// What orders the entries that a key has one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Ids grow and are never given twice, so a later one is a later link. 0 before any.
    pub id: i64,
    /// See [`crate::link::Link::revision`].
    pub revision: i64,
}

impl Version {
    /// That nothing was ever there.
    pub const NOTHING: Self = Self { id: 0, revision: 0 };

    /// That what had this id is gone: later than every revision of it. The largest number that Lua, which compares
    /// them, can tell from its neighbours.
    pub const fn gone(id: i64) -> Self {
        Self { id, revision: (1 << 53) - 1 }
    }
}

/// A value of which older ones never replace later ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which it is.
    pub version: Version,
    /// What it says.
    pub value: Bytes,
    /// How long it is kept from now on.
    pub keep: Duration,
}

/// What another instance has changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

    /// The entry under a key. Always nothing locally.
    async fn get(&self, key: &str) -> Result<Option<Entry>, SharedError>;

    /// Keeps an entry, unless one of a later version is kept, and tells other instances of the change that it is the
    /// outcome of. Both in one step: who hears of the change finds this entry or a later one. Whether it is kept.
    async fn put(&self, key: &str, entry: Entry, change: Option<&Change>) -> Result<bool, SharedError>;

    /// Tells all other instances of a change that no entry is kept of.
    async fn announce(&self, change: &Change) -> Result<(), SharedError>;

    /// What other instances announce from now on. A receiver that lags has lost changes, as with [`Change::Unknown`].
    fn changes(&self) -> broadcast::Receiver<Change>;

    /// Takes tokens out of the bucket of a name, made full when new.
    async fn take(&self, name: &str, bucket: Bucket, tokens: u32) -> Result<Taken, SharedError>;

    /// Whether `holder` has the lease of a name from now on: nobody else has, or it had it already. It ends by itself.
    async fn lease(&self, name: &str, holder: &str, keep: Duration) -> Result<bool, SharedError>;
}
