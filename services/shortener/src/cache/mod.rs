//! Links in memory: what a redirect needs, found without waiting; before the store, what other instances have read.
//! Misses are coalesced and bounded; unknown codes are remembered for a moment; links that are asked for are read again
//! before their time is over; stale ones are served while nobody can be asked.
//! It decides neither validity nor visits: whoever serves the link does.

mod age;
mod encoding;
mod entry;
mod flight;
mod links;
mod read;

pub use entry::CachedLink;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use tokio::sync::Semaphore;

use self::age::Standing;
use self::encoding::Encoding;
use self::flight::Flights;
use self::links::Links;
use crate::breaker::Breaker;
use crate::config::{BreakerConfig, CacheConfig};
use crate::domain::DEFAULT_DOMAIN;
use crate::link::{Link, LinkRef};
use crate::metrics::Metrics;
use crate::shared::local::LocalState;
use crate::shared::{
    self, Announcer, Change, DEPENDENCY as REDIS, Entry, Listener, News, SharedState, Version,
};
use crate::store::{LinkStore, StoreError};
use emitter::Hop;
use wide_event::Cache as Tier;

/// Links that are read again before their time is over at once: a share of `store_reads_max` that leaves most of it to
/// visits that wait.
const REFRESHES_PART: usize = 4;

/// Name of the breaker before the store's look-ups, in events and metrics.
const STORE: &str = "store";

/// Why neither memory nor store has an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// The store failed and no older copy is here.
    #[error("the link is not in memory and could not be read")]
    Store(#[source] Arc<StoreError>),
    /// Too many other links are being read.
    #[error("the link is not in memory and its turn to be read did not come")]
    Busy,
    /// The read ended without an answer; only a panic in a store does that.
    #[error("the read of a link was abandoned")]
    Abandoned,
}

impl LookupError {
    /// A name for metrics and events, from a bounded set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Store(error) => error.kind(),
            Self::Busy => "store_reads_busy",
            Self::Abandoned => "store_abandoned",
        }
    }

    /// The breaker that was open.
    pub fn breaker(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) if matches!(**error, StoreError::BreakerOpen) => Some(STORE),
            _ => None,
        }
    }
}

/// What a lookup found, and how.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The link, or that there is none.
    pub link: Option<Arc<CachedLink>>,
    /// Who answered.
    pub tier: Tier,
    /// Whether it waited for another lookup's read.
    pub coalesced: bool,
    /// The breaker that was open for it.
    pub breaker: Option<&'static str>,
}

impl Lookup {
    /// This one, made because another one found nothing.
    pub fn after(mut self, first: &Self) -> Self {
        self.breaker = self.breaker.or(first.breaker);
        self
    }

    /// Says in the event how the link was found.
    pub fn note(&self, hop: &Hop) {
        hop.cache(self.tier);
        if self.coalesced {
            hop.coalesced();
        }
        if let Some(name) = self.breaker {
            hop.breaker(name);
        }
    }
}

/// What a cache is in front of.
pub struct Behind {
    /// What instances share.
    pub shared: Arc<dyn SharedState>,
    /// Where links are kept.
    pub store: Arc<dyn LinkStore>,
    /// What only instances of this installation know: makes what is shared theirs.
    pub key: [u8; 32],
}

/// The in-process cache in front of what instances share and the link store.
pub struct LinkCache {
    links: Links,
    // Apart, so that a scan of unknown codes evicts no link.
    unknown: Cache<Box<str>, ()>,
    // Ids of links that were deleted, for as long as somebody may still come with what was before: an edit that comes late,
    // or a replica that is behind, must not bring them back.
    gone: Cache<Box<str>, i64>,
    flights: Flights,
    store: Arc<dyn LinkStore>,
    shared: Arc<dyn SharedState>,
    announcer: Arc<Announcer>,
    /// Whether there is anybody to share with.
    shares: bool,
    encoding: Encoding,
    breaker: Breaker,
    /// Places of store reads, and of those among them that nobody waits for.
    reads: Semaphore,
    refreshes: Arc<Semaphore>,
    metrics: Metrics,
    config: CacheConfig,
    started: Instant,
    /// Milliseconds since `started`: what was read before may have changed without a message.
    unsure_ms: AtomicU64,
    _listener: Listener,
}

impl LinkCache {
    /// An empty cache, within a tokio runtime.
    pub fn new(config: &CacheConfig, breaker: &BreakerConfig, behind: Behind, metrics: Metrics) -> Arc<Self> {
        Arc::new_cyclic(|cache: &std::sync::Weak<Self>| {
            let listening = cache.clone();
            let listener = shared::listen(behind.shared.as_ref(), move |change| {
                if let Some(cache) = listening.upgrade() {
                    cache.heard(&change);
                }
            });
            // What is told too late is not what holds: somebody has told of a later change.
            let late = cache.clone();
            let on_late = move |change: &Change| {
                if let (Some(cache), Change::Link { domain, code }) = (late.upgrade(), change) {
                    cache.outdate(&key(LinkRef { domain, code }));
                }
            };
            let within = Duration::from_millis(config.fresh_ms);
            let announcer =
                Announcer::new(Arc::clone(&behind.shared), within, metrics.dependencies.clone(), on_late);
            Self {
                announcer,
                links: links::of_bytes(config.bytes_max),
                unknown: Cache::builder()
                    .max_capacity(config.negative_entries_max)
                    .time_to_live(Duration::from_millis(config.negative_ms))
                    .build(),
                gone: Cache::builder()
                    .max_capacity(config.negative_entries_max)
                    .time_to_live(Duration::from_millis(config.fresh_ms))
                    .build(),
                flights: Flights::default(),
                store: behind.store,
                shares: behind.shared.kind() != LocalState::KIND,
                shared: behind.shared,
                encoding: Encoding::new(behind.key),
                breaker: Breaker::new(STORE, breaker, &metrics.dependencies),
                reads: Semaphore::new(config.store_reads_max),
                refreshes: Arc::new(Semaphore::new((config.store_reads_max / REFRESHES_PART).max(1))),
                metrics,
                config: config.clone(),
                started: Instant::now(),
                unsure_ms: AtomicU64::new(0),
                _listener: listener,
            }
        })
    }

    /// The link behind a code when it can be served from here without waiting: it is fresh, and no visit of it is
    /// taken from the store. `now` is the time, as the caller knows it. Nothing else counts as a lookup.
    pub fn at_hand(self: &Arc<Self>, name: LinkRef<'_>, now: Instant) -> Option<Arc<CachedLink>> {
        let link = self.fresh(name, &key(name), now).filter(|link| link.max_visits.is_none())?;
        self.metrics.looked_up(Tier::L1);
        Some(link)
    }

    /// Whether a code is known to be unknown.
    pub fn is_unknown(&self, name: LinkRef<'_>) -> bool {
        self.unknown.contains_key(&*key(name))
    }

    /// The link behind a code. A fresh or known-unknown one is found without waiting; the hop is told what it waited for,
    /// also in vain.
    pub async fn get(self: &Arc<Self>, hop: &Hop, name: LinkRef<'_>) -> Result<Lookup, LookupError> {
        let key = key(name);
        let code: &str = &key;
        if let Some(link) = self.fresh(name, code, Instant::now()) {
            return Ok(self.found(Some(link), Tier::L1));
        }
        let cached = self.links.get(code).filter(|link| link.age.elapsed() < self.stale());
        match cached {
            None if self.unknown.contains_key(code) => Ok(self.found(None, Tier::Negative)),
            Some(link) if link.age.rests() => Ok(self.found(Some(link), Tier::Stale)),
            // Boxed, so that what is found here, nearly everything, is not carried by a future with room for the rest.
            cached => Box::pin(self.ask(hop, name, code, cached)).await,
        }
    }

    /// Takes in a link as it was just stored, here, by a creation or an edit. An older revision of what is cached,
    /// or of what was deleted meanwhile, is ignored: writers finish in the store's order, but may arrive here in another.
    pub fn put(&self, link: &Link) {
        let Some(entry) = CachedLink::of(link) else { return };
        let key = key(link.name());
        let mut flights = self.flights.lock();
        // What is being read may be older than this: it reaches those who wait, and not the cache.
        flights.remove(&*key);
        let deleted = self.gone.get(&*key).is_some_and(|id| id >= link.id);
        let newer = self.links.get(&*key).is_some_and(|cached| cached.order() > entry.order());
        if !deleted && !newer {
            self.unknown.invalidate(&*key);
            self.links.insert((&*key).into(), Arc::new(entry));
        }
        drop(flights);
        self.count_entries();
    }

    /// Forgets a link that was just deleted, here.
    pub fn forget(&self, name: LinkRef<'_>, id: i64) {
        let key = key(name);
        let code: &str = &key;
        let mut flights = self.flights.lock();
        flights.remove(code);
        // Its alias may have a newer link already.
        if self.links.get(code).is_none_or(|cached| cached.id <= id) {
            self.links.remove(code);
            self.unknown.insert(code.into(), ());
            self.gone.insert(code.into(), id);
        }
        drop(flights);
        self.count_entries();
    }

    /// Tells other instances of a link that was just stored, and shares it with them.
    pub async fn share(&self, link: &Link) {
        if !self.shares {
            return;
        }
        // A new link may never be asked for: it is shared long enough that nobody keeps its code for unknown.
        let keep = if link.revision == 1 { self.fresh_for() } else { self.stale() };
        let code = key(link.name());
        self.tell(link, self.encoding.link(&code, link, keep, Instant::now())).await;
    }

    /// Tells other instances of a link that was just deleted.
    pub async fn share_gone(&self, link: &Link) {
        if !self.shares {
            return;
        }
        // Long enough for whatever read it before.
        let code = key(link.name());
        let gone = self.encoding.nothing(&code, Version::gone(link.id), self.fresh_for(), Instant::now());
        self.tell(link, gone).await;
    }

    /// A link may have been changed, here, or not: the store did not say. Until it does, nobody takes for what holds what
    /// was known before, neither here nor elsewhere; it is served while the store is away, as ever.
    pub async fn doubt(&self, name: LinkRef<'_>) {
        let code = key(name);
        self.outdate(&code);
        if !self.shares {
            return;
        }
        let change = Change::Link { domain: name.domain.to_owned(), code: name.code.to_owned() };
        self.announcer.tell(change, News::Doubt { key: code.into_owned() }).await;
    }

    /// Who tells other instances.
    pub fn announcer(&self) -> &Arc<Announcer> {
        &self.announcer
    }

    /// Whether a link is in memory, and not too old to be served from there.
    pub fn holds(&self, name: LinkRef<'_>) -> bool {
        self.links.peek(&*key(name)).is_some_and(|link| link.age.elapsed() < self.stale())
    }

    /// Age up to which a link is served when the store fails.
    pub fn stale(&self) -> Duration {
        Duration::from_secs(self.config.stale_s)
    }

    /// Links held.
    pub fn entries(&self) -> u64 {
        self.links.len() as u64
    }

    /// The link when it may be served without asking.
    fn fresh(self: &Arc<Self>, name: LinkRef<'_>, code: &str, now: Instant) -> Option<Arc<CachedLink>> {
        let link = self.links.get(code)?;
        match link.age.standing(now, self.fresh_for(), self.unsure()) {
            Standing::Fresh => {}
            Standing::Due => self.refresh(name, code, &link),
            Standing::Old => return None,
        }
        Some(link)
    }

    fn found(&self, link: Option<Arc<CachedLink>>, tier: Tier) -> Lookup {
        self.metrics.looked_up(tier);
        Lookup { link, tier, coalesced: false, breaker: None }
    }

    async fn tell(&self, link: &Link, entry: Entry) {
        let change = Change::Link { domain: link.domain.clone(), code: link.code.clone() };
        self.announcer.tell(change, News::Entry { key: key(link.name()).into_owned(), entry }).await;
    }

    /// Gives others an entry that was read. Where they have a later one, ours came late and is not what holds; where they
    /// can't be given it, they read it themselves.
    async fn give(&self, code: &str, entry: Entry) {
        if let Ok(false) = self.shared.put(code, entry, None).await {
            self.outdate(code);
        }
    }

    fn outdate(&self, code: &str) {
        let mut flights = self.flights.lock();
        flights.remove(code);
        if let Some(link) = self.links.get(code) {
            // Kept, should nobody be there to ask.
            link.age.outdate();
        }
        self.unknown.invalidate(code);
    }

    /// Another instance has changed something.
    fn heard(&self, change: &Change) {
        match change {
            Change::Link { domain, code } => {
                self.outdate(&key(LinkRef { domain, code }));
            }
            // With nothing in memory, nothing in it can be wrong.
            Change::Unknown if !self.links.is_empty() => {
                let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.unsure_ms.store(now, Ordering::Relaxed);
            }
            Change::Unknown | Change::Domains | Change::Keys => return,
        }
        self.metrics.dependencies.changes_heard.inc();
    }

    fn fresh_for(&self) -> Duration {
        Duration::from_millis(self.config.fresh_ms)
    }

    fn retry(&self) -> Duration {
        Duration::from_millis(self.config.retry_ms)
    }

    fn unsure(&self) -> Instant {
        self.started + Duration::from_millis(self.unsure_ms.load(Ordering::Relaxed))
    }

    fn count_entries(&self) {
        self.metrics.cache_entries.set(i64::try_from(self.links.len()).unwrap_or(i64::MAX));
    }
}

/// What a link is cached under: its code, after its domain where that is not the default one. No domain holds a zero.
fn key(link: LinkRef<'_>) -> Cow<'_, str> {
    if link.domain == DEFAULT_DOMAIN {
        Cow::Borrowed(link.code)
    } else {
        Cow::Owned(format!("{}\0{}", link.domain, link.code))
    }
}
