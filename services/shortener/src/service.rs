//! The shortener put together: opened on a store, served as one service.
//! It binds no port and installs no layer: who runs it does, so that the event's layer is outermost.

use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use moka::future::Cache;
use tokio::sync::Semaphore;
use url::Url;

use crate::admission::{Admission, Class, Place};
use crate::api::Health;
use crate::cache::{Behind, LinkCache};
use crate::codes::Codes;
use crate::config::ShortenerConfig;
use crate::domain::DEFAULT_DOMAIN;
use crate::domains::Domains;
use crate::entrance::Entrance;
use crate::limits::{Limited, Limits};
use crate::link::{LinkEdit, LinkRef, LinkState};
use crate::links::{CreateError, CreateLink, Links, Once, Outcome};
use crate::metrics::Metrics;
use crate::shared::local::LocalState;
use crate::shared::{Guarded, SharedState};
use crate::statistics::Statistics;
use crate::store::{Changed, LinkStore, StoreError};
use crate::target::TargetPolicy;
use crate::target::blocklist::{Blocklist, BlocklistError};
use crate::{api, housekeeping, redirect};
use emitter::{Emitter, Hop};
use warehouse::Warehouse;
use wide_event::agent::Agents;

/// Name of the secret that codes are permuted with.
const CODES_SECRET: &str = "codes";

/// What the key of shared links is derived for, from the same secret: all instances have it, and Redis does not.
const SHARED_LINKS: &str = "hoplog shared links v1";

/// How old the list of crawlable links in `/robots.txt` may be: robots ask a few times a day.
const ROBOTS_AGE: Duration = Duration::from_secs(60);

/// Bytes of such lists in memory: the longest ones of thirty domains, or those of any number with a few links each.
const ROBOTS_CACHED_BYTES_MAX: u64 = 16 << 20;

/// Pages of exports that are read from the store at once, by all clients together: a few of its connections.
const EXPORT_READS_MAX: usize = 4;

/// Why the shortener can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `base_url` is no URL; [`ShortenerConfig::check`] says so before.
    #[error("links.base_url is no URL")]
    BaseUrl(#[source] url::ParseError),
    /// The system has no randomness for the key of the codes.
    #[error("no randomness from the system")]
    Random(#[source] getrandom::Error),
    /// A blocklist can't be read.
    #[error("the links' blocklist can't be used")]
    Blocklist(#[source] BlocklistError),
    /// The store has no schema, or does not answer.
    #[error("the link store can't be used")]
    Store(#[source] StoreError),
}

/// What a shortener is made of.
pub struct Parts {
    /// Where links are kept; migrated.
    pub store: Arc<dyn LinkStore>,
    /// What instances share.
    pub shared: Arc<dyn SharedState>,
    /// ClickHouse, where counts and visits are read. Without it there are none.
    pub warehouse: Option<Warehouse>,
    /// Which build this is, as health says it.
    pub version: String,
}

impl Parts {
    /// One instance alone, without counts.
    pub fn alone(store: Arc<dyn LinkStore>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { store, shared: Arc::new(LocalState::default()), warehouse: None, version }
    }
}

/// Whether traffic should come here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the store answers. Without it cached links are still served, the management API is not.
    pub store: bool,
    /// Links in memory.
    pub cached_links: u64,
}

/// A shortener. Clones share everything.
#[derive(Clone)]
pub struct Shortener {
    app: Arc<App>,
}

/// What handlers share.
pub(crate) struct App {
    pub(crate) config: ShortenerConfig,
    /// Which build this is.
    pub(crate) version: String,
    pub(crate) base_url: Url,
    pub(crate) target_policy: TargetPolicy,
    pub(crate) links: Links,
    pub(crate) cache: Arc<LinkCache>,
    pub(crate) domains: Arc<Domains>,
    /// User agents that redirect rules have asked about.
    pub(crate) agents: Mutex<Agents>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) blocklist: Arc<Blocklist>,
    pub(crate) statistics: Statistics,
    /// `/robots.txt` by domain.
    pub(crate) robots: Cache<Box<str>, Bytes>,
    pub(crate) health: Health,
    /// Pages of exports that may be read now.
    pub(crate) export_reads: Semaphore,
    admission: Arc<Admission>,
    metrics: Metrics,
}

impl Shortener {
    /// Opens a shortener of its parts.
    pub async fn open(config: ShortenerConfig, parts: Parts) -> Result<Self, OpenError> {
        let Parts { store, shared, warehouse, version } = parts;
        let base_url = Url::parse(&config.links.base_url).map_err(OpenError::BaseUrl)?;
        let target_policy = TargetPolicy::new(&base_url, &config.links);
        let secret = match &config.links.codes_key {
            Some(key) => *key.expose(),
            None => {
                let mut proposed = [0; 32];
                getrandom::fill(&mut proposed).map_err(OpenError::Random)?;
                store.secret(CODES_SECRET, proposed).await.map_err(OpenError::Store)?
            }
        };
        let metrics = Metrics::default();
        let shared = Guarded::wrap(shared, &config.breaker, &metrics.dependencies);
        let behind = Behind {
            shared: Arc::clone(&shared),
            store: Arc::clone(&store),
            key: blake3::derive_key(SHARED_LINKS, &secret),
        };
        let cache = LinkCache::new(&config.cache, &config.breaker, behind, metrics.clone());
        let domains = Domains::new(&base_url, Arc::clone(&store), shared.as_ref(), metrics.clone());
        if let Err(error) = domains.read().await {
            tracing::warn!(kind = error.kind(), "domains were not read yet; they are when the store answers");
        }
        let codes = Codes::new(Arc::clone(&store), secret, config.links.lease_ids);
        let app = App {
            version,
            base_url,
            target_policy,
            links: Links::new(
                store,
                Arc::clone(&cache),
                Arc::clone(&domains),
                shared.as_ref(),
                codes,
                &config.breaker,
                metrics.clone(),
            ),
            // Before anything is served, so it may take its time.
            blocklist: Blocklist::open(&config.links.blocklist_files).map_err(OpenError::Blocklist)?,
            cache,
            statistics: Statistics::new(&config.statistics, warehouse, &metrics),
            domains,
            agents: Mutex::default(),
            limits: Limits::start(&config.limits, Arc::clone(&shared), &secret),
            robots: Cache::builder()
                .max_capacity(ROBOTS_CACHED_BYTES_MAX)
                .weigher(|_, text: &Bytes| u32::try_from(text.len()).unwrap_or(u32::MAX))
                .time_to_live(ROBOTS_AGE)
                .build(),
            health: Health::default(),
            export_reads: Semaphore::new(EXPORT_READS_MAX),
            admission: Arc::new(Admission::new(&config.limits, metrics.clone())),
            metrics,
            config,
        };
        let app = Arc::new(app);
        housekeeping::start(&app, &shared);
        Ok(Self { app })
    }

    /// All public routes behind their [`Entrance`]. The event's layer goes around it.
    pub fn service(&self) -> Entrance<Router> {
        let routes = redirect::routes().merge(api::routes(&self.app)).with_state(Arc::clone(&self.app));
        Entrance::new(routes, Arc::clone(&self.app))
    }

    /// The emitter that is around [`Shortener::service`]: by what it has numbered, and ClickHouse has, the API can say up
    /// to when counts are final.
    pub fn follow(&self, emitter: Emitter) {
        self.app.statistics.follow(emitter);
    }

    /// The metrics, to be registered once.
    pub fn metrics(&self) -> &Metrics {
        &self.app.metrics
    }

    /// Tells other instances what they could not be told yet, once more and for a moment: when nothing is served any
    /// longer.
    pub async fn close(&self) {
        self.app.cache.announcer().close().await;
    }

    /// Asks the store, with its read deadline. Not for every request: for a readiness probe.
    pub async fn readiness(&self) -> Readiness {
        let store = self.app.links.ping(&Hop::detached()).await.is_ok();
        Readiness { store, cached_links: self.app.cache.entries() }
    }
}

impl App {
    /// A place under the limits, or a hop that says why there is none.
    pub(crate) fn admit(&self, hop: &Hop, class: Class) -> Option<Place<&Admission>> {
        place(&*self.admission, hop, class)
    }

    /// The same for who can't borrow it.
    pub(crate) fn admit_owned(&self, hop: &Hop, class: Class) -> Option<Place<Arc<Admission>>> {
        place(Arc::clone(&self.admission), hop, class)
    }

    /// Notes in the hop that its client or key is refused.
    pub(crate) fn refuse(&self, hop: &Hop, limited: &Limited) {
        hop.rate_limited(limited.limiter);
        hop.error_type("rate_limited");
        self.metrics.rate_limited(limited.limiter);
    }

    /// Changes a link, whatever becomes of the client meanwhile: what is stored has to reach the caches.
    pub(crate) async fn edit(
        self: &Arc<Self>,
        hop: &Hop,
        link: LinkRef<'_>,
        edit: LinkEdit,
    ) -> Result<Changed, StoreError> {
        let (app, hop) = (Arc::clone(self), hop.clone());
        let (domain, code) = (link.domain.to_owned(), link.code.to_owned());
        let work = async move { app.links.edit(&hop, LinkRef { domain: &domain, code: &code }, &edit).await };
        to_the_end(work).await
    }

    /// Deletes a link, as [`App::edit`] changes one.
    pub(crate) async fn delete(
        self: &Arc<Self>,
        hop: &Hop,
        link: LinkRef<'_>,
        if_state: Option<LinkState>,
    ) -> Result<Changed, StoreError> {
        let (app, hop) = (Arc::clone(self), hop.clone());
        let (domain, code) = (link.domain.to_owned(), link.code.to_owned());
        let work =
            async move { app.links.delete(&hop, LinkRef { domain: &domain, code: &code }, if_state).await };
        to_the_end(work).await
    }

    /// Makes links, as [`App::edit`] changes one: [`crate::links::Links::create`].
    pub(crate) async fn create(
        self: &Arc<Self>,
        hop: &Hop,
        items: Vec<Option<CreateLink>>,
        once: Option<Once>,
    ) -> Result<Outcome, CreateError> {
        let (app, hop) = (Arc::clone(self), hop.clone());
        to_the_end(async move { app.links.create(&hop, &items, once).await }).await
    }

    /// The public URL of a link. All domains have the scheme of the default one.
    pub(crate) fn short_url(&self, link: LinkRef<'_>) -> String {
        let mut url = match link.domain {
            DEFAULT_DOMAIN => self.base_url.clone(),
            domain => Url::parse(&format!("{}://{domain}/", self.base_url.scheme()))
                .unwrap_or_else(|_| self.base_url.clone()),
        };
        url.set_path(link.code);
        url.into()
    }
}

fn place<A: Deref<Target = Admission>>(admission: A, hop: &Hop, class: Class) -> Option<Place<A>> {
    Admission::admit(admission, class)
        .inspect_err(|full| {
            hop.shed(full.limiter);
            hop.fail("shed", full);
        })
        .ok()
}

/// Does work that goes on when nobody waits for it any more.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
