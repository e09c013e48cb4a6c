//! `hoplog migrate`: schemas and topics to this version, and what a first start needs besides.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use shortener::keys::{self, NewKey};
use shortener::store::LinkStore;
use warehouse::Warehouse;

use crate::config::Config;
use crate::link_store;
use crate::log::{self, Kind};
use crate::secret_file;

/// Migrates the link store and ClickHouse. May run several times, and in several places at once.
///
/// # Errors
/// When one of them can't be reached, or is of a later version.
pub(crate) async fn run(config: &Config) -> Result<Arc<dyn LinkStore>> {
    let store = link_store::open_and_migrate(&config.serve.shortener.store).await?;
    let applied =
        warehouse::migrate(&Warehouse::new(&config.warehouse)).await.context("can't migrate ClickHouse")?;
    tracing::debug!(?applied, "ClickHouse migrated");
    Ok(store)
}

/// Makes the topics, or checks those that are there, where the event log is Kafka. The spool is made by its roles, where
/// they run.
///
/// # Errors
/// When Kafka can't be reached, or has topics that don't fit.
pub(crate) async fn topics(config: &Config) -> Result<()> {
    if config.event_log == Kind::Kafka {
        let log = log::event_log_of_tool(config);
        log.open().await.context("can't make the topics")?;
    }
    Ok(())
}

/// Makes the first key, unless its file is there.
///
/// # Errors
/// When the key can't be stored, or its file can't be written.
pub(crate) async fn ensure_admin_key(store: &dyn LinkStore, file: &Path) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    // Killed between the two, a key is left in the store that nobody knows: it opens nothing.
    let (_, text) = keys::create(store, NewKey::named("admin")).await.context("can't make the admin key")?;
    secret_file::write_new(file, &text)
}
