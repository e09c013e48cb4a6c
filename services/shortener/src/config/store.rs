//! The link store.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

use super::{CacheConfig, SecretText, Wrong, positive};

/// The link store: SQLite, or PostgreSQL where its URL is given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The database file. Default `links.db` in the working directory; the binary puts it under `--data`.
    pub path: PathBuf,
    /// Connections that read. Default 4, of which calls of the API have half. Writes have one of their own: SQLite has one writer.
    pub read_connections_max: u32,
    /// Deadline of a read, waiting for a connection included. Default 1,000.
    pub read_ms_max: u64,
    /// Deadline of a write, waiting for its turn included. Default 5,000.
    pub write_ms_max: u64,
    /// Whether a commit waits for the disk, so that an acknowledged link survives a power cut. Default true;
    /// without it, it survives a killed process only, and writes are several times faster.
    pub sync_commits: bool,
    /// PostgreSQL instead of the file.
    pub postgres: PostgresConfig,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("links.db"),
            read_connections_max: 4,
            read_ms_max: 1_000,
            write_ms_max: 5_000,
            sync_commits: true,
            postgres: PostgresConfig::default(),
        }
    }
}

/// PostgreSQL as the link store.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database?sslmode=…`. Default empty: links are in SQLite. The default of
    /// `sslmode` encrypts where the server can; `verify-full` with `sslrootcert=…` trusts nobody else.
    pub url: SecretText,
    /// Replicas that redirects read from, in turn; what they don't know is asked for at `url`. Default none. Worth it when
    /// misses of the caches alone keep the primary busy.
    ///
    /// Each URL is one server, whose changes come as the primary's log (streaming or log shipping), which says how far it is.
    /// One that can't say so (a copy, a logical replica, some managed ones) is taken to be up to date, and warned of. One that was
    /// promoted, or has the log of another primary than `url`'s, is warned of and not asked.
    pub replica_urls: Vec<SecretText>,
    /// How far a replica may be behind, ms; one that is further behind is not asked until it has caught up. Default 10,000;
    /// ten times `connect_ms_max` at least, as it is looked ten times in it. What another process has changed may be seen so much
    /// later than `cache.fresh_ms` says, should the message of it be lost. Two thirds of `cache.fresh_ms` at most, the time for
    /// which caches remember what was deleted: until it is seen that a replica is late, half as much again may pass.
    /// While the primary refuses connections, replicas are as far behind as they were last seen to be; while it merely does
    /// not answer in time, others may go on to write, and replicas get older.
    pub replica_lag_ms_max: u64,
    /// Connections at most, to the primary and to each replica. Default 16, of which calls of the API have half: visits
    /// find one however slow these are. Times the number of instances it must stay below the server's `max_connections`. With
    /// replicas one more to each server, on which it is asked how far it is.
    pub connections_max: u32,
    /// How long a call waits for a connection, a free one or a new one. Default 500. Below `store.read_ms_max`, so that
    /// the error says that there was none.
    pub connect_ms_max: u64,
    /// After which the server itself ends a statement, or the session of a transaction that sleeps; after half of it, one
    /// that waits for a lock. Default 5,000. Not below `store.write_ms_max`.
    pub statement_ms_max: u64,
    /// Whether connections are told `statement_ms_max`. Default true. Off behind PgBouncer in transaction mode, which
    /// refuses to be told; there `ALTER ROLE … SET statement_timeout` does the same.
    pub session_timeouts: bool,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            url: SecretText::default(),
            replica_urls: Vec::new(),
            replica_lag_ms_max: 10_000,
            connections_max: 16,
            connect_ms_max: 500,
            statement_ms_max: 5_000,
            session_timeouts: true,
        }
    }
}

/// The shortest [`PostgresConfig::replica_lag_ms_max`], in times of [`PostgresConfig::connect_ms_max`]: a look at how far replicas
/// are behind may take a tenth of it, and may have to connect.
const CONNECTS_IN_LAG: u64 = 10;

impl PostgresConfig {
    fn check(&self, cache: &CacheConfig, wrong: &mut Wrong) {
        positive(wrong, "store.postgres.connections_max", u64::from(self.connections_max));
        positive(wrong, "store.postgres.connect_ms_max", self.connect_ms_max);
        positive(wrong, "store.postgres.statement_ms_max", self.statement_ms_max);
        // What is wrong with one is not said: it would be a part of it.
        let is_wrong = |url: &SecretText| PgConnectOptions::from_str(url.expose()).is_err();
        if !self.url.is_empty() && is_wrong(&self.url) {
            wrong.push(("store.postgres.url", "must be a postgres:// URL".to_owned()));
        }
        if self.replica_urls.iter().any(is_wrong) {
            wrong.push(("store.postgres.replica_urls", "must be postgres:// URLs".to_owned()));
        }
        let lag = self.connect_ms_max.saturating_mul(CONNECTS_IN_LAG)..=cache.fresh_ms / 3 * 2;
        if !self.replica_urls.is_empty() && !lag.contains(&self.replica_lag_ms_max) {
            let why = format!(
                "must be {CONNECTS_IN_LAG} times store.postgres.connect_ms_max at least, \
                 and two thirds of cache.fresh_ms at most"
            );
            wrong.push(("store.postgres.replica_lag_ms_max", why));
        }
    }
}

impl StoreConfig {
    pub(super) fn check(&self, cache: &CacheConfig, wrong: &mut Wrong) {
        positive(wrong, "store.read_connections_max", u64::from(self.read_connections_max));
        positive(wrong, "store.read_ms_max", self.read_ms_max);
        positive(wrong, "store.write_ms_max", self.write_ms_max);
        self.postgres.check(cache, wrong);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_named_and_not_shown() {
        let mut config = StoreConfig::default();
        config.postgres.url = SecretText::new("postgres://hoplog:secret@db:not-a-port/links");
        config.postgres.replica_urls = vec![SecretText::new("no url with a secret")];
        config.postgres.connections_max = 0;
        let mut wrong = Vec::new();
        config.check(&CacheConfig::default(), &mut wrong);
        let names: Vec<_> = wrong.iter().map(|(name, _)| *name).collect();
        let expected =
            ["store.postgres.connections_max", "store.postgres.url", "store.postgres.replica_urls"];
        assert_eq!(names, expected);
        assert!(!format!("{wrong:?}").contains("secret"));
        config.postgres = PostgresConfig::default();
        config.postgres.url = SecretText::new("postgres://hoplog:secret@db/links?sslmode=require");
        let mut wrong = Vec::new();
        config.check(&CacheConfig::default(), &mut wrong);
        assert_eq!(wrong, []);
    }

    #[test]
    fn replicas_are_less_behind_than_caches_remember() {
        let mut config = StoreConfig::default();
        let named = |config: &StoreConfig, fresh_ms| {
            let mut wrong = Vec::new();
            config.check(&CacheConfig { fresh_ms, ..CacheConfig::default() }, &mut wrong);
            wrong.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(named(&config, 10_000), [""; 0], "nobody is behind");
        config.postgres.replica_urls = vec![SecretText::new("postgres://replica/links")];
        assert_eq!(named(&config, 15_000), [""; 0]);
        assert_eq!(named(&config, 14_999), ["store.postgres.replica_lag_ms_max"]);
        config.postgres.replica_lag_ms_max = 5_000;
        assert_eq!(named(&config, 15_000), [""; 0]);
        config.postgres.replica_lag_ms_max = 4_999;
        assert_eq!(named(&config, 15_000), ["store.postgres.replica_lag_ms_max"], "no time to connect");
        config.postgres.connect_ms_max = 499;
        assert_eq!(named(&config, 15_000), [""; 0]);
    }
}
