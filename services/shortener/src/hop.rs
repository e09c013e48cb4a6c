//! Every touch point with the event of a request: what the shortener learns of a hop, said in one vocabulary.
//! Nothing is stored, encoded or counted here; without the emitter's layer, or a recorder, it all goes nowhere.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use wide_event::Cache;

/// Which tier answered for a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The in-process cache.
    L1,
    /// The link store.
    Store,
    /// The in-process cache, past its time, as the store failed.
    Stale,
    /// The in-process memory of unknown codes.
    Negative,
    /// Nobody was asked.
    None,
}

impl Tier {
    /// The name in events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::Store => "store",
            Self::Stale => "stale",
            Self::Negative => "negative",
            Self::None => "none",
        }
    }
}

/// Something learnt of a hop.
#[derive(Debug)]
pub enum Fact<'a> {
    /// The code that was asked for or made; bounded in length by the URL limits.
    Code(&'a str),
    /// The link behind it.
    Link {
        /// Its id.
        id: i64,
        /// Version of its target.
        version: u32,
        /// Host of its target, nothing else of it.
        target_host: &'a str,
    },
    /// Who answered for the link.
    Cache(Tier),
    /// The answer came of another request's store call.
    Coalesced,
    /// One call of the store and its time; several add up.
    Store(Duration),
    /// The key that was accepted, by its public id.
    ApiKey(&'a str),
    /// The client, after trusted proxies. Whole: redaction is the event's.
    Client(IpAddr),
    /// The route, where one handler serves two (`/{code}+`).
    Route(&'static str),
    /// Refused before work, and by which limiter.
    Shed(&'static str),
    /// A GET that is redirected.
    Click,
    /// What went wrong, from a bounded set, and for 5xx the error with its sources.
    Failed(&'static str, Option<&'a (dyn Error + 'static)>),
}

/// Takes the facts of one hop. Called on the request path: must neither block nor wait.
pub trait Record: Send + Sync + 'static {
    /// Takes one.
    fn record(&self, fact: Fact<'_>);
}

/// What a layer around the router puts into a request's extensions.
#[derive(Clone)]
pub struct Recorder(pub Arc<dyn Record>);

/// The handle of the request at hand.
#[derive(Clone, Default)]
pub struct Hop(Sink);

#[derive(Clone, Default)]
enum Sink {
    #[default]
    Nowhere,
    Event(emitter::Hop),
    Recorder(Recorder),
}

impl Hop {
    /// The hop of a request, by its extensions: a [`Recorder`], else what the emitter's layer left there.
    pub fn of(extensions: &Extensions) -> Self {
        if let Some(hop) = extensions.get::<emitter::Hop>() {
            return Self(Sink::Event(hop.clone()));
        }
        Self(extensions.get::<Recorder>().cloned().map_or(Sink::Nowhere, Sink::Recorder))
    }

    /// Records a fact.
    pub fn record(&self, fact: Fact<'_>) {
        match &self.0 {
            Sink::Nowhere => {}
            Sink::Event(hop) => note(hop, fact),
            Sink::Recorder(Recorder(recorder)) => recorder.record(fact),
        }
    }
}

/// A fact in the emitter's words.
fn note(hop: &emitter::Hop, fact: Fact<'_>) {
    match fact {
        Fact::Code(code) => hop.code(code),
        Fact::Link { id, version, target_host } => {
            // Ids are SQLite's, which start at 1.
            hop.link(u64::try_from(id).unwrap_or_default(), version);
            hop.target_host(target_host);
        }
        Fact::Cache(tier) => hop.cache(match tier {
            Tier::L1 => Cache::L1,
            Tier::Store => Cache::Store,
            Tier::Stale => Cache::Stale,
            Tier::Negative => Cache::Negative,
            Tier::None => Cache::None,
        }),
        Fact::Coalesced => hop.coalesced(),
        Fact::Store(took) => hop.store(took),
        Fact::ApiKey(id) => hop.api_key_id(id),
        Fact::Client(address) => hop.client_address(address),
        Fact::Route(template) => hop.route(template),
        Fact::Shed(limiter) => hop.shed(limiter),
        Fact::Click => hop.click(),
        Fact::Failed(kind, Some(error)) => hop.fail(kind, error),
        Fact::Failed(kind, None) => hop.error_type(kind),
    }
}
