//! A real store whose calls can be counted, held up and made to fail.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use emitter::System;
use shortener::domain::{Domain, DomainRedirectsEdit};
use shortener::keys::ApiKey;
use shortener::link::{
    Link, LinkEdit, LinkRef, LinkState, LinkVersion, ListQuery, Match, NewLink, Page, UnixSeconds,
};
use shortener::store::{
    Changed, Claim, Claimed, Counted, Creation, LinkStore, PoolUse, Read, Renamed, Selection, StoreError,
    TagCount,
};
use tokio::sync::watch;

pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<dyn LinkStore>,
    /// Calls of `find`, failed ones included.
    pub(crate) finds: AtomicU64,
    /// Calls of `find` under way, and the most that ever were.
    finding: AtomicU64,
    finding_max: AtomicU64,
    /// Calls of `find_key`.
    key_finds: AtomicU64,
    /// Calls of `take_visit`.
    takes: AtomicU64,
    /// Calls of `index_texts`, failed ones included.
    indexes: watch::Sender<u64>,
    down: AtomicBool,
    /// What a replica that is behind has.
    behind: Mutex<Option<Link>>,
    held: watch::Sender<bool>,
    /// Calls of `lease`.
    leases: AtomicU64,
    /// The length of which leases are held, and fail when they are let go.
    leases_held: watch::Sender<Option<u32>>,
    /// Calls of `create` under way.
    creating: AtomicU64,
    creates_fail: AtomicBool,
    creates_time_out: AtomicBool,
    /// Whether the answers to changes are lost.
    answers_lost: AtomicBool,
    /// Calls of `domains`.
    domain_reads: AtomicU64,
    /// Whether the next reading of the domains is held, and where that is.
    domains_armed: AtomicBool,
    domains_held: watch::Sender<bool>,
    creates_held: watch::Sender<Option<At>>,
    /// Where the next call of `create` ends for good.
    dies: Mutex<Option<At>>,
    /// Where a call of `create` is held.
    reached: watch::Sender<Option<At>>,
}

/// Where `create` can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Before anything is stored.
    Start,
    /// When all is stored and nobody knows.
    End,
}

/// Counts a call that is under way, until it ends or is dropped.
struct UnderWay<'a>(&'a AtomicU64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FaultyStore {
    pub(crate) fn new(inner: impl LinkStore) -> Self {
        Self {
            inner: Arc::new(inner),
            finds: AtomicU64::new(0),
            finding: AtomicU64::new(0),
            finding_max: AtomicU64::new(0),
            key_finds: AtomicU64::new(0),
            takes: AtomicU64::new(0),
            indexes: watch::channel(0).0,
            down: AtomicBool::new(false),
            behind: Mutex::default(),
            held: watch::channel(false).0,
            leases: AtomicU64::new(0),
            leases_held: watch::channel(None).0,
            creating: AtomicU64::new(0),
            creates_fail: AtomicBool::new(false),
            creates_time_out: AtomicBool::new(false),
            answers_lost: AtomicBool::new(false),
            domain_reads: AtomicU64::new(0),
            domains_armed: AtomicBool::new(false),
            domains_held: watch::channel(false).0,
            creates_held: watch::channel(None).0,
            dies: Mutex::new(None),
            reached: watch::channel(None).0,
        }
    }

    /// `create` does not go on from there until it is let go.
    pub(crate) fn hold_creates(&self, at: Option<At>) {
        self.reached.send_replace(None);
        self.creates_held.send_replace(at);
    }

    /// The next `create` goes on to there and no further, as in a process that is killed there.
    pub(crate) fn die_in_create(&self, at: At) {
        self.reached.send_replace(None);
        *self.dies.lock().unwrap() = Some(at);
    }

    /// Waits until a call of `create` is held, or dead.
    pub(crate) async fn create_held(&self) {
        self.reached.subscribe().wait_for(Option::is_some).await.expect("the store is there");
    }

    /// Every `create` fails from now on, or works again.
    pub(crate) fn fail_creates(&self, fail: bool) {
        self.creates_fail.store(fail, Ordering::SeqCst);
    }

    /// Every `create` is too slow from now on, or works again.
    pub(crate) fn time_out_creates(&self, slow: bool) {
        self.creates_time_out.store(slow, Ordering::SeqCst);
    }

    /// Links are edited and deleted, and nobody learns of it in time.
    pub(crate) fn lose_answers(&self, lost: bool) {
        self.answers_lost.store(lost, Ordering::SeqCst);
    }

    pub(crate) fn domain_read_count(&self) -> u64 {
        self.domain_reads.load(Ordering::SeqCst)
    }

    /// The next reading of the domains reads, and does not answer until it is let go.
    pub(crate) fn hold_next_domains(&self) {
        self.domains_armed.store(true, Ordering::SeqCst);
    }

    /// Waits until that is so.
    pub(crate) async fn domains_held(&self) {
        self.domains_held.subscribe().wait_for(|held| *held).await.expect("the store is there");
    }

    pub(crate) fn let_domains_go(&self) {
        self.domains_held.send_replace(false);
    }

    /// `lease` of a length does not answer until it is let go, and fails then.
    pub(crate) fn hold_leases(&self, length: Option<u32>) {
        self.leases_held.send_replace(length);
    }

    pub(crate) fn lease_count(&self) -> u64 {
        self.leases.load(Ordering::SeqCst)
    }

    fn answer<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if self.answers_lost.load(Ordering::SeqCst) { Err(StoreError::Timeout { ms: 0 }) } else { answer }
    }

    /// Calls of `create` under way.
    pub(crate) fn creating(&self) -> u64 {
        self.creating.load(Ordering::SeqCst)
    }

    async fn hold(&self, at: At) {
        if self.dies.lock().unwrap().take_if(|there| *there == at).is_some() {
            self.reached.send_replace(Some(at));
            std::future::pending::<()>().await;
        }
        if *self.creates_held.borrow() == Some(at) {
            self.reached.send_replace(Some(at));
        }
        self.creates_held.subscribe().wait_for(|held| *held != Some(at)).await.expect("the store is there");
    }

    /// Every call fails from now on, or works again.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// There is a replica, which is behind: it has this link, and goes on to.
    pub(crate) fn lag_behind(&self, link: Link) {
        *self.behind.lock().unwrap() = Some(link);
    }

    /// `find` reads and then does not answer until it is let go.
    pub(crate) fn hold_finds(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub(crate) fn find_count(&self) -> u64 {
        self.finds.load(Ordering::SeqCst)
    }

    pub(crate) fn key_find_count(&self) -> u64 {
        self.key_finds.load(Ordering::SeqCst)
    }

    /// Waits until new texts are indexed once more, or should have been.
    pub(crate) async fn texts_indexed(&self) {
        let mut calls = self.indexes.subscribe();
        calls.borrow_and_update();
        calls.changed().await.expect("the store is there");
    }

    pub(crate) fn take_count(&self) -> u64 {
        self.takes.load(Ordering::SeqCst)
    }

    /// The most calls of `find` that were under way at once.
    pub(crate) fn find_at_once_max(&self) -> u64 {
        self.finding_max.load(Ordering::SeqCst)
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
    async fn close(&self) {
        self.inner.close().await;
    }
    fn system(&self) -> System {
        self.inner.system()
    }
    fn pools(&self) -> Vec<PoolUse> {
        self.inner.pools()
    }
    async fn secret(&self, name: &str, proposed: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.check()?;
        self.inner.secret(name, proposed).await
    }
    async fn lease(&self, length: u32, count: u64) -> Result<Range<u64>, StoreError> {
        self.leases.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        if *self.leases_held.borrow() == Some(length) {
            let mut held = self.leases_held.subscribe();
            held.wait_for(|held| *held != Some(length)).await.expect("the store is there");
            return Err(StoreError::Timeout { ms: 0 });
        }
        self.inner.lease(length, count).await
    }
    async fn find(&self, link: LinkRef<'_>, read: Read) -> Result<Option<Link>, StoreError> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        let finding = self.finding.fetch_add(1, Ordering::SeqCst) + 1;
        self.finding_max.fetch_max(finding, Ordering::SeqCst);
        let behind = self.behind.lock().unwrap().clone().filter(|behind| behind.name() == link);
        let found = match behind.filter(|_| read == Read::Recent) {
            Some(behind) => Ok(Some(behind)),
            None => self.inner.find(link, read).await,
        };
        self.finding.fetch_sub(1, Ordering::SeqCst);
        self.held.subscribe().wait_for(|held| !*held).await.expect("the store is there");
        found
    }
    async fn find_ids(&self, ids: &[i64]) -> Result<Vec<Link>, StoreError> {
        self.check()?;
        self.inner.find_ids(ids).await
    }
    async fn find_many(&self, links: &[LinkRef<'_>]) -> Result<Vec<Link>, StoreError> {
        self.check()?;
        self.inner.find_many(links).await
    }
    async fn find_match(&self, target: &str, by: &Match) -> Result<Option<Link>, StoreError> {
        self.check()?;
        self.inner.find_match(target, by).await
    }
    async fn taken(&self, domain: &str, codes: &[String]) -> Result<Vec<String>, StoreError> {
        self.check()?;
        self.inner.taken(domain, codes).await
    }
    async fn create(&self, links: &[NewLink], claim: Option<&Claim>) -> Result<Creation, StoreError> {
        self.check()?;
        self.creating.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay(&self.creating);
        self.hold(At::Start).await;
        if self.creates_fail.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("creations fail".into()));
        }
        if self.creates_time_out.load(Ordering::SeqCst) {
            return Err(StoreError::Timeout { ms: 0 });
        }
        let done = self.inner.create(links, claim).await;
        self.hold(At::End).await;
        done
    }
    async fn claim(&self, claim: &Claim, lease_s: u32) -> Result<Claimed, StoreError> {
        self.check()?;
        self.inner.claim(claim, lease_s).await
    }
    async fn unclaim(&self, claim: &Claim) -> Result<(), StoreError> {
        self.check()?;
        self.inner.unclaim(claim).await
    }
    async fn forget_claims(&self, before: UnixSeconds, limit: u32) -> Result<u64, StoreError> {
        self.check()?;
        self.inner.forget_claims(before, limit).await
    }
    async fn index_texts(&self) -> Result<u64, StoreError> {
        self.indexes.send_modify(|calls| *calls += 1);
        self.check()?;
        self.inner.index_texts().await
    }
    async fn edit(&self, link: LinkRef<'_>, edit: &LinkEdit) -> Result<Changed, StoreError> {
        self.check()?;
        self.answer(self.inner.edit(link, edit).await)
    }
    async fn delete(&self, link: LinkRef<'_>, if_state: Option<LinkState>) -> Result<Changed, StoreError> {
        self.check()?;
        self.answer(self.inner.delete(link, if_state).await)
    }
    async fn history(
        &self,
        link_id: i64,
        below: Option<u32>,
        limit: u32,
    ) -> Result<Vec<LinkVersion>, StoreError> {
        self.check()?;
        self.inner.history(link_id, below, limit).await
    }
    async fn versions(&self, link_id: i64, versions: &[u32]) -> Result<Vec<LinkVersion>, StoreError> {
        self.check()?;
        self.inner.versions(link_id, versions).await
    }
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.check()?;
        self.inner.list(query).await
    }
    async fn list_names(&self, query: &ListQuery, limit: u32) -> Result<Vec<(i64, Counted)>, StoreError> {
        self.check()?;
        self.inner.list_names(query, limit).await
    }
    async fn names(&self, of: &Selection, limit: u32) -> Result<Vec<Counted>, StoreError> {
        self.check()?;
        self.inner.names(of, limit).await
    }
    async fn deleted_visits(&self, domain: Option<&str>, limit: u32) -> Result<Vec<Counted>, StoreError> {
        self.check()?;
        self.inner.deleted_visits(domain, limit).await
    }
    async fn orphan_visits_from(&self) -> Result<Option<UnixSeconds>, StoreError> {
        self.check()?;
        self.inner.orphan_visits_from().await
    }
    async fn set_orphan_visits_from(&self, at: UnixSeconds) -> Result<(), StoreError> {
        self.check()?;
        self.inner.set_orphan_visits_from(at).await
    }
    async fn count(&self, owner: Option<&str>) -> Result<u64, StoreError> {
        self.check()?;
        self.inner.count(owner).await
    }
    async fn crawlable(&self, domain: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        self.check()?;
        self.inner.crawlable(domain, limit).await
    }
    async fn take_visit(&self, link_id: i64) -> Result<bool, StoreError> {
        self.takes.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        self.inner.take_visit(link_id).await
    }
    async fn tags(&self, owner: Option<&str>, domain: Option<&str>) -> Result<Vec<TagCount>, StoreError> {
        self.check()?;
        self.inner.tags(owner, domain).await
    }
    async fn tagged(
        &self,
        of: &Selection,
        tags: &[String],
        limit: u32,
    ) -> Result<Vec<(String, Counted)>, StoreError> {
        self.check()?;
        self.inner.tagged(of, tags, limit).await
    }
    async fn rename_tag(&self, old: &str, new: &str) -> Result<Renamed, StoreError> {
        self.check()?;
        self.inner.rename_tag(old, new).await
    }
    async fn delete_tags(&self, names: &[String]) -> Result<(), StoreError> {
        self.check()?;
        self.inner.delete_tags(names).await
    }
    async fn domains(&self) -> Result<Vec<Domain>, StoreError> {
        self.domain_reads.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        let found = self.inner.domains().await;
        if self.domains_armed.swap(false, Ordering::SeqCst) {
            self.domains_held.send_replace(true);
            self.domains_held.subscribe().wait_for(|held| !*held).await.expect("the store is there");
        }
        found
    }
    async fn set_domain_redirects(
        &self,
        domain: &str,
        edit: &DomainRedirectsEdit,
    ) -> Result<Option<Domain>, StoreError> {
        self.check()?;
        self.inner.set_domain_redirects(domain, edit).await
    }
    async fn insert_key(&self, key: &ApiKey, hash: &[u8; 32]) -> Result<(), StoreError> {
        self.check()?;
        self.inner.insert_key(key, hash).await
    }
    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<(ApiKey, [u8; 32])>, StoreError> {
        self.key_finds.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        self.inner.find_key(hash).await
    }
    async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.check()?;
        self.inner.list_keys().await
    }
    async fn revoke_key(&self, id: &str, at: UnixSeconds) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.revoke_key(id, at).await
    }
    async fn expire_key(&self, id: &str, at: UnixSeconds) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.expire_key(id, at).await
    }
}
