//! The seam between the shortener and where links are kept: one trait, SQLite and PostgreSQL behind it.
//! It knows nothing of HTTP and caches nothing; every call has a deadline of its own.

pub mod postgres;
pub mod sqlite;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use emitter::System;
use sqlx::migrate::Migrator;

use self::postgres::PostgresStore;
use self::sqlite::SqliteStore;
use crate::config::StoreConfig;
use crate::domain::{Domain, DomainRedirectsEdit};
use crate::keys::ApiKey;
use crate::link::{
    Link, LinkEdit, LinkRef, LinkState, LinkVersion, ListQuery, Match, NewLink, Page, UnixSeconds,
};

/// Why a store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, is too slow or too busy: the same call may work later.
    #[error("the link store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It was not asked: it has failed so often lately that it is left alone for a moment.
    #[error("the link store is left alone after failures")]
    BreakerOpen,
    /// It was not asked: the API's share of its connections was in use all the time.
    #[error("the API has all connections to the link store that it may have")]
    Busy,
    /// It took longer than the deadline.
    #[error("the link store took longer than {ms} ms")]
    Timeout {
        /// The deadline.
        ms: u64,
    },
    /// It answered what can't be: repeating won't help.
    #[error("the link store answered nonsense: {0}")]
    Corrupt(String),
    /// Its schema is older than this program needs.
    #[error(
        "the schema of the link store is at version {found}, {needed} is needed: run `hoplog migrate` first"
    )]
    Schema {
        /// Its last migration; 0 without any.
        found: i64,
        /// The last one that this program knows.
        needed: i64,
    },
    /// Its schema could not be brought up to date.
    #[error("the schema of the link store could not be migrated")]
    Migrate(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// Whether the store failed, as opposed to having answered or not having been asked: what a breaker counts.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout { .. })
    }

    /// A name for metrics and events, from a bounded set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "store_unavailable",
            Self::BreakerOpen => "store_breaker_open",
            Self::Busy => "store_busy",
            Self::Timeout { .. } => "store_timeout",
            Self::Corrupt(_) => "store_corrupt",
            Self::Schema { .. } => "store_schema",
            Self::Migrate(_) => "store_migrate",
        }
    }
}

/// Opens the store that is configured; its schema is [`LinkStore::migrate`]'s.
///
/// # Errors
/// When it can't be opened or reached.
pub async fn open(config: &StoreConfig) -> Result<Arc<dyn LinkStore>, StoreError> {
    if config.postgres.url.is_empty() {
        return Ok(Arc::new(SqliteStore::open(config).await?));
    }
    Ok(Arc::new(PostgresStore::open(config)?))
}

/// Whether the last migration that was run is one that this program can work with: the last that it knows, or a later one.
fn schema_fits(known: &Migrator, last_run: Option<i64>) -> Result<(), StoreError> {
    let found = last_run.unwrap_or(0);
    let needed = known.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found < needed { Err(StoreError::Schema { found, needed }) } else { Ok(()) }
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// All that was acknowledged before: asks the primary. For the API, so that clients read what they wrote.
    Latest,
    /// A replica will do that is not further behind than configured. What it does not know yet is asked for at the primary, so
    /// that no new link is unknown.
    Recent,
}

/// What became of one of the links to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The link is stored.
    New(Link),
    /// Nothing was stored: this one is as good.
    Found(Link),
    /// Nothing was stored: another link has the alias.
    Taken,
}

/// What became of a creation as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// Each link, in the order given.
    Done(Vec<Created>),
    /// Nothing was stored: the generated aliases at these places are taken. Others are needed.
    Collided(Vec<usize>),
    /// Nothing was stored: the claim is somebody else's by now.
    ClaimLost,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Made; the link as it is now, or as it was before it was deleted.
    Done(Link),
    /// There is no such link.
    NotFound,
    /// The change was meant for another state of it, or for a link that had the name before.
    Conflict(Link),
}

/// A request that must have its effect once however often it is sent (`Idempotency-Key`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// [`crate::keys::ApiKey::owner`]: each has its own keys.
    pub owner: String,
    /// The client's key.
    pub key: String,
    /// Hash of what is requested.
    pub payload: [u8; 32],
    /// Tells one try from another: random.
    pub nonce: [u8; 16],
    /// Places of its items that this try makes no link of, in their order: they are settled, too.
    pub refused: Vec<usize>,
}

impl Claim {
    /// What is stored of it with the outcome of its links: each item in its place, as [`Settled::to_stored`] has it.
    pub(crate) fn settled(&self, outcome: &[Created]) -> Vec<Option<i64>> {
        let mut settled: Vec<_> = outcome.iter().map(|created| Settled::from(created).to_stored()).collect();
        for place in &self.refused {
            settled.insert(settled.len().min(*place), Settled::Refused.to_stored());
        }
        settled
    }
}

/// What is known of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is ours now: go on, and hand it to [`LinkStore::create`].
    Ours,
    /// Another try is under way.
    InFlight,
    /// It was done: what became of its items, in their order.
    Done(Vec<Settled>),
    /// The key was used for something else.
    Mismatch,
}

/// What became of one of the items of a claim that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// This link was created.
    New(i64),
    /// This link was there.
    Found(i64),
    /// The alias was taken.
    Taken,
    /// It could be no link.
    Refused,
}

impl From<&Created> for Settled {
    fn from(created: &Created) -> Self {
        match created {
            Created::New(link) => Self::New(link.id),
            Created::Found(link) => Self::Found(link.id),
            Created::Taken => Self::Taken,
        }
    }
}

impl Settled {
    /// As it is stored: the id of a link that was created, minus the id of one that was found, nothing for an alias
    /// that was taken, 0 for what could be no link. Ids are positive.
    pub(crate) fn to_stored(self) -> Option<i64> {
        match self {
            Self::New(id) => Some(id),
            Self::Found(id) => Some(-id),
            Self::Taken => None,
            Self::Refused => Some(0),
        }
    }

    /// What [`Settled::to_stored`] gave.
    pub(crate) fn from_stored(stored: Option<i64>) -> Self {
        match stored {
            Some(0) => Self::Refused,
            Some(id) if id < 0 => Self::Found(-id),
            Some(id) => Self::New(id),
            None => Self::Taken,
        }
    }

    /// The link, if there is one.
    pub fn link_id(&self) -> Option<i64> {
        match self {
            Self::New(id) | Self::Found(id) => Some(*id),
            Self::Taken | Self::Refused => None,
        }
    }
}

/// A tag and how many links have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagCount {
    /// The tag.
    pub name: String,
    /// Links that have it.
    pub links: u64,
}

/// What became of a renaming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// Done.
    Done,
    /// There is no such tag.
    NotFound,
    /// The new name is another tag's.
    Conflict,
}

/// Which links, for statistics of more than one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those with this tag.
    pub tag: Option<String>,
    /// Those of this domain.
    pub domain: Option<String>,
    /// Those of this owner.
    pub owner: Option<String>,
}

/// What names a link, and since when its visits count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Counted {
    /// See [`crate::domain::Domain::authority`].
    pub domain: String,
    /// The short code or custom slug.
    pub code: String,
    /// [`Link::counts_from`].
    pub from: UnixSeconds,
}

/// How many connections of a pool, or of a share of one, are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Which pool, from a fixed set: a label of metrics.
    pub name: &'static str,
    /// Connections that work for somebody.
    pub busy: u32,
    /// Connections that wait for work.
    pub idle: u32,
    /// Connections at most.
    pub connections_max: u32,
}

impl PoolUse {
    fn of<DB: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<DB>) -> Self {
        // Read one after the other, so that for a moment more may be idle than there are.
        let (open, idle) = (pool.size(), u32::try_from(pool.num_idle()).unwrap_or(u32::MAX));
        let idle = idle.min(open);
        Self { name, busy: open - idle, idle, connections_max: pool.options().get_max_connections() }
    }
}

/// Where links, keys, secrets and code ranges are kept.
#[async_trait]
pub trait LinkStore: Send + Sync + 'static {
    /// Brings the schema up to date. Several processes may call it at once.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Whether the store answers, and its schema is not older than this program needs.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Waits for what is under way and closes all connections.
    async fn close(&self);

    /// What it is, for spans.
    fn system(&self) -> System;

    /// Its pools of connections; asks nobody.
    fn pools(&self) -> Vec<PoolUse>;

    /// How far the read replica that is furthest behind is behind what was last known of the primary, seconds; infinite
    /// where that is not known (yet), nothing where there is no replica. Asks nobody.
    fn replica_lag_s(&self) -> Option<f64> {
        None
    }

    /// The secret `name`; where there is none, `proposed` becomes it. All processes get the same.
    async fn secret(&self, name: &str, proposed: [u8; 32]) -> Result<[u8; 32], StoreError>;

    /// `count` ids for codes of `length`, never given before, in one atomic step.
    async fn lease(&self, length: u32, count: u64) -> Result<Range<u64>, StoreError>;

    /// The link with this name.
    async fn find(&self, link: LinkRef<'_>, read: Read) -> Result<Option<Link>, StoreError>;

    /// The links with these ids, in any order; what is gone is left out.
    async fn find_ids(&self, ids: &[i64]) -> Result<Vec<Link>, StoreError>;

    /// The links with these names, in any order; unknown ones are left out.
    async fn find_many(&self, links: &[LinkRef<'_>]) -> Result<Vec<Link>, StoreError>;

    /// The newest link that is as good as one to `target`.
    async fn find_match(&self, target: &str, by: &Match) -> Result<Option<Link>, StoreError>;

    /// Which of these codes are taken on a domain.
    async fn taken(&self, domain: &str, codes: &[String]) -> Result<Vec<String>, StoreError>;

    /// Stores links, each unless its alias is taken or an equal one exists. All in one transaction, in which the claim
    /// is marked done too, so that neither two links on an alias, nor two equal links, nor two effects of one claim can
    /// come of a race or a crash.
    async fn create(&self, links: &[NewLink], claim: Option<&Claim>) -> Result<Creation, StoreError>;

    /// Claims a request; a claim that is not done is anybody's again after `lease_s`, for any payload.
    async fn claim(&self, claim: &Claim, lease_s: u32) -> Result<Claimed, StoreError>;

    /// Gives a claim up that is still ours and not done, so that the request can be sent again.
    async fn unclaim(&self, claim: &Claim) -> Result<(), StoreError>;

    /// Forgets claims made before a time, at most `limit`; returns how many.
    async fn forget_claims(&self, before: UnixSeconds, limit: u32) -> Result<u64, StoreError>;

    /// Indexes, for searches, the texts that creations and edits have left for later. Searches find them before, too: until
    /// then they read them one by one. May be called anywhere and at any time; of several at once, one does it. Returns how many
    /// pages of 8 KiB were waiting.
    async fn index_texts(&self) -> Result<u64, StoreError>;

    /// Changes a link. Where it led goes into its history.
    async fn edit(&self, link: LinkRef<'_>, edit: &LinkEdit) -> Result<Changed, StoreError>;

    /// Deletes a link, if it has the given state where one is given.
    async fn delete(&self, link: LinkRef<'_>, if_state: Option<LinkState>) -> Result<Changed, StoreError>;

    /// Versions of a link below one, or all, the newest first and at most `limit`; the current one is among them.
    async fn history(
        &self,
        link_id: i64,
        below: Option<u32>,
        limit: u32,
    ) -> Result<Vec<LinkVersion>, StoreError>;

    /// These versions of a link, in any order, as far as they are known.
    async fn versions(&self, link_id: i64, versions: &[u32]) -> Result<Vec<LinkVersion>, StoreError>;

    /// Some of the links.
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError>;

    /// Ids and names of the links that a list is of, at most `limit`, in any order: the query's order, place and size of a
    /// page are not looked at.
    async fn list_names(&self, query: &ListQuery, limit: u32) -> Result<Vec<(i64, Counted)>, StoreError>;

    /// Names of the links selected, the newest first, at most `limit`, each with the time since when its visits count.
    async fn names(&self, of: &Selection, limit: u32) -> Result<Vec<Counted>, StoreError>;

    /// Links, of a domain or all, whose visits before a time were deleted, with that time; the latest first, at most
    /// `limit`. Also those that are gone since.
    async fn deleted_visits(&self, domain: Option<&str>, limit: u32) -> Result<Vec<Counted>, StoreError>;

    /// Since when orphan visits are shown: those before were deleted. `None`: all are. One time for all domains, in the
    /// table `settings` (`name` → `value`, a whole number) under `orphan_visits_from`.
    async fn orphan_visits_from(&self) -> Result<Option<UnixSeconds>, StoreError>;

    /// Sets that time. An earlier one than is stored changes nothing: what was deleted stays so.
    async fn set_orphan_visits_from(&self, at: UnixSeconds) -> Result<(), StoreError>;

    /// How many links there are: of an owner, or all.
    async fn count(&self, owner: Option<&str>) -> Result<u64, StoreError>;

    /// Codes on a domain that robots may follow, the newest first, at most `limit`.
    async fn crawlable(&self, domain: &str, limit: u32) -> Result<Vec<String>, StoreError>;

    /// Takes one of the visits of a link with `max_visits`; false when none is left. Exact under concurrency.
    async fn take_visit(&self, link_id: i64) -> Result<bool, StoreError>;

    /// All tags of links (of an owner, of a domain, or all), by name, with how many of these links have each.
    async fn tags(&self, owner: Option<&str>, domain: Option<&str>) -> Result<Vec<TagCount>, StoreError>;

    /// The links selected that have any of these tags, each with each of them, at most `limit` pairs. The tag of the
    /// selection is not looked at.
    async fn tagged(
        &self,
        of: &Selection,
        tags: &[String],
        limit: u32,
    ) -> Result<Vec<(String, Counted)>, StoreError>;

    /// Renames a tag on all links, which makes each of them another revision.
    async fn rename_tag(&self, old: &str, new: &str) -> Result<Renamed, StoreError>;

    /// Takes tags off all links, which makes each of them another revision; unknown ones are ignored.
    async fn delete_tags(&self, names: &[String]) -> Result<(), StoreError>;

    /// All domains that have links or redirects, the default one included, by name.
    async fn domains(&self) -> Result<Vec<Domain>, StoreError>;

    /// Sets where visits of a domain go that name no link; nothing when the domain is unknown (the default one never
    /// is). Returns what is set now.
    async fn set_domain_redirects(
        &self,
        domain: &str,
        edit: &DomainRedirectsEdit,
    ) -> Result<Option<Domain>, StoreError>;

    /// Stores a key by its hash.
    async fn insert_key(&self, key: &ApiKey, hash: &[u8; 32]) -> Result<(), StoreError>;

    /// The key with this hash, with the stored hash.
    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<(ApiKey, [u8; 32])>, StoreError>;

    /// All keys, the oldest first.
    async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError>;

    /// Revokes a key; false when there is none, or it is revoked already.
    async fn revoke_key(&self, id: &str, at: UnixSeconds) -> Result<bool, StoreError>;

    /// Has a key expire at a time, unless it does so earlier; false when there is none, or it is revoked.
    async fn expire_key(&self, id: &str, at: UnixSeconds) -> Result<bool, StoreError>;
}
