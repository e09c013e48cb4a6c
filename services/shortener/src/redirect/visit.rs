//! `/{code}` and `/{code}+`, where a code may have several segments: read with GET and HEAD, and with any method where the
//! status of the redirect keeps it. Clicks are not counted here: the event of the hop is the click.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, Method, Uri};
use percent_encoding::percent_decode_str;
use wide_event::{Cache, Orphan};

use super::pages::Others;
use super::rules::{Decision, Visitor};
use super::{ALLOW, Arrival, answer, limit, orphan, pages, query};
use crate::admission::Class;
use crate::cache::CachedLink;
use crate::client_addr;
use crate::codes::{CODE_LENGTH_MAX, is_possible};
use crate::domain::DEFAULT_DOMAIN;
use crate::keys::now;
use crate::link::LinkRef;
use crate::probe;
use crate::service::App;
use emitter::Hop;

/// Routes as the event names them; the last can't be told from a redirect by the router.
const ROUTE: &str = "/{code}";
const ROUTE_OF_SEVERAL: &str = "/{*code}";
const PREVIEW_ROUTE: &str = "/{code}+";
/// Routes of what visitors see of links: those that objectives are stated for.
pub const VISIT_ROUTES: [&str; 3] = [ROUTE, ROUTE_OF_SEVERAL, PREVIEW_ROUTE];

/// Where browsers say that they fetch ahead: the standard field, and those from before it, of Chrome, Safari and Firefox.
static PURPOSES: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

/// A request for something that visitors see.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) app: &'a App,
    pub(super) hop: &'a Hop,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    /// The host that was asked for.
    pub(super) host: &'a str,
    peer: Option<IpAddr>,
    /// Our own probe asks.
    probes: bool,
}

/// What a path asks for.
struct Asked<'a> {
    domain: Cow<'a, str>,
    code: Cow<'a, str>,
    preview: bool,
}

/// Where a visit leads.
struct Going<'l> {
    location: http::HeaderValue,
    /// The rule that decided, if one did.
    decision: Option<Decision<'l>>,
}

/// Whether a link may be followed now.
enum Standing {
    Open,
    NotYet,
    Over(&'static str),
}

pub(super) fn visit(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    request: Request,
) -> impl Future<Output = Response> {
    // The body goes before the future is made: nobody reads it, and what the future holds is copied and shared. A connection
    // whose client has not sent all of it is closed after the answer.
    let (parts, _) = request.into_parts();
    async move { Visit::of(&app, &arrival, &parts).answer().await }
}

/// The answer to a request for a link that is in memory and can be served without waiting: nearly all of them, which
/// so are spared the router. Whatever else is asked for, or of another method, is the router's.
pub(crate) fn at_once<B>(app: &App, hop: &Hop, request: &http::Request<B>, probes: bool) -> Option<Response> {
    let method = request.method();
    if *method != Method::GET && *method != Method::HEAD {
        return None;
    }
    let visit = Visit::new(app, hop, method, request.uri(), request.headers(), request.extensions(), probes);
    let asked = visit.asked()?;
    let link = app.links.at_hand(asked.link(), hop.began())?;
    hop.route(asked.route());
    hop.code(&asked.code);
    hop.cache(Cache::L1);
    let Some(_place) = app.admit(hop, Class::Visit) else { return Some(pages::busy()) };
    if let Err(limited) = app.limits.visit(hop) {
        return Some(limit(app, hop, &limited));
    }
    visit.tell(&link);
    Some(visit.decide(&asked, &link).map_or_else(|answer| answer, |going| visit.go(&link, going)))
}

impl<'a> Visit<'a> {
    /// Takes all of an arrival, so that what holds a visit holds its place.
    pub(super) fn of(app: &'a App, arrival: &'a Arrival, parts: &'a Parts) -> Self {
        let probes = probe::is_probe(&parts.headers, &app.config.http);
        Self::new(app, &arrival.hop, &parts.method, &parts.uri, &parts.headers, &parts.extensions, probes)
    }

    fn new(
        app: &'a App,
        hop: &'a Hop,
        method: &'a Method,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        extensions: &Extensions,
        probes: bool,
    ) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let host = client_addr::host(peer, uri, headers, &app.config.http).unwrap_or_default();
        Self { app, hop, method, uri, headers, host, peer, probes }
    }

    /// Whether somebody is sent somewhere by it. HEAD, what a browser fetches ahead, which its user may never open, and our
    /// own probes look and take nothing.
    pub(super) fn follows(&self) -> bool {
        let mut purposes = PURPOSES.iter().filter_map(|name| self.headers.get(name));
        // `Sec-Purpose` may have parameters.
        let is_prefetch = |purpose: &[u8]| {
            let purpose = purpose.trim_ascii();
            purpose.eq_ignore_ascii_case(b"prefetch") || purpose.eq_ignore_ascii_case(b"preview")
        };
        *self.method != Method::HEAD
            && !self.probes
            && !purposes
                .any(|purpose| purpose.as_bytes().split(|byte| *byte == b';').next().is_some_and(is_prefetch))
    }

    /// Whether all links take the method.
    fn reads(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }

    /// The answer to another method than a path takes. One of several segments, or none, takes any only where a link is.
    fn refused_method(&self, is_link: bool) -> Response {
        let has_one_segment = self.uri.path().strip_prefix('/').is_some_and(|path| !path.contains('/'));
        if !has_one_segment && !is_link {
            self.hop.error_type("no_route");
            return pages::not_found();
        }
        self.hop.error_type("method_not_allowed");
        pages::method_not_allowed(if has_one_segment { ALLOW } else { "GET, HEAD" })
    }

    /// The domain that was asked for, by its name in the store.
    pub(super) fn domain(&self) -> Cow<'a, str> {
        self.app.domains.named(self.host)
    }

    pub(super) async fn answer(self) -> Response {
        let Some(asked) = self.asked() else {
            self.hop.cache(Cache::None);
            if !self.reads() {
                return self.refused_method(false);
            }
            return orphan::answer(self, Orphan::Regular404, "no_route", pages::not_found);
        };
        if asked.preview {
            self.hop.route(PREVIEW_ROUTE);
        }
        self.hop.code(&asked.code);
        let link = match self.look_up(&asked).await {
            Ok(link) => link,
            Err(response) => return response,
        };
        self.hop.route(asked.route());
        self.tell(&link);
        let status = answer::status(&self.app.config.redirect, &link);
        if !self.reads() && (asked.preview || !status.keeps_method()) {
            return self.refused_method(true);
        }
        let going = match self.decide(&asked, &link) {
            Ok(going) => going,
            Err(answer) => return answer,
        };
        // Last, when nothing can keep the visitor from going: a visit that leads nowhere is none.
        if link.max_visits.is_some()
            && self.follows()
            && let Err(answer) = self.take(&link).await
        {
            return answer;
        }
        self.go(&link, going)
    }

    /// Takes one of the visits of a link that has so many, or says why not.
    async fn take(&self, link: &CachedLink) -> Result<(), Response> {
        match self.app.links.take_visit(self.hop, link).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(orphan::answer(*self, Orphan::InvalidShortUrl, "exhausted", pages::gone)),
            Err(error) => {
                self.hop.fail(error.kind(), &error);
                Err(pages::unavailable())
            }
        }
    }

    /// Nothing when the path can't be a code.
    fn asked(&self) -> Option<Asked<'a>> {
        let path = self.uri.path().strip_prefix('/')?;
        let (path, preview) = match path.strip_suffix('+') {
            Some(path) => (path, true),
            None => (path, false),
        };
        let code = decode(path)?;
        let bytes_max = self.app.config.links.slug_bytes_max.max(CODE_LENGTH_MAX as usize);
        is_possible(&code, bytes_max).then(|| Asked { domain: self.domain(), code, preview })
    }

    async fn look_up(&self, asked: &Asked<'_>) -> Result<Arc<CachedLink>, Response> {
        // Who has asked for many unknown codes gets what is in memory, popular links, and learns nothing of the rest.
        if let Err(limited) = self.app.limits.look_up(self.hop)
            && !self.app.cache.holds(asked.link())
            && !self.app.cache.holds(LinkRef::on_default(&asked.code))
        {
            return Err(limit(self.app, self.hop, &limited));
        }
        let lookup = self.app.links.look_up(self.hop, asked.link()).await.map_err(|error| {
            if let Some(breaker) = error.breaker() {
                self.hop.breaker(breaker);
            }
            self.hop.fail(error.kind(), &error);
            pages::unavailable()
        })?;
        lookup.note(self.hop);
        lookup.link.ok_or_else(|| {
            if let Err(limited) = self.app.limits.unknown_code(self.hop) {
                return limit(self.app, self.hop, &limited);
            }
            if !self.reads() {
                return self.refused_method(false);
            }
            if asked.preview {
                self.hop.error_type("unknown_code");
                pages::not_found()
            } else if asked.code.contains('/') {
                orphan::answer(*self, Orphan::Regular404, "no_route", pages::not_found)
            } else {
                orphan::answer(*self, Orphan::InvalidShortUrl, "unknown_code", pages::not_found)
            }
        })
    }

    /// Tells the hop which link it is. Its domain is the link's: the default one's links are found on all of them.
    fn tell(&self, link: &CachedLink) {
        if *link.domain != *DEFAULT_DOMAIN {
            self.hop.domain(&link.domain);
        }
        self.hop.link(link.id.cast_unsigned(), link.version);
        self.hop.target_host(&link.target_host);
    }

    /// The answer where the link may not be followed now, or not by this visitor.
    fn unfollowed(&self, asked: &Asked<'_>, link: &CachedLink) -> Option<Response> {
        if self.app.blocklist.blocks(&link.target_host) {
            return Some(self.blocked());
        }
        let (why, page): (_, fn() -> Response) = match standing(link) {
            // Of a link with a limit the target is what each visit is counted for.
            Standing::Open if link.max_visits.is_some() && asked.preview => {
                return Some(pages::limited_preview(&self.short_url(asked, link), link.title.as_deref()));
            }
            // Who takes no visit does not learn where such a link leads, but for our own probes.
            Standing::Open if link.max_visits.is_some() && !self.follows() && !self.probes => {
                return Some(self.only_looked_at());
            }
            Standing::Open => return None,
            Standing::NotYet => ("not_yet_valid", pages::not_found),
            Standing::Over(why) => (why, pages::gone),
        };
        if asked.preview {
            self.hop.error_type(why);
            return Some(page());
        }
        Some(orphan::answer(*self, Orphan::InvalidShortUrl, why, page))
    }

    /// Where the visitor goes, or the answer where that is nowhere or only looked at. Nothing is taken or counted yet.
    #[allow(clippy::result_large_err)] // it is the answer, and goes no further up
    fn decide<'l>(&self, asked: &Asked<'_>, link: &'l CachedLink) -> Result<Going<'l>, Response> {
        if let Some(answer) = self.unfollowed(asked, link) {
            return Err(answer);
        }
        let query = self.uri.query().unwrap_or_default();
        let decision = (!link.rules.is_empty()).then(|| link.rules.decide(&self.visitor(query))).flatten();
        let (location, target_host) = match &decision {
            Some(decision) => (decision.location, decision.target_host),
            None => (&link.location, &*link.target_host),
        };
        if decision.is_some() && self.app.blocklist.blocks(target_host) {
            return Err(self.blocked());
        }
        if self.leads_here(location) {
            self.hop.error_type("redirect_loop");
            return Err(pages::not_found());
        }
        let forwarded = Some(query).filter(|query| link.forward_query && !query.is_empty());
        let location = forwarded
            .and_then(|query| query::merge(location, query, self.app.config.links.url_bytes_max))
            .unwrap_or_else(|| location.clone());
        let going = Going { location, decision };
        if asked.preview { Err(self.preview(asked, link, &going)) } else { Ok(going) }
    }

    /// Where this visitor would be led, and where others would be.
    fn preview(&self, asked: &Asked<'_>, link: &CachedLink, going: &Going<'_>) -> Response {
        let this = going.decision.as_ref().map_or(&link.location, |decision| decision.location);
        let mut others = Vec::new();
        let mut some_blocked = false;
        for (location, target_host) in link.rules.targets().chain([(&link.location, &*link.target_host)]) {
            if self.app.blocklist.blocks(target_host) {
                some_blocked = true;
            } else if location != this && !others.contains(&location) {
                others.push(location);
            }
        }
        let others: Vec<_> = others.into_iter().map(|other| other.to_str().unwrap_or_default()).collect();
        let target = going.location.to_str().unwrap_or_default();
        let others = Others { targets: &others, some_blocked };
        pages::preview(&self.short_url(asked, link), target, link.title.as_deref(), &others)
    }

    fn short_url(&self, asked: &Asked<'_>, link: &CachedLink) -> String {
        self.app.short_url(LinkRef { domain: &link.domain, code: &asked.code })
    }

    fn go(&self, link: &CachedLink, going: Going<'_>) -> Response {
        if let Some(decision) = &going.decision {
            self.hop.rule(decision.place);
            self.hop.target_host(decision.target_host);
        }
        let follows = self.follows();
        if follows {
            self.hop.click();
        }
        answer::redirect(&self.app.config.redirect, link, going.location, follows)
    }

    /// A link with a limit is there, and would have to be followed.
    fn only_looked_at(&self) -> Response {
        if *self.method == Method::HEAD {
            return pages::there();
        }
        self.hop.error_type("prefetch_of_limited");
        pages::not_ahead()
    }

    /// The host that the link leads to has come onto a blocklist.
    fn blocked(&self) -> Response {
        self.hop.error_type("target_blocked");
        pages::blocked()
    }

    /// Whether a location is a URL of ours, whatever is there: from one to the next a browser could go on for ever. By the
    /// host that was asked for, those of the configuration, and the domains that are known now.
    pub(super) fn leads_here(&self, location: &http::HeaderValue) -> bool {
        let url = location.as_bytes();
        let (rest, default_port) = match (url.strip_prefix(b"https://"), url.strip_prefix(b"http://")) {
            (Some(rest), _) => (rest, 443),
            (None, Some(rest)) => (rest, 80),
            (None, None) => return false,
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let authority = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        self.app.target_policy.own_hosts.contains_authority(authority, default_port)
            || self.app.domains.is_ours(authority, self.host)
    }

    fn visitor(&self, query: &'a str) -> Visitor<'a> {
        let country =
            self.peer.and_then(|peer| client_addr::country(peer, self.headers, &self.app.config.http));
        Visitor::new(self.headers, query, self.hop.client(), country, now(), &self.app.agents)
    }
}

impl Asked<'_> {
    fn link(&self) -> LinkRef<'_> {
        LinkRef { domain: &self.domain, code: &self.code }
    }

    fn route(&self) -> &'static str {
        if self.preview {
            PREVIEW_ROUTE
        } else if self.code.contains('/') {
            ROUTE_OF_SEVERAL
        } else {
            ROUTE
        }
    }
}

/// The alias in a path. Nothing when it is no UTF-8, or hides a slash.
fn decode(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    (slashes(&decoded) == slashes(path)).then_some(decoded)
}

fn standing(link: &CachedLink) -> Standing {
    if link.valid_since.is_none() && link.valid_until.is_none() && link.max_visits.is_none() {
        return Standing::Open;
    }
    let now = now();
    if link.valid_since.is_some_and(|since| now < since) {
        Standing::NotYet
    } else if link.valid_until.is_some_and(|until| now >= until) {
        Standing::Over("expired")
    } else if link.is_exhausted() {
        Standing::Over("exhausted")
    } else {
        Standing::Open
    }
}
