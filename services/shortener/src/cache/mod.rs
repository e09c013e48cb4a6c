//! Links in memory: what a redirect needs, found without waiting; misses coalesced into one store read; unknown
//! codes remembered for a moment; stale links served while the store fails.
//! It decides neither validity nor visits: whoever serves the link does.

mod entry;

pub use entry::CachedLink;

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use tokio::sync::watch;

use crate::config::CacheConfig;
use crate::domain::DEFAULT_DOMAIN;
use crate::link::{Link, LinkRef};
use crate::metrics::Metrics;
use crate::store::{LinkStore, Read, StoreError};
use wide_event::Cache as Tier;

/// Why neither memory nor store has an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// The store failed and no older copy is here.
    #[error("the link is not in memory and could not be read")]
    Store(#[source] Arc<StoreError>),
    /// The read ended without an answer; only a panic in a store does that.
    #[error("the read of a link was abandoned")]
    Abandoned,
}

impl LookupError {
    /// A name for metrics and events, from a bounded set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Store(error) => error.kind(),
            Self::Abandoned => "store_abandoned",
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
    /// Time of the store read that this lookup made.
    pub store: Option<Duration>,
}

type Outcome = Result<Option<Arc<CachedLink>>, LookupError>;

/// A store read under way: what waits for it listens here.
type Flight = Arc<watch::Sender<Option<(Outcome, Duration)>>>;

/// The in-process cache in front of a link store.
pub struct LinkCache {
    links: Cache<Arc<str>, Arc<CachedLink>>,
    // Apart, so that a scan of unknown codes evicts no link. The value is the id of a link that was deleted,
    // or 0: an edit that comes late must not bring it back.
    unknown: Cache<Box<str>, i64>,
    flights: Mutex<HashMap<Box<str>, Flight>>,
    store: Arc<dyn LinkStore>,
    metrics: Metrics,
    fresh: Duration,
    stale: Duration,
    retry_ms: u64,
    started: Instant,
    /// Milliseconds since `started` until when the store is taken to be failing.
    failing_until_ms: AtomicU64,
}

impl LinkCache {
    /// An empty cache in front of `store`.
    pub fn new(config: &CacheConfig, store: Arc<dyn LinkStore>, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            links: Cache::builder()
                .max_capacity(config.bytes_max)
                .weigher(|code: &Arc<str>, link: &Arc<CachedLink>| entry::weight(code, link))
                .time_to_live(Duration::from_secs(config.stale_s))
                .build(),
            unknown: Cache::builder()
                .max_capacity(config.negative_entries_max)
                .time_to_live(Duration::from_millis(config.negative_ms))
                .build(),
            flights: Mutex::default(),
            store,
            metrics,
            fresh: Duration::from_millis(config.fresh_ms),
            stale: Duration::from_secs(config.stale_s),
            retry_ms: config.retry_ms,
            started: Instant::now(),
            failing_until_ms: AtomicU64::new(0),
        })
    }

    /// The link behind a code when it can be served from here without waiting: it is fresh, and no visit of it is
    /// taken from the store. Nothing else counts as a lookup.
    pub fn at_hand(&self, name: LinkRef<'_>) -> Option<Arc<CachedLink>> {
        let link = self.fresh(&key(name)).filter(|link| link.max_visits.is_none())?;
        self.metrics.looked_up(Tier::L1);
        Some(link)
    }

    /// Whether a code is known to be unknown.
    pub fn is_unknown(&self, name: LinkRef<'_>) -> bool {
        self.unknown.contains_key(&*key(name))
    }

    /// The link behind a code. A fresh or known-unknown one is found without waiting.
    pub async fn get(self: &Arc<Self>, name: LinkRef<'_>) -> Result<Lookup, LookupError> {
        let key = key(name);
        let code: &str = &key;
        if let Some(link) = self.fresh(code) {
            return Ok(self.found(Some(link), Tier::L1));
        }
        let cached = self.links.get(code);
        if cached.is_none() && self.unknown.contains_key(code) {
            return Ok(self.found(None, Tier::Negative));
        }
        if cached.is_some() && self.is_failing() {
            return Ok(self.found(cached, Tier::Stale));
        }
        // Boxed, so that what is found here, nearly everything, is not carried by a future with room for the rest.
        let (outcome, took, coalesced) = Box::pin(self.read_once(name, code)).await;
        match (outcome, cached) {
            (Ok(link), _) => {
                let store = (!coalesced).then_some(took);
                self.metrics.looked_up(Tier::Store);
                Ok(Lookup { link, tier: Tier::Store, coalesced, store })
            }
            (Err(_), Some(stale)) => {
                self.metrics.looked_up(Tier::Stale);
                let store = (!coalesced).then_some(took);
                Ok(Lookup { link: Some(stale), tier: Tier::Stale, coalesced, store })
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Takes in a link as it was just stored, here, by a creation or an edit. An older revision of what is cached,
    /// or of what was deleted meanwhile, is ignored: writers finish in the store's order, but may arrive here in another.
    pub fn put(&self, link: &Link) {
        let Some(entry) = CachedLink::of(link) else { return };
        let key = key(link.name());
        let mut flights = self.lock();
        // What is being read may be older than this: it reaches those who wait, and not the cache.
        flights.remove(&*key);
        let deleted = self.unknown.get(&*key).is_some_and(|id| id >= link.id);
        let newer = self
            .links
            .get(&*key)
            .is_some_and(|cached| (cached.id, cached.revision) > (link.id, link.revision));
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
        let mut flights = self.lock();
        flights.remove(code);
        // Its alias may have a newer link already.
        if self.links.get(code).is_none_or(|cached| cached.id <= id) {
            self.links.invalidate(code);
            self.unknown.insert(code.into(), id);
        }
        drop(flights);
        self.count_entries();
    }

    /// Whether a link is in memory, however old.
    pub fn holds(&self, name: LinkRef<'_>) -> bool {
        self.links.contains_key(&*key(name))
    }

    /// Age up to which a link is served when the store fails.
    pub fn stale(&self) -> Duration {
        self.stale
    }

    /// Links held, approximately.
    pub fn entries(&self) -> u64 {
        self.links.entry_count()
    }

    fn fresh(&self, code: &str) -> Option<Arc<CachedLink>> {
        self.links.get(code).filter(|link| link.read_at.elapsed() < self.fresh)
    }

    fn found(&self, link: Option<Arc<CachedLink>>, tier: Tier) -> Lookup {
        self.metrics.looked_up(tier);
        Lookup { link, tier, coalesced: false, store: None }
    }

    /// Reads from the store, or waits for the read of the same code that is under way.
    async fn read_once(self: &Arc<Self>, name: LinkRef<'_>, code: &str) -> (Outcome, Duration, bool) {
        let (mut listener, coalesced) = {
            let mut flights = self.lock();
            match flights.entry(code.into()) {
                Entry::Occupied(flight) => (flight.get().subscribe(), true),
                Entry::Vacant(place) => {
                    let (sender, listener) = watch::channel(None);
                    let flight: Flight = Arc::new(sender);
                    place.insert(Arc::clone(&flight));
                    // A task of its own: a client that hangs up must not end the read for those who wait for it.
                    let (domain, name) = (name.domain.into(), name.code.into());
                    tokio::spawn(Arc::clone(self).read(domain, name, code.into(), flight));
                    (listener, false)
                }
            }
        };
        if coalesced {
            self.metrics.coalesced.inc();
        }
        let outcome = listener.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        let (outcome, took) = outcome.unwrap_or((Err(LookupError::Abandoned), Duration::ZERO));
        (outcome, took, coalesced)
    }

    async fn read(self: Arc<Self>, domain: Box<str>, name: Box<str>, code: Box<str>, flight: Flight) {
        // Should the store panic, the flight must not stay: everybody after would wait for nothing.
        let landing = Landing { cache: &self, code: &code, flight: &flight };
        let started = Instant::now();
        let found = self.store.find(LinkRef { domain: &domain, code: &name }, Read::Recent).await;
        let took = started.elapsed();
        self.metrics.store_called("find", took);
        let outcome = match found {
            Ok(Some(link)) => match CachedLink::of(&link) {
                Some(entry) => Ok(Some(Arc::new(entry))),
                None => Err(StoreError::Corrupt(format!("target of link {} is no URL", link.id))),
            },
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        }
        .map_err(|error| LookupError::Store(Arc::new(error)));
        self.note_health(&outcome);
        landing.land(&outcome);
        flight.send_replace(Some((outcome, took)));
    }

    fn note_health(&self, outcome: &Outcome) {
        match outcome {
            Ok(_) => self.failing_until_ms.store(0, Ordering::Relaxed),
            Err(error) => {
                self.metrics.store_failed(error.kind());
                self.failing_until_ms.store(self.now_ms() + self.retry_ms, Ordering::Relaxed);
            }
        }
    }

    fn is_failing(&self) -> bool {
        let until = self.failing_until_ms.load(Ordering::Relaxed);
        until > 0 && self.now_ms() < until
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn count_entries(&self) {
        self.metrics.cache_entries.set(i64::try_from(self.links.entry_count()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Flight>> {
        // Nothing under this lock leaves the map half changed.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Takes a flight off the map, whatever became of its read.
struct Landing<'a> {
    cache: &'a LinkCache,
    code: &'a str,
    flight: &'a Flight,
}

impl Landing<'_> {
    /// Caches the outcome, unless an edit or a deletion has superseded the read.
    fn land(&self, outcome: &Outcome) {
        let mut flights = self.cache.lock();
        if !flights.get(self.code).is_some_and(|current| Arc::ptr_eq(current, self.flight)) {
            return;
        }
        flights.remove(self.code);
        match outcome {
            Ok(Some(link)) => self.cache.links.insert(self.code.into(), Arc::clone(link)),
            Ok(None) => {
                self.cache.links.invalidate(self.code);
                self.cache.unknown.insert(self.code.into(), 0);
            }
            Err(_) => {}
        }
        drop(flights);
        self.cache.count_entries();
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flights = self.cache.lock();
        if flights.get(self.code).is_some_and(|current| Arc::ptr_eq(current, self.flight)) {
            flights.remove(self.code);
        }
    }
}
