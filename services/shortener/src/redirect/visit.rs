//! `GET|HEAD /{code}` and `GET|HEAD /{code}+`.
//! Clicks are not counted here: the event of the hop is the click.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use wide_event::Cache;

use super::{Arrival, limit, pages, query};
use crate::cache::CachedLink;
use crate::codes::is_possible;
use crate::keys::now;
use crate::link::LinkRef;
use crate::service::App;
use emitter::Hop;

/// Route of the preview, which the router can't tell from a redirect.
const PREVIEW_ROUTE: &str = "/{code}+";

/// A redirect must be asked for again: an edit, an end of validity and the click depend on it.
static NOT_CACHED: HeaderValue = HeaderValue::from_static("private, no-store");

/// What browsers say when they fetch ahead: the standard field, and the one from before it.
static PURPOSES: [HeaderName; 2] =
    [HeaderName::from_static("sec-purpose"), HeaderName::from_static("purpose")];

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
    // The body goes before the future is made: nobody reads it, and what the future holds is copied and shared.
    let (parts, _) = request.into_parts();
    // All of `arrival` goes along: its place is given back when the answer is made.
    async move { answer(&app, &arrival, &parts).await }
}

async fn answer(app: &App, arrival: &Arrival, parts: &Parts) -> Response {
    let hop = &arrival.hop;
    let path = parts.uri.path().trim_start_matches('/');
    let (path, preview) = match path.strip_suffix('+') {
        Some(path) => (path, true),
        None => (path, false),
    };
    if preview {
        hop.route(PREVIEW_ROUTE);
    }
    let code = decode(path);
    let bytes_max = app.config.links.slug_bytes_max.max(crate::codes::CODE_LENGTH_MAX as usize);
    let Some(code) = code.filter(|code| is_possible(code, bytes_max)) else {
        hop.cache(Cache::None);
        hop.error_type("unknown_code");
        return pages::not_found();
    };
    hop.code(&code);
    let link = match look_up(app, hop, &code).await {
        Ok(link) => link,
        Err(response) => return response,
    };
    match standing(&link) {
        Standing::Open => {}
        Standing::NotYet => {
            hop.error_type("not_yet_valid");
            return pages::not_found();
        }
        Standing::Over(why) => {
            hop.error_type(why);
            return pages::gone();
        }
    }
    if preview {
        return pages::preview(
            &app.short_url(LinkRef::on_default(&code)),
            link.location.to_str().unwrap_or_default(),
            link.title.as_deref(),
        );
    }
    follow(app, hop, parts, &link).await
}

/// Whether a browser fetches ahead what its user may never open. `Sec-Purpose` may have parameters.
fn is_prefetch(headers: &HeaderMap) -> bool {
    let values = PURPOSES.iter().filter_map(|name| headers.get(name));
    values
        .filter_map(|value| value.as_bytes().split(|byte| *byte == b';').next())
        .any(|purpose| purpose.trim_ascii().eq_ignore_ascii_case(b"prefetch"))
}

/// The alias in a path. Nothing when it is no UTF-8.
fn decode(path: &str) -> Option<Cow<'_, str>> {
    if path.contains('%') { percent_decode_str(path).decode_utf8().ok() } else { Some(Cow::Borrowed(path)) }
}

async fn look_up(app: &App, hop: &Hop, code: &str) -> Result<Arc<CachedLink>, Response> {
    let name = LinkRef::on_default(code);
    // Who has asked for many unknown codes gets what is in memory, popular links, and learns nothing of the rest.
    if let Err(limited) = app.limits.look_up(hop)
        && !app.cache.holds(name)
    {
        return Err(limit(app, hop, &limited));
    }
    let lookup = app.links.look_up(name).await.map_err(|error| {
        hop.fail(error.kind(), &error);
        pages::unavailable()
    })?;
    hop.cache(lookup.tier);
    if lookup.coalesced {
        hop.coalesced();
    }
    if let Some(took) = lookup.store {
        hop.store(took);
    }
    let link = lookup.link.ok_or_else(|| {
        if let Err(limited) = app.limits.unknown_code(hop) {
            return limit(app, hop, &limited);
        }
        hop.error_type("unknown_code");
        pages::not_found()
    })?;
    hop.link(link.id.cast_unsigned(), link.version);
    hop.target_host(&link.target_host);
    Ok(link)
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

async fn follow(app: &App, hop: &Hop, request: &Parts, link: &CachedLink) -> Response {
    // HEAD and prefetching look and take nothing: nobody has followed the link yet.
    let follows = request.method == Method::GET && !is_prefetch(&request.headers);
    if link.max_visits.is_some() && follows {
        match app.links.take_visit(hop, link.id).await {
            Ok(true) => {}
            Ok(false) => {
                link.set_exhausted();
                hop.error_type("exhausted");
                return pages::gone();
            }
            Err(error) => {
                hop.fail(error.kind(), &error);
                return pages::unavailable();
            }
        }
    }
    if follows {
        hop.click();
    }
    let forwarded = request.uri.query().filter(|query| link.forward_query && !query.is_empty());
    let location = forwarded
        .and_then(|query| query::merge(&link.location, query, app.config.links.url_bytes_max))
        .unwrap_or_else(|| link.location.clone());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, NOT_CACHED.clone());
    response
}
