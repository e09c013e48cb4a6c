//! The shortener put together: opened on a store, served as a router.
//! It binds no port and installs no layer: who runs it does, so that the event's layer is outermost.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::Request;
use moka::sync::Cache;
use url::Url;

use crate::admission::{Admission, Class, LIMITER_API, LIMITER_VISIT, Place};
use crate::cache::LinkCache;
use crate::client_addr::client_addr;
use crate::codes::Codes;
use crate::config::ShortenerConfig;
use crate::hop::{Fact, Hop};
use crate::links::Links;
use crate::metrics::Metrics;
use crate::store::{LinkStore, StoreError};
use crate::target::OwnHosts;
use crate::{api, redirect};

/// Name of the secret that codes are permuted with.
const CODES_SECRET: &str = "codes";

/// How old the list of crawlable links in `/robots.txt` may be: robots ask a few times a day.
const ROBOTS_AGE: Duration = Duration::from_secs(60);

/// Why the shortener can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `base_url` is no URL; [`ShortenerConfig::check`] says so before.
    #[error("links.base_url is no URL")]
    BaseUrl(#[source] url::ParseError),
    /// The system has no randomness for the key of the codes.
    #[error("no randomness from the system")]
    Random(#[source] getrandom::Error),
    /// The store has no schema, or does not answer.
    #[error("the link store can't be used")]
    Store(#[source] StoreError),
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
    pub(crate) base_url: Url,
    pub(crate) own_hosts: OwnHosts,
    pub(crate) links: Links,
    pub(crate) cache: Arc<LinkCache>,
    pub(crate) robots: Cache<(), Bytes>,
    admission: Arc<Admission>,
    metrics: Metrics,
}

impl Shortener {
    /// Opens a shortener on a migrated store.
    pub async fn open(config: ShortenerConfig, store: Arc<dyn LinkStore>) -> Result<Self, OpenError> {
        let base_url = Url::parse(&config.links.base_url).map_err(OpenError::BaseUrl)?;
        let own_hosts = OwnHosts::new(&base_url, &config.links.own_hosts);
        let secret = match &config.links.codes_key {
            Some(key) => *key.expose(),
            None => {
                let mut proposed = [0; 32];
                getrandom::fill(&mut proposed).map_err(OpenError::Random)?;
                store.secret(CODES_SECRET, proposed).await.map_err(OpenError::Store)?
            }
        };
        let metrics = Metrics::default();
        let cache = LinkCache::new(&config.cache, Arc::clone(&store), metrics.clone());
        let codes = Codes::new(Arc::clone(&store), secret, config.links.lease_ids);
        let app = App {
            base_url,
            own_hosts,
            links: Links::new(store, Arc::clone(&cache), codes, metrics.clone()),
            cache,
            robots: Cache::builder().max_capacity(1).time_to_live(ROBOTS_AGE).build(),
            admission: Admission::new(&config.limits, metrics.clone()),
            metrics,
            config,
        };
        Ok(Self { app: Arc::new(app) })
    }

    /// All public routes.
    pub fn router(&self) -> Router {
        redirect::routes().merge(api::routes(&self.app)).with_state(Arc::clone(&self.app))
    }

    /// The metrics, to be registered once.
    pub fn metrics(&self) -> &Metrics {
        &self.app.metrics
    }

    /// Asks the store, with its read deadline. Not for every request: for a readiness probe.
    pub async fn readiness(&self) -> Readiness {
        let store = self.app.links.ping(&Hop::default()).await.is_ok();
        Readiness { store, cached_links: self.app.cache.entries() }
    }
}

impl App {
    /// What every request starts with: its hop learns the client, and it gets a place or is refused.
    pub(crate) fn arrive<B>(&self, request: &Request<B>, class: Class) -> (Hop, Option<Place>) {
        let extensions = request.extensions();
        let hop = Hop::of(extensions);
        if let Some(ConnectInfo(peer)) = extensions.get::<ConnectInfo<SocketAddr>>() {
            hop.record(Fact::Client(self.client(peer.ip(), request)));
        }
        let place = self.admission.admit(class);
        if place.is_none() {
            hop.record(Fact::Shed(match class {
                Class::Visit => LIMITER_VISIT,
                Class::Api => LIMITER_API,
            }));
        }
        (hop, place)
    }

    fn client<B>(&self, peer: IpAddr, request: &Request<B>) -> IpAddr {
        client_addr(peer, request.headers(), &self.config.http.trusted_proxies)
    }

    /// The public URL of an alias.
    pub(crate) fn short_url(&self, code: &str) -> String {
        let mut url = self.base_url.clone();
        url.set_path(code);
        url.into()
    }
}
