//! The SQLite link store: one file in WAL mode, one connection that writes and several that read.
//! Queries live in the modules beside this one; this one opens, migrates and keeps deadlines.

mod claims;
mod counted;
mod domains;
mod history;
mod keys;
mod links;
mod list;
mod lookup;
mod rows;
mod tags;

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use emitter::System;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlitePool};

use super::{
    Changed, Claim, Claimed, Counted, Created, Creation, LinkStore, PoolUse, Read, Renamed, Selection,
    Settled, StoreError, TagCount, schema_fits,
};
use crate::config::StoreConfig;
use crate::domain::{Domain, DomainRedirectsEdit};
use crate::keys::ApiKey;
use crate::link::{
    Link, LinkEdit, LinkRef, LinkState, LinkVersion, ListQuery, Match, NewLink, Page, UnixSeconds,
};

/// A later schema is used as it is, so that one can go back to the version before.
static MIGRATIONS: Migrator = Migrator { ignore_missing: true, ..sqlx::migrate!("migrations/sqlite") };

/// How long SQLite itself waits for another process's write before the call fails. Below every write deadline
/// that makes sense; the commands that share the file write for milliseconds.
const BUSY_MS: u64 = 2_000;

/// A limit that was lifted meanwhile, which a cached link may not know yet, refuses nobody.
const TAKE_VISIT: &str =
    "UPDATE links SET visits = visits + 1 WHERE id = ? AND (max_visits IS NULL OR visits < max_visits)";

/// Links in one SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    /// For visits.
    reads: SqlitePool,
    /// For reads of the API: a call that was given up has its connection until SQLite has ended it, and then it is these
    /// that are in use.
    api: SqlitePool,
    // SQLite has one writer: waiting here is fair and quiet, waiting in SQLite is polling.
    writes: SqlitePool,
    read_ms: u64,
    write_ms: u64,
}

impl SqliteStore {
    /// Opens the file, making it if there is none. The schema is [`LinkStore::migrate`]'s.
    pub async fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let options = Self::options(&config.path, config.sync_commits);
        keep_private(&config.path).map_err(|error| unavailable(sqlx::Error::Io(error)))?;
        let pool = |connections: u32, wait_ms: u64| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .min_connections(1)
                .acquire_timeout(Duration::from_millis(wait_ms))
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writes = pool(1, config.write_ms_max).connect_with(options.clone()).await.map_err(unavailable)?;
        let half = (config.read_connections_max / 2).max(1);
        let open = async |connections: u32| {
            let pool = pool(connections, config.read_ms_max);
            pool.connect_with(options.clone()).await.map_err(unavailable)
        };
        let (reads, api) =
            (open(config.read_connections_max.saturating_sub(half).max(1)).await?, open(half).await?);
        Ok(Self { reads, writes, api, read_ms: config.read_ms_max, write_ms: config.write_ms_max })
    }

    fn options(path: &Path, sync_commits: bool) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(if sync_commits { SqliteSynchronous::Full } else { SqliteSynchronous::Normal })
            .busy_timeout(Duration::from_millis(BUSY_MS))
    }

    async fn read<T>(&self, query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        deadline(self.read_ms, query).await
    }

    async fn write<T>(&self, query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        deadline(self.write_ms, query).await
    }
}

/// Makes the file for its owner alone, since it holds the key of the codes; SQLite gives its companions the same mode.
fn keep_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

async fn deadline<T>(ms: u64, query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let timed = tokio::time::timeout(Duration::from_millis(ms), query).await;
    timed.unwrap_or(Err(StoreError::Timeout { ms }))
}

/// What SQLite says when it fails is, but for rows that can't be read, a matter of time or of the disk.
fn unavailable(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            StoreError::Corrupt(error.to_string())
        }
        error => StoreError::Unavailable(Box::new(error)),
    }
}

#[async_trait]
impl LinkStore for SqliteStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        // No deadline: a migration takes as long as it takes, and is run before a rollout.
        MIGRATIONS.run(&self.writes).await.map_err(|error| StoreError::Migrate(Box::new(error)))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // A query of a table: that of a constant works without schema and without file.
        let found = self.read(async {
            let tables = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
            let tables: i64 = sqlx::query_scalar(tables).fetch_one(&self.reads).await.map_err(unavailable)?;
            if tables == 0 {
                return Ok(None);
            }
            let version = "SELECT max(version) FROM _sqlx_migrations WHERE success";
            sqlx::query_scalar(version).fetch_one(&self.reads).await.map_err(unavailable)
        });
        schema_fits(&MIGRATIONS, found.await?)
    }

    async fn close(&self) {
        self.reads.close().await;
        self.api.close().await;
        self.writes.close().await;
    }

    fn system(&self) -> System {
        System::Sqlite
    }

    fn pools(&self) -> Vec<PoolUse> {
        vec![
            PoolUse::of("reads", &self.reads),
            PoolUse::of("writes", &self.writes),
            PoolUse::of("api", &self.api),
        ]
    }

    async fn secret(&self, name: &str, proposed: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.write(async {
            let row = sqlx::query(
                "INSERT INTO secrets (name, value) VALUES (?, ?)
                 ON CONFLICT (name) DO UPDATE SET value = value RETURNING value",
            )
            .bind(name)
            .bind(proposed.as_slice())
            .fetch_one(&self.writes)
            .await
            .map_err(unavailable)?;
            rows::bytes_32(&row, "value")
        })
        .await
    }

    async fn lease(&self, length: u32, count: u64) -> Result<Range<u64>, StoreError> {
        let count = i64::try_from(count).map_err(|_| StoreError::Corrupt("lease too large".to_owned()))?;
        self.write(async {
            let row = sqlx::query(
                "INSERT INTO code_ranges (length, next_id) VALUES (?1, ?2)
                 ON CONFLICT (length) DO UPDATE SET next_id = next_id + ?2 RETURNING next_id",
            )
            .bind(length)
            .bind(count)
            .fetch_one(&self.writes)
            .await
            .map_err(unavailable)?;
            let end: i64 = row.try_get("next_id").map_err(unavailable)?;
            match (u64::try_from(end - count), u64::try_from(end)) {
                (Ok(first), Ok(end)) => Ok(first..end),
                _ => Err(StoreError::Corrupt("negative code range".to_owned())),
            }
        })
        .await
    }

    async fn find(&self, link: LinkRef<'_>, _: Read) -> Result<Option<Link>, StoreError> {
        self.read(links::find(&self.reads, link)).await
    }

    async fn find_match(&self, target: &str, by: &Match) -> Result<Option<Link>, StoreError> {
        self.read(async {
            let mut connection = self.api.acquire().await.map_err(unavailable)?;
            links::find_match(&mut connection, target, by).await
        })
        .await
    }

    async fn create(&self, links: &[NewLink], claim: Option<&Claim>) -> Result<Creation, StoreError> {
        self.write(links::create(&self.writes, links, claim)).await
    }

    async fn edit(&self, link: LinkRef<'_>, edit: &LinkEdit) -> Result<Changed, StoreError> {
        self.write(links::edit(&self.writes, link, edit)).await
    }

    async fn delete(&self, link: LinkRef<'_>, if_state: Option<LinkState>) -> Result<Changed, StoreError> {
        self.write(links::delete(&self.writes, link, if_state)).await
    }

    async fn find_ids(&self, ids: &[i64]) -> Result<Vec<Link>, StoreError> {
        self.read(lookup::find_ids(&self.api, ids)).await
    }

    async fn find_many(&self, links: &[LinkRef<'_>]) -> Result<Vec<Link>, StoreError> {
        self.read(lookup::find_many(&self.api, links)).await
    }

    async fn taken(&self, domain: &str, codes: &[String]) -> Result<Vec<String>, StoreError> {
        self.read(lookup::taken(&self.api, domain, codes)).await
    }

    async fn claim(&self, claim: &Claim, lease_s: u32) -> Result<Claimed, StoreError> {
        self.write(claims::claim(&self.writes, claim, lease_s)).await
    }

    async fn unclaim(&self, claim: &Claim) -> Result<(), StoreError> {
        self.write(claims::unclaim(&self.writes, claim)).await
    }

    async fn forget_claims(&self, before: UnixSeconds, limit: u32) -> Result<u64, StoreError> {
        self.write(claims::forget(&self.writes, before, limit)).await
    }

    /// Nothing: searches read all links here.
    async fn index_texts(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn history(
        &self,
        link_id: i64,
        below: Option<u32>,
        limit: u32,
    ) -> Result<Vec<LinkVersion>, StoreError> {
        self.read(history::newest(&self.api, link_id, below, limit)).await
    }

    async fn versions(&self, link_id: i64, versions: &[u32]) -> Result<Vec<LinkVersion>, StoreError> {
        self.read(history::these(&self.api, link_id, versions)).await
    }

    async fn names(&self, of: &Selection, limit: u32) -> Result<Vec<Counted>, StoreError> {
        self.read(counted::names(&self.api, of, limit)).await
    }

    async fn deleted_visits(&self, domain: Option<&str>, limit: u32) -> Result<Vec<Counted>, StoreError> {
        self.read(counted::deleted(&self.api, domain, limit)).await
    }

    async fn orphan_visits_from(&self) -> Result<Option<UnixSeconds>, StoreError> {
        self.read(counted::orphan_visits_from(&self.api)).await
    }

    async fn set_orphan_visits_from(&self, at: UnixSeconds) -> Result<(), StoreError> {
        self.write(counted::set_orphan_visits_from(&self.writes, at)).await
    }

    async fn count(&self, owner: Option<&str>) -> Result<u64, StoreError> {
        self.read(lookup::count(&self.api, owner)).await
    }

    async fn tags(&self, owner: Option<&str>, domain: Option<&str>) -> Result<Vec<TagCount>, StoreError> {
        self.read(tags::tags(&self.api, owner, domain)).await
    }

    async fn tagged(
        &self,
        of: &Selection,
        tags: &[String],
        limit: u32,
    ) -> Result<Vec<(String, Counted)>, StoreError> {
        self.read(counted::tagged(&self.api, of, tags, limit)).await
    }

    async fn rename_tag(&self, old: &str, new: &str) -> Result<Renamed, StoreError> {
        self.write(tags::rename(&self.writes, old, new)).await
    }

    async fn delete_tags(&self, names: &[String]) -> Result<(), StoreError> {
        self.write(tags::delete(&self.writes, names)).await
    }

    async fn domains(&self) -> Result<Vec<Domain>, StoreError> {
        self.read(domains::domains(&self.api)).await
    }

    async fn set_domain_redirects(
        &self,
        domain: &str,
        edit: &DomainRedirectsEdit,
    ) -> Result<Option<Domain>, StoreError> {
        self.write(domains::set_redirects(&self.writes, domain, edit)).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.read(list::list(&self.api, query)).await
    }

    async fn list_names(&self, query: &ListQuery, limit: u32) -> Result<Vec<(i64, Counted)>, StoreError> {
        self.read(list::names(&self.api, query, limit)).await
    }

    async fn crawlable(&self, domain: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        self.read(list::crawlable(&self.api, domain, limit)).await
    }

    async fn take_visit(&self, link_id: i64) -> Result<bool, StoreError> {
        self.write(async {
            let done =
                sqlx::query(TAKE_VISIT).bind(link_id).execute(&self.writes).await.map_err(unavailable)?;
            Ok(done.rows_affected() == 1)
        })
        .await
    }

    async fn insert_key(&self, key: &ApiKey, hash: &[u8; 32]) -> Result<(), StoreError> {
        self.write(keys::insert(&self.writes, key, hash)).await
    }

    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<(ApiKey, [u8; 32])>, StoreError> {
        self.read(keys::find(&self.api, hash)).await
    }

    async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read(keys::list(&self.api)).await
    }

    async fn revoke_key(&self, id: &str, at: UnixSeconds) -> Result<bool, StoreError> {
        self.write(keys::revoke(&self.writes, id, at)).await
    }

    async fn expire_key(&self, id: &str, at: UnixSeconds) -> Result<bool, StoreError> {
        self.write(keys::expire(&self.writes, id, at)).await
    }
}
