//! The PostgreSQL link store: a primary for writes and for the API, replicas for redirects, a deadline for each call.
//! Statements live in the modules beside this one; this one opens, migrates, lends connections and chooses the server.
//!
//! Behind PgBouncer in transaction mode it works with `session_timeouts` off and PgBouncer's `max_prepared_statements`
//! above 0 (its version 1.21 or later): nothing else outlives a transaction. Only `migrate` needs a direct connection,
//! for the lock that keeps two migrations apart.
//!
//! Migrations only add, so that this version and the one before run side by side: a later schema is used as it is, an
//! older one is refused by `ping`.

mod claims;
mod counts;
mod create;
mod domains;
mod history;
mod keys;
mod line;
mod links;
mod list;
mod matches;
mod pool;
mod replicas;
mod rows;
mod settings;
mod tags;
mod texts;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use emitter::System;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use self::pool::{Primary, Server, deadline, failed};
use self::replicas::{Replicas, Watch};
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

static MIGRATIONS: Migrator = Migrator { ignore_missing: true, ..sqlx::migrate!("migrations/postgres") };

/// Links in a PostgreSQL database.
pub struct PostgresStore {
    primary: Arc<Primary>,
    replicas: Arc<Replicas>,
    watch: Option<Watch>,
    /// How a connection without timeouts is made: a migration takes as long as it takes.
    patient: PgConnectOptions,
    read_ms: u64,
    write_ms: u64,
}

/// Work on a connection of the API's share, or on `any`: it goes back when the work is done, and is closed when it is given up.
macro_rules! lend {
    (any $server:expr, $connection:ident => $work:expr) => {
        lend!(in $server.lend(), $connection => $work)
    };
    (in $lent:expr, $connection:ident => $work:expr) => {
        async {
            let mut lent = $lent.await?;
            let $connection = lent.connection()?;
            let done = $work.await;
            lent.give_back();
            done
        }
    };
    ($primary:expr, $connection:ident => $work:expr) => {
        lend!(in $primary.lend_to_api(), $connection => $work)
    };
}

impl PostgresStore {
    /// Makes the pools; connections are made when they are needed. The schema is [`LinkStore::migrate`]'s.
    ///
    /// # Errors
    /// When a URL is none.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let postgres = &config.postgres;
        let mut replicas = Vec::new();
        for url in &postgres.replica_urls {
            replicas.push(Server::new(url, postgres)?);
        }
        let primary = Arc::new(Primary::new(postgres)?);
        let lag_max = Duration::from_millis(postgres.replica_lag_ms_max);
        let replicas = Arc::new(Replicas::new(replicas, lag_max));
        Ok(Self {
            watch: replicas.watch(&primary),
            primary,
            replicas,
            patient: postgres.url.expose().parse().map_err(failed)?,
            read_ms: config.read_ms_max,
            write_ms: config.write_ms_max,
        })
    }

    /// What a replica knows of a link; `None` also when there is none that may be asked, or it failed.
    async fn find_on_replica(&self, link: LinkRef<'_>) -> Option<Link> {
        let replica = self.replicas.next()?;
        let find = lend!(any replica.server, c => links::find(c, link));
        // Half of the time: the rest is the primary's.
        match deadline(self.read_ms / 2, find).await {
            Ok(found) => found,
            Err(error) => {
                self.replicas.rest(replica, &error);
                None
            }
        }
    }
}

#[async_trait]
impl LinkStore for PostgresStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        let alone = PgPoolOptions::new().max_connections(1).connect_lazy_with(self.patient.clone());
        let migrated = MIGRATIONS.run(&alone).await;
        alone.close().await;
        migrated.map_err(|error| StoreError::Migrate(Box::new(error)))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let version = lend!(any self.primary.server, c => settings::schema_version(c));
        schema_fits(&MIGRATIONS, deadline(self.read_ms, version).await?)
    }

    async fn close(&self) {
        if let Some(watch) = &self.watch {
            watch.end();
        }
        self.replicas.close().await;
        self.primary.server.close().await;
    }

    fn system(&self) -> System {
        System::Postgresql
    }

    fn pools(&self) -> Vec<PoolUse> {
        self.primary.pools().into_iter().chain(self.replicas.pools()).collect()
    }

    fn replica_lag_s(&self) -> Option<f64> {
        self.replicas.lag_s()
    }

    async fn secret(&self, name: &str, proposed: [u8; 32]) -> Result<[u8; 32], StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => settings::secret(c, name, proposed))).await
    }

    async fn lease(&self, length: u32, count: u64) -> Result<Range<u64>, StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => settings::lease(c, length, count))).await
    }

    async fn find(&self, link: LinkRef<'_>, read: Read) -> Result<Option<Link>, StoreError> {
        deadline(self.read_ms, async {
            if read == Read::Recent
                && let Some(found) = self.find_on_replica(link).await
            {
                return Ok(Some(found));
            }
            // One row by its key: also where it is the API that asks.
            lend!(any self.primary.server, c => links::find(c, link)).await
        })
        .await
    }

    async fn find_ids(&self, ids: &[i64]) -> Result<Vec<Link>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => links::find_ids(c, ids))).await
    }

    async fn find_many(&self, names: &[LinkRef<'_>]) -> Result<Vec<Link>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => links::find_many(c, names))).await
    }

    async fn find_match(&self, target: &str, by: &Match) -> Result<Option<Link>, StoreError> {
        let wanted = [(target, by)];
        let found = deadline(self.read_ms, lend!(self.primary, c => matches::find(c, &wanted))).await?;
        Ok(found.into_iter().next().flatten())
    }

    async fn taken(&self, domain: &str, codes: &[String]) -> Result<Vec<String>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => links::taken(c, domain, codes))).await
    }

    async fn create(&self, links: &[NewLink], claim: Option<&Claim>) -> Result<Creation, StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => create::create(c, links, claim))).await
    }

    async fn claim(&self, claim: &Claim, lease_s: u32) -> Result<Claimed, StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => claims::claim(c, claim, lease_s))).await
    }

    async fn unclaim(&self, claim: &Claim) -> Result<(), StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => claims::give_up(c, claim))).await
    }

    async fn forget_claims(&self, before: UnixSeconds, limit: u32) -> Result<u64, StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => claims::forget(c, before, limit))).await
    }

    async fn index_texts(&self) -> Result<u64, StoreError> {
        // A shutdown does not wait for it.
        let mut closed = self.primary.server.close_event();
        let lent = self.primary.server.lend_for(Duration::from_millis(texts::INDEX_MS_MAX));
        let indexed = deadline(texts::INDEX_MS_MAX, lend!(in lent, c => texts::index(c)));
        closed.do_until(indexed).await.map_err(failed)?
    }

    async fn edit(&self, link: LinkRef<'_>, edit: &LinkEdit) -> Result<Changed, StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => links::edit(c, link, edit))).await
    }

    async fn delete(&self, link: LinkRef<'_>, if_state: Option<LinkState>) -> Result<Changed, StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => links::delete(c, link, if_state))).await
    }

    async fn history(
        &self,
        link_id: i64,
        below: Option<u32>,
        limit: u32,
    ) -> Result<Vec<LinkVersion>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => history::newest(c, link_id, below, limit))).await
    }

    async fn versions(&self, link_id: i64, versions: &[u32]) -> Result<Vec<LinkVersion>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => history::these(c, link_id, versions))).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => list::list(c, query))).await
    }

    async fn names(&self, of: &Selection, limit: u32) -> Result<Vec<Counted>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => list::names(c, of, limit))).await
    }

    async fn deleted_visits(&self, domain: Option<&str>, limit: u32) -> Result<Vec<Counted>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => list::deleted_visits(c, domain, limit))).await
    }

    async fn orphan_visits_from(&self) -> Result<Option<UnixSeconds>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => settings::orphan_visits_from(c))).await
    }

    async fn set_orphan_visits_from(&self, at: UnixSeconds) -> Result<(), StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => settings::set_orphan_visits_from(c, at))).await
    }

    async fn count(&self, owner: Option<&str>) -> Result<u64, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => counts::total(c, None, None, owner))).await
    }

    async fn list_names(&self, query: &ListQuery, limit: u32) -> Result<Vec<(i64, Counted)>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => list::list_names(c, query, limit))).await
    }

    async fn crawlable(&self, domain: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => list::crawlable(c, domain, limit))).await
    }

    async fn take_visit(&self, link_id: i64) -> Result<bool, StoreError> {
        deadline(self.write_ms, lend!(any self.primary.server, c => links::take_visit(c, link_id))).await
    }

    async fn tags(&self, owner: Option<&str>, domain: Option<&str>) -> Result<Vec<TagCount>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => tags::list(c, owner, domain))).await
    }

    async fn tagged(
        &self,
        of: &Selection,
        tags: &[String],
        limit: u32,
    ) -> Result<Vec<(String, Counted)>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => list::tagged(c, of, tags, limit))).await
    }

    async fn rename_tag(&self, old: &str, new: &str) -> Result<Renamed, StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => tags::rename(c, old, new))).await
    }

    async fn delete_tags(&self, names: &[String]) -> Result<(), StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => tags::delete(c, names))).await
    }

    async fn domains(&self) -> Result<Vec<Domain>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => domains::list(c))).await
    }

    async fn set_domain_redirects(
        &self,
        domain: &str,
        edit: &DomainRedirectsEdit,
    ) -> Result<Option<Domain>, StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => domains::set_redirects(c, domain, edit))).await
    }

    async fn insert_key(&self, key: &ApiKey, hash: &[u8; 32]) -> Result<(), StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => keys::insert(c, key, hash))).await
    }

    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<(ApiKey, [u8; 32])>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => keys::find(c, hash))).await
    }

    async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        deadline(self.read_ms, lend!(self.primary, c => keys::list(c))).await
    }

    async fn revoke_key(&self, id: &str, at: UnixSeconds) -> Result<bool, StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => keys::revoke(c, id, at))).await
    }

    async fn expire_key(&self, id: &str, at: UnixSeconds) -> Result<bool, StoreError> {
        deadline(self.write_ms, lend!(self.primary, c => keys::expire(c, id, at))).await
    }
}
