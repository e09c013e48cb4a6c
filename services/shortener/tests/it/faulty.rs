//! A real SQLite store whose calls can be counted, held up and made to fail.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use shortener::keys::ApiKey;
use shortener::link::{Link, LinkEdit, ListQuery, Match, NewLink, Page};
use shortener::store::sqlite::SqliteStore;
use shortener::store::{Created, LinkStore, StoreError};
use tokio::sync::watch;

pub(crate) struct FaultyStore {
    pub(crate) inner: SqliteStore,
    /// Calls of `find`, failed ones included.
    pub(crate) finds: AtomicU64,
    down: AtomicBool,
    held: watch::Sender<bool>,
}

impl FaultyStore {
    pub(crate) fn new(inner: SqliteStore) -> Self {
        Self { inner, finds: AtomicU64::new(0), down: AtomicBool::new(false), held: watch::channel(false).0 }
    }

    /// Every call fails from now on, or works again.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// `find` reads and then does not answer until it is let go.
    pub(crate) fn hold_finds(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub(crate) fn find_count(&self) -> u64 {
        self.finds.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("it was taken down".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl LinkStore for FaultyStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.check()?;
        self.inner.migrate().await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.check()?;
        self.inner.ping().await
    }
    async fn secret(&self, name: &str, proposed: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.check()?;
        self.inner.secret(name, proposed).await
    }
    async fn lease(&self, length: u32, count: u64) -> Result<Range<u64>, StoreError> {
        self.check()?;
        self.inner.lease(length, count).await
    }
    async fn find(&self, code: &str) -> Result<Option<Link>, StoreError> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        let found = self.inner.find(code).await;
        self.held.subscribe().wait_for(|held| !*held).await.expect("the store is there");
        found
    }
    async fn find_match(&self, target: &str, by: &Match) -> Result<Option<Link>, StoreError> {
        self.check()?;
        self.inner.find_match(target, by).await
    }
    async fn create(&self, link: &NewLink, unless: Option<&Match>) -> Result<Created, StoreError> {
        self.check()?;
        self.inner.create(link, unless).await
    }
    async fn edit(&self, code: &str, edit: &LinkEdit) -> Result<Option<Link>, StoreError> {
        self.check()?;
        self.inner.edit(code, edit).await
    }
    async fn delete(&self, code: &str) -> Result<Option<Link>, StoreError> {
        self.check()?;
        self.inner.delete(code).await
    }
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.check()?;
        self.inner.list(query).await
    }
    async fn crawlable(&self, limit: u32) -> Result<Vec<String>, StoreError> {
        self.check()?;
        self.inner.crawlable(limit).await
    }
    async fn take_visit(&self, link_id: i64) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.take_visit(link_id).await
    }
    async fn insert_key(&self, key: &ApiKey, hash: &[u8; 32]) -> Result<(), StoreError> {
        self.check()?;
        self.inner.insert_key(key, hash).await
    }
    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<(ApiKey, [u8; 32])>, StoreError> {
        self.check()?;
        self.inner.find_key(hash).await
    }
    async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.check()?;
        self.inner.list_keys().await
    }
    async fn revoke_key(&self, id: &str, at: i64) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.revoke_key(id, at).await
    }
}
