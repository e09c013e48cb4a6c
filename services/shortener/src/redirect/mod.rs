//! What visitors see: redirects, previews, and the few other paths at the root.
//! A redirect of a cached link waits for nothing but, with `maxVisits`, the store.

mod answer;
mod orphan;
mod pages;
mod query;
mod rules;
mod visit;

pub(crate) use rules::Rules;
pub use visit::VISIT_ROUTES;
pub(crate) use visit::at_once;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use emitter::Hop;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use url::Url;
use wide_event::Orphan;

use crate::admission::{Admission, Class, Place};
use crate::limits::Limited;
use crate::service::App;
use visit::Visit;

/// Links named in `/robots.txt`; robots read the first 500 KiB of it.
const ROBOTS_LINKS_MAX: u32 = 1_000;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(base).options(options))
        .route("/robots.txt", get(robots).options(options))
        .route("/favicon.ico", get(favicon).options(options))
        .route("/{code}", get(visit::visit).options(options))
        .method_not_allowed_fallback(refused_method)
        .fallback(several)
}

/// What every handler here takes first, so that none serves without it: the hop, which learns its route, and a
/// place under the limits for as long as the handler runs.
struct Arrival {
    hop: Hop,
    _place: Place<Arc<Admission>>,
}

impl FromRequestParts<Arc<App>> for Arrival {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let Ok(hop) = Hop::from_request_parts(parts, app).await;
        let place = app.admit_owned(&hop, Class::Visit).ok_or_else(pages::busy)?;
        app.limits.visit(&hop).map_err(|limited| limit(app, &hop, &limited))?;
        Ok(Self { hop, _place: place })
    }
}

/// The client asks too often.
fn limit(app: &App, hop: &Hop, limited: &Limited) -> Response {
    app.refuse(hop, limited);
    pages::limited(limited.retry_after_s())
}

async fn options(_: Arrival) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

async fn refused_method(arrival: Arrival) -> Response {
    arrival.hop.error_type("method_not_allowed");
    // The router adds `Allow`.
    pages::method_not_allowed()
}

/// `/` is no error: who finds no redirect there gets a page.
fn base(State(app): State<Arc<App>>, arrival: Arrival, request: Request) -> impl Future<Output = Response> {
    let (parts, _) = request.into_parts();
    async move {
        let visit = Visit::of(&app, &arrival, &parts);
        orphan::answer(visit, Orphan::BaseUrl, "", pages::base)
    }
}

/// Paths of several segments. No route of the router's: it takes none beside `/{code}`.
fn several(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    request: Request,
) -> impl Future<Output = Response> {
    let (parts, _) = request.into_parts();
    async move {
        if matches!(parts.method, Method::GET | Method::HEAD) {
            return Visit::of(&app, &arrival, &parts).answer().await;
        }
        arrival.hop.error_type("no_route");
        pages::not_found()
    }
}

async fn favicon(_: Arrival) -> Response {
    pages::favicon()
}

async fn robots(State(app): State<Arc<App>>, Arrival { hop, _place }: Arrival) -> Response {
    if let Some(text) = app.robots.get(&()) {
        return pages::robots(text);
    }
    match app.links.crawlable(&hop, ROBOTS_LINKS_MAX).await {
        Ok(codes) => {
            let text = robots_text(&app.base_url, &codes);
            app.robots.insert((), text.clone());
            pages::robots(text)
        }
        Err(error) => {
            hop.fail(error.kind(), &error);
            pages::unavailable()
        }
    }
}

/// Paths as they are in short URLs, since robots compare byte by byte; `*` and `$` have a meaning here (RFC 9309, 2.2.3).
fn robots_text(base_url: &Url, codes: &[String]) -> Bytes {
    let mut url = base_url.clone();
    let mut text = String::from("User-agent: *\n");
    for code in codes {
        url.set_path(code);
        let path = url.path().replace('*', "%2A").replace('$', "%24");
        text.extend(["Allow: ", &path, "$\n"]);
    }
    text.push_str("Disallow: /\n");
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn robots_are_told_paths_as_short_urls_have_them() {
        let url = Url::parse("https://s.example/").unwrap();
        let codes = ["a/b", "my-promo", "open.door_~", "gr\u{fc}\u{df}e", "*a$"].map(str::to_owned);
        let expected = "User-agent: *\nAllow: /a/b$\nAllow: /my-promo$\nAllow: /open.door_~$\n\
                        Allow: /gr%C3%BC%C3%9Fe$\nAllow: /%2Aa%24$\nDisallow: /\n";
        assert_eq!(robots_text(&url, &codes), expected);
    }
}
