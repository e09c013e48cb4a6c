//! The link store.

use std::path::PathBuf;

use serde::Deserialize;

use super::{SecretText, Wrong, positive};

/// The link store: SQLite, or PostgreSQL where its URL is given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The database file. Default `links.db` in the working directory; the binary puts it under `--data`.
    pub path: PathBuf,
    /// Connections that read. Default 4. Writes have one of their own: SQLite has one writer.
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
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database?sslmode=…`. Default empty: links are in SQLite.
    pub url: SecretText,
}

impl StoreConfig {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        positive(wrong, "store.read_connections_max", u64::from(self.read_connections_max));
        positive(wrong, "store.read_ms_max", self.read_ms_max);
        positive(wrong, "store.write_ms_max", self.write_ms_max);
    }
}
