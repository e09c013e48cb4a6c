//! The handle through which handlers say what they know of the hop, and the one place where a hop ends.
//!
//! A hop's notes are behind a lock of its own, which only the hop's own tasks ever take while it runs. Whatever is
//! said after the hop has ended is ignored.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::uri::Scheme;
use http::{HeaderValue, Method, Request};
use wide_event::stages::Noted;
use wide_event::{Cache, Orphan, Outcome, Timestamp};

use crate::emitter::{PeerAddr, Shared};
use crate::exemplars::Exemplar;
use crate::head::Head;
use crate::identity::{self, Trace};
use crate::record::{Part, Record, Sealed};
use crate::requests::RouteId;
use crate::wait::Wait;

/// What the event of a request will say. Found in the request's extensions, or by axum's extraction; cheap to clone.
///
/// Strings are cut to what the event's field holds. All methods may be called from any task, in any order.
#[derive(Clone, Debug)]
pub struct Hop(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    /// None for a hop that nobody counts.
    pub(crate) shared: Option<Arc<Shared>>,
    pub(crate) started: Instant,
    pub(crate) bytes_in: AtomicU64,
    record: Mutex<Record>,
}

/// How a hop ended, beside its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer is complete, or is as complete as the service made it.
    Complete,
    /// Broken off by the client.
    Cancelled,
    /// The service broke off its own answer.
    Failed,
}

impl Hop {
    /// A hop of no service: takes everything and leaves no event. For handlers called without the layer, in tests.
    #[must_use]
    pub fn detached() -> Self {
        Self::new(None, |_| {})
    }

    /// A hop that begins now. The record is filled in where it is: it is some hundred bytes long.
    pub(crate) fn new(shared: Option<Arc<Shared>>, fill: impl FnOnce(&mut Record)) -> Self {
        let started = Instant::now();
        // In one expression, with nothing between: so it is moved once.
        let mut inner = Arc::new(Inner {
            shared,
            started,
            bytes_in: AtomicU64::new(0),
            record: Mutex::new(Record::default()),
        });
        if let Some(inner) = Arc::get_mut(&mut inner) {
            fill(inner.record.get_mut().unwrap_or_else(PoisonError::into_inner));
        }
        Self(inner)
    }

    /// Notes a request's head. Also returns the request's id, for the answer.
    pub(crate) fn of<B>(shared: &Arc<Shared>, request: &Request<B>) -> (Self, HeaderValue) {
        let (head, uri) = (Head::of(request.headers()), request.uri());
        let ts = Timestamp::from_system(SystemTime::now());
        let request_id = identity::request_id(head.request_id.get(), ts);
        let hop = Self::new(Some(Arc::clone(shared)), |record| {
            record.ts = ts;
            record.trace = Trace::of(head.traceparent.get());
            record.method = method(request.method());
            record.scheme = if uri.scheme() == Some(&Scheme::HTTPS) { "https" } else { "http" };
            record.route = route(shared, request);
            record.client = peer(request).map(|peer| peer.ip());
            record.put(Part::RequestId, request_id.as_bytes());
            record.put(Part::Host, uri.authority().map_or(head.host, |named| named.as_str().as_bytes()));
            record.put(Part::UserAgent, head.user_agent);
            record.put(Part::Referrer, head.referrer);
        });
        (hop, request_id)
    }

    /// The request's id, as it is in the answer and in the event.
    #[must_use]
    pub fn request_id(&self) -> String {
        self.record().text(Part::RequestId).to_owned()
    }

    /// The value of a `traceparent` header that makes a further call part of this hop's trace.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.record().trace.parent()
    }

    /// When the hop began. For whatever else wants the time and can do with this one: to read the clock is dear where each
    /// request does it many times.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.0.started
    }

    /// The client's address, as far as it is known: what was set, else the peer's.
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.record().client
    }

    /// The template of the route that matched; of those it must be one of a fixed set, since it becomes a label.
    /// Not needed where axum's `MatchedPath` is seen, see [`RouteLabelLayer`](crate::RouteLabelLayer).
    pub fn route(&self, template: &str) {
        if let Some(shared) = &self.0.shared {
            let route = shared.requests.route(template);
            self.note(|record| record.route = route);
        }
    }

    /// The domain that the hop is looked up under. One of the configured ones, whatever host the request named: it
    /// becomes part of exact counts. Not needed for the default one, which is the empty string.
    pub fn domain(&self, domain: &str) {
        self.note(|record| record.put(Part::Domain, domain.as_bytes()));
    }

    /// The short code that was asked for, known or not.
    pub fn code(&self, code: &str) {
        self.note(|record| record.put(Part::Code, code.as_bytes()));
    }

    /// The link that the code names, and which version of its destination was served.
    pub fn link(&self, id: u64, version: u32) {
        self.note(|record| (record.link_id, record.link_version) = (id, version));
    }

    /// Place of the redirect rule that chose the destination, from 1. Without one: not called, or 0.
    pub fn rule(&self, place: u8) {
        self.note(|record| record.rule = place);
    }

    /// Host of the destination. A whole URL is no host, and leaves the field empty.
    pub fn target_host(&self, host: &str) {
        self.note(|record| record.put(Part::TargetHost, host.as_bytes()));
    }

    /// The hop is a click: somebody is redirected. Nobody is by HEAD, or ahead of time.
    pub fn click(&self) {
        self.note(|record| record.click = true);
    }

    /// The hop is a visit that reached no link: of what kind, and the path that it asked for, whose query is left out.
    /// As with clicks, a HEAD and what is fetched ahead are no visits.
    pub fn orphan(&self, kind: Orphan, path: &str) {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        self.note(|record| {
            record.orphan = kind;
            record.put(Part::OrphanPath, path.as_bytes());
        });
    }

    /// The tier that answered the look-up of a link.
    pub fn cache(&self, tier: Cache) {
        self.note(|record| record.cache = tier);
    }

    /// The look-up waited for another hop's identical one.
    pub fn coalesced(&self) {
        self.note(|record| record.coalesced = true);
    }

    /// A call that the hop waited for. The times add up, those of Redis and those of the link store, whose calls are
    /// counted; and each call is a stage of the hop, as far as there is room for it ([`wide_event::stages`]).
    pub fn waited(&self, wait: &Wait) {
        let &Wait { system, operation, failed, .. } = wait;
        let start_us = us_short(wait.began.saturating_duration_since(self.0.started));
        let duration_us = us_short(wait.took);
        self.note(|record| record.waited(Noted { system, operation, start_us, duration_us, failed }));
    }

    /// A circuit breaker was open.
    pub fn breaker(&self, name: &'static str) {
        self.note(|record| record.breaker = name);
    }

    /// A limiter slowed the hop down. One that refused it: [`Hop::rate_limited`], [`Hop::shed`].
    pub fn limiter(&self, name: &'static str) {
        self.note(|record| record.limiter = name);
    }

    /// The hop is refused because this caller asks too often. A status of 429 alone says so, too.
    pub fn rate_limited(&self, limiter: &'static str) {
        self.note(|record| (record.verdict, record.limiter) = (Some(Outcome::RateLimited), limiter));
    }

    /// The hop is refused because the service has too much to do.
    pub fn shed(&self, limiter: &'static str) {
        self.note(|record| (record.verdict, record.limiter) = (Some(Outcome::Shed), limiter));
    }

    /// What went wrong: a class in snake case, and the error, whose causes are joined to its message. The outcome
    /// follows the status. The message must hold no secret; addresses and queries in it are removed.
    pub fn fail(&self, error_type: &'static str, error: &(dyn Error + 'static)) {
        self.note(|record| record.fail(error_type, error));
    }

    /// What was wrong where there is no error, as with most 4xx.
    pub fn error_type(&self, error_type: &'static str) {
        self.note(|record| record.error_type = error_type);
    }

    /// Identifier of the API key; never the key.
    pub fn api_key_id(&self, id: &str) {
        self.note(|record| record.put(Part::ApiKeyId, id.as_bytes()));
    }

    /// The client's address, from whoever is trusted to say it; else it is the peer's.
    pub fn client_address(&self, address: IpAddr) {
        self.note(|record| record.client = Some(address));
    }

    /// The client spoke https, to a proxy that is trusted to say so.
    pub fn https(&self) {
        self.note(|record| record.scheme = "https");
    }

    /// Country as ISO 3166-1 alpha-2; anything else is ignored.
    pub fn country(&self, code: &str) {
        if let [a, b] = *code.as_bytes()
            && a.is_ascii_alphabetic()
            && b.is_ascii_alphabetic()
        {
            self.note(|record| record.country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()]);
        }
    }

    /// Our own probe asked.
    pub fn synthetic(&self) {
        self.note(|record| record.synthetic = true);
    }

    /// Keep the event, whatever the sampling policy says.
    pub fn forced(&self) {
        self.note(|record| record.forced = true);
    }

    fn note(&self, note: impl FnOnce(&mut Record)) {
        let mut record = self.record();
        if record.sealed.is_none() {
            note(&mut record);
        }
    }

    pub(crate) fn panicked(&self, payload: &(dyn std::any::Any + Send)) {
        let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(message), _) => message,
            (_, Some(message)) => message.as_str(),
            _ => "panic without a message",
        };
        self.note(|record| {
            record.panicked = true;
            record.fail_text("panic", &message);
        });
    }

    pub(crate) fn failed(&self, error_type: &'static str, error: &dyn std::fmt::Display) {
        self.note(|record| record.fail_text(error_type, error));
    }

    /// The answer's body broke off. What the handler said went wrong stays, since it knows the cause and the body only the end
    /// of it; what it said of a caller's mistake is no cause of that.
    pub(crate) fn body_failed(&self, status: u16, error: &dyn std::fmt::Display) {
        self.note(|record| {
            if record.error_type.is_empty() || (400..500).contains(&status) {
                record.fail_text("body_error", error);
            }
        });
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        // Nothing that holds the lock leaves a record half-written, so a panic meanwhile harms nothing.
        self.0.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the hop: counts it, numbers it, queues its event. Does nothing the second time.
    pub(crate) fn end(&self, status: u16, end: End, bytes_out: u64) {
        let Some(shared) = &self.0.shared else { return };
        let at = Instant::now();
        let duration_us = us(at.duration_since(self.0.started));
        let mut record = self.record();
        if record.sealed.is_some() {
            return;
        }
        let outcome = outcome(&record, status, end);
        let size = size_of::<Inner>() + record.heap_bytes();
        let is_slow = shared.requests.count(record.route, record.synthetic, outcome, status, duration_us);
        let certain = record.forced || outcome.is_failure() || is_slow;
        // Numbered before it is queued: an event that finds no room shows as a gap.
        let seq = if shared.enabled { shared.sequence.next() } else { 0 };
        record.sealed = Some(Sealed {
            seq,
            status,
            outcome,
            duration_us,
            certain,
            bytes_in: self.0.bytes_in.load(Relaxed),
            bytes_out,
            size,
            at,
        });
        let (route, synthetic, trace_id) = (record.route, record.synthetic, record.trace.trace_id);
        let ts = record.ts;
        drop(record);
        let is_queued = shared.enabled && shared.queue(self.clone(), size, outcome.is_failure());
        if certain && is_queued {
            let at = Timestamp(ts.0.saturating_add_unsigned(duration_us));
            let exemplar = Exemplar { trace_id, took_us: duration_us, at };
            shared.requests.point_to(route, synthetic, outcome, exemplar);
        }
    }
}

/// What went wrong on our side outranks that the client did not wait for it.
fn outcome(record: &Record, status: u16, end: End) -> Outcome {
    match (record.verdict, status, end) {
        _ if record.panicked => Outcome::Panic,
        (_, _, End::Failed) => Outcome::ServerError,
        (Some(verdict), ..) => verdict,
        (_, 500.., _) => Outcome::ServerError,
        (_, _, End::Cancelled) => Outcome::Cancelled,
        (_, 429, _) => Outcome::RateLimited,
        (_, 400..500, _) => Outcome::ClientError,
        _ => Outcome::Ok,
    }
}

/// Microseconds, in 64 bits: enough for 500,000 years.
fn us(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()))
}

/// Microseconds of a wait, at most 71 minutes.
fn us_short(duration: Duration) -> u32 {
    u32::try_from(us(duration)).unwrap_or(u32::MAX)
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "OTHER",
    }
}

fn peer<B>(request: &Request<B>) -> Option<SocketAddr> {
    let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let peer = peer.or_else(|| crate::axum::peer(request.extensions()));
    peer
}

/// The route, where routing came before the layer.
#[cfg_attr(not(feature = "axum"), allow(unused_variables))]
fn route<B>(shared: &Shared, request: &Request<B>) -> RouteId {
    #[cfg(feature = "axum")]
    if let Some(template) = crate::axum::template(request.extensions()) {
        return shared.requests.route(template);
    }
    RouteId::UNMATCHED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_follow_from_the_end_the_verdict_and_the_status() {
        use End::{Cancelled, Complete, Failed};
        let cases = [
            (None, 200, Complete, Outcome::Ok),
            (None, 302, Complete, Outcome::Ok),
            (None, 404, Complete, Outcome::ClientError),
            (None, 429, Complete, Outcome::RateLimited),
            (None, 503, Complete, Outcome::ServerError),
            (Some(Outcome::Shed), 503, Complete, Outcome::Shed),
            (Some(Outcome::RateLimited), 429, Complete, Outcome::RateLimited),
            (None, 200, Cancelled, Outcome::Cancelled),
            (None, 404, Cancelled, Outcome::Cancelled),
            (None, 499, Cancelled, Outcome::Cancelled),
            (None, 500, Cancelled, Outcome::ServerError),
            (Some(Outcome::Shed), 503, Cancelled, Outcome::Shed),
            (None, 200, Failed, Outcome::ServerError),
        ];
        for (verdict, status, end, expected) in cases {
            let mut record = Record { verdict, ..Record::default() };
            assert_eq!(outcome(&record, status, end), expected, "{verdict:?} {status} {end:?}");
            record.panicked = true;
            assert_eq!(outcome(&record, status, end), Outcome::Panic);
        }
    }

    #[test]
    fn a_broken_body_does_not_hide_what_broke_it() {
        for (said, status, expected) in [
            ("", 200, "body_error"),
            ("store_unavailable", 200, "store_unavailable"),
            ("store_unavailable", 503, "store_unavailable"),
            ("not_found", 404, "body_error"),
        ] {
            let hop = Hop::detached();
            hop.error_type(said);
            hop.body_failed(status, &"it is torn");
            let record = hop.record();
            let message = if expected == "body_error" { "it is torn" } else { "" };
            assert_eq!((record.error_type, record.text(Part::ErrorMessage)), (expected, message), "{said}");
        }
    }

    #[test]
    fn a_detached_hop_takes_everything() {
        let hop = Hop::detached();
        hop.code("x");
        hop.route("/x");
        hop.country("de");
        hop.country("ü");
        hop.domain("s.example:81");
        hop.rule(3);
        hop.orphan(Orphan::InvalidShortUrl, "/x?token=1");
        hop.end(200, End::Complete, 0);
        let record = hop.record();
        assert_eq!((record.text(Part::Code), &record.country), ("x", b"DE"));
        assert_eq!((record.text(Part::Domain), record.rule), ("s.example:81", 3));
        assert_eq!((record.text(Part::OrphanPath), record.orphan), ("/x", Orphan::InvalidShortUrl));
    }
}
