//! The link stores: what all of them promise, and what each does besides.

mod contract;
mod postgres;
mod sqlite;

use std::collections::BTreeSet;
use std::sync::Arc;

use shortener::ShortenerConfig;
use shortener::config::{SecretText, StoreConfig};
use shortener::link::{Link, ListQuery, NewLink};
use shortener::store::{Created, Creation, LinkStore, open};
use shortener::target::{Target, TargetPolicy, parse};
use tempfile::TempDir;

/// A store with an up-to-date schema, and nothing in it.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn LinkStore>,
    _directory: Option<TempDir>,
}

async fn sqlite() -> Option<Opened> {
    let directory = tempfile::tempdir().unwrap();
    let mut config = patient();
    config.path = directory.path().join("links.db");
    config.sync_commits = false;
    let store = open(&config).await.unwrap();
    store.migrate().await.unwrap();
    Some(Opened { store, _directory: Some(directory) })
}

/// None where there is no PostgreSQL, which is said.
async fn postgres() -> Option<Opened> {
    let server = testbed::shared_postgres()?;
    let store = open(&postgres_at(&server.database())).await.unwrap();
    store.migrate().await.unwrap();
    Some(Opened { store, _directory: None })
}

fn postgres_at(url: &str) -> StoreConfig {
    let mut config = patient();
    config.postgres.url = SecretText::new(url);
    config
}

/// With deadlines that only a broken store misses: the machine may be busy.
fn patient() -> StoreConfig {
    let mut config = ShortenerConfig::default().store;
    (config.read_ms_max, config.write_ms_max) = (30_000, 60_000);
    config.postgres.connect_ms_max = 30_000;
    config.postgres.statement_ms_max = 60_000;
    config
}

fn target(url: &str) -> Target {
    parse(url, &TargetPolicy::default()).unwrap()
}

fn link(code: &str) -> NewLink {
    NewLink::with_alias(code, target(&format!("https://example.com/{code}")))
}

fn tagged(code: &str, names: &[&str]) -> NewLink {
    let mut link = link(code);
    link.settings.tags = tags(names);
    link
}

fn tags(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Creates links, all of which are new.
async fn create(store: &dyn LinkStore, links: &[NewLink]) -> Vec<Link> {
    let Creation::Done(made) = store.create(links, None).await.unwrap() else { panic!("nothing was stored") };
    made.into_iter()
        .map(|made| match made {
            Created::New(link) => link,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// What became of the creation of one link.
async fn create_one(store: &dyn LinkStore, link: NewLink) -> Created {
    let Creation::Done(made) = store.create(&[link], None).await.unwrap() else {
        panic!("nothing was stored")
    };
    made.into_iter().next().unwrap()
}

fn everything() -> ListQuery {
    ListQuery { count: true, limit: 100, ..ListQuery::default() }
}
