//! The seam between the shortener and where links are kept: one trait, a SQLite and later a PostgreSQL store.
//! It knows nothing of HTTP and caches nothing; every call has a deadline of its own.

pub mod sqlite;

use std::ops::Range;

use async_trait::async_trait;

use crate::keys::ApiKey;
use crate::link::{Link, LinkEdit, ListQuery, Match, NewLink, Page, UnixSeconds};

/// Why a store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, is too slow or too busy: the same call may work later.
    #[error("the link store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took longer than the deadline.
    #[error("the link store took longer than {ms} ms")]
    Timeout {
        /// The deadline.
        ms: u64,
    },
    /// It answered what can't be: repeating won't help.
    #[error("the link store answered nonsense: {0}")]
    Corrupt(String),
    /// Its schema could not be brought up to date.
    #[error("the schema of the link store could not be migrated")]
    Migrate(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// A name for metrics and events, from a bounded set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "store_unavailable",
            Self::Timeout { .. } => "store_timeout",
            Self::Corrupt(_) => "store_corrupt",
            Self::Migrate(_) => "store_migrate",
        }
    }
}

/// What became of a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The link is stored.
    New(Link),
    /// Nothing was stored: this one is as good.
    Found(Link),
    /// Nothing was stored: another link has the alias.
    Taken,
}

/// Where links, keys, secrets and code ranges are kept.
#[async_trait]
pub trait LinkStore: Send + Sync + 'static {
    /// Brings the schema up to date. Several processes may call it at once.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// The secret `name`; where there is none, `proposed` becomes it. All processes get the same.
    async fn secret(&self, name: &str, proposed: [u8; 32]) -> Result<[u8; 32], StoreError>;

    /// `count` ids for codes of `length`, never given before, in one atomic step.
    async fn lease(&self, length: u32, count: u64) -> Result<Range<u64>, StoreError>;

    /// The link with this alias.
    async fn find(&self, code: &str) -> Result<Option<Link>, StoreError>;

    /// The newest link that is as good as one to `target`.
    async fn find_match(&self, target: &str, by: &Match) -> Result<Option<Link>, StoreError>;

    /// Stores a link unless its alias is taken or, with `unless`, an equal one exists; decided in one
    /// transaction, so that neither two links on an alias nor two equal links can come of a race.
    async fn create(&self, link: &NewLink, unless: Option<&Match>) -> Result<Created, StoreError>;

    /// Changes a link, or says that there is none.
    async fn edit(&self, code: &str, edit: &LinkEdit) -> Result<Option<Link>, StoreError>;

    /// Deletes a link and returns what it was.
    async fn delete(&self, code: &str) -> Result<Option<Link>, StoreError>;

    /// Some of the links.
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError>;

    /// Codes that robots may follow, the newest first, at most `limit`.
    async fn crawlable(&self, limit: u32) -> Result<Vec<String>, StoreError>;

    /// Takes one of the visits of a link with `max_visits`; false when none is left. Exact under concurrency.
    async fn take_visit(&self, link_id: i64) -> Result<bool, StoreError>;

    /// Stores a key by its hash.
    async fn insert_key(&self, key: &ApiKey, hash: &[u8; 32]) -> Result<(), StoreError>;

    /// The key with this hash, with the stored hash.
    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<(ApiKey, [u8; 32])>, StoreError>;

    /// All keys, the oldest first.
    async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError>;

    /// Revokes a key; false when there is none, or it is revoked already.
    async fn revoke_key(&self, id: &str, at: UnixSeconds) -> Result<bool, StoreError>;
}
