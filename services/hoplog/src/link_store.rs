//! The link store as the roles and tools open it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use shortener::config::StoreConfig;
use shortener::store::{self, LinkStore};

/// Says where there is no store: SQLite would make an empty one.
///
/// # Errors
/// When there is none.
pub(crate) fn check_made(config: &StoreConfig) -> Result<()> {
    if config.postgres.url.is_empty() && !config.path.exists() {
        bail!(
            "there is no link store at {}; `hoplog up` or `hoplog migrate` makes one",
            config.path.display()
        );
    }
    Ok(())
}

/// Opens a store that `hoplog migrate` has made.
///
/// # Errors
/// When there is none, or it can't be reached.
pub(crate) async fn open_migrated(config: &StoreConfig) -> Result<Arc<dyn LinkStore>> {
    check_made(config)?;
    store::open(config).await.context("can't open the link store")
}

/// Opens the store and brings its schema to this version.
///
/// # Errors
/// When it can't be made or reached, or is of a later version.
pub(crate) async fn open_and_migrate(config: &StoreConfig) -> Result<Arc<dyn LinkStore>> {
    if let Some(directory) = config.path.parent().filter(|_| config.postgres.url.is_empty()) {
        std::fs::create_dir_all(directory).with_context(|| format!("can't make {}", directory.display()))?;
    }
    let store = store::open(config).await.context("can't open the link store")?;
    store.migrate().await?;
    Ok(store)
}
