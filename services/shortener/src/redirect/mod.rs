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
use axum::routing::{any, get};
use bytes::Bytes;
use emitter::Hop;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use url::Url;
use wide_event::Orphan;

use crate::admission::{Admission, Class, Place};
use crate::limits::Limited;
use crate::service::App;
use crate::store::StoreError;
use visit::Visit;

/// Methods of every path at the root, for `Allow`; some links take more.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Bytes of `/robots.txt` at most: robots read at least as many, and may leave what follows (RFC 9309, 2.5).
const ROBOTS_BYTES_MAX: usize = 500 << 10;

/// Links looked at for it: as many as these bytes have room for with codes of the default length.
const ROBOTS_LINKS_MAX: u32 = 30_000;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(base).options(options))
        .route("/robots.txt", get(robots).options(options))
        .route("/favicon.ico", get(favicon).options(options))
        .route("/{code}", any(visit::visit).options(options))
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
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOW));
    response
}

async fn refused_method(arrival: Arrival) -> Response {
    arrival.hop.error_type("method_not_allowed");
    pages::method_not_allowed(ALLOW)
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
        if parts.method != Method::OPTIONS {
            return Visit::of(&app, &arrival, &parts).answer().await;
        }
        arrival.hop.error_type("no_route");
        pages::not_found()
    }
}

async fn favicon(_: Arrival) -> Response {
    pages::favicon()
}

/// Of the links of the domain that was asked. Those of the default one are found on others, too, and named on their own.
fn robots(State(app): State<Arc<App>>, arrival: Arrival, request: Request) -> impl Future<Output = Response> {
    let (parts, _) = request.into_parts();
    async move {
        let domain = Visit::of(&app, &arrival, &parts).domain();
        let hop = &arrival.hop;
        let text = app.robots.try_get_with::<_, StoreError>(domain.as_ref().into(), async {
            let codes = app.links.crawlable(hop, &domain, ROBOTS_LINKS_MAX).await?;
            Ok(robots_text(&app.base_url, &codes))
        });
        match text.await {
            Ok(text) => pages::robots(text),
            Err(error) => {
                hop.fail(error.kind(), &*error);
                pages::unavailable()
            }
        }
    }
}

/// Paths as they are in short URLs, since robots compare byte by byte; `*` and `$` have a meaning here (RFC 9309, 2.2.3).
/// Codes that there is no room for are left out: `codes` begins with those that matter most.
fn robots_text(base_url: &Url, codes: &[String]) -> Bytes {
    const END: &str = "Disallow: /\n";
    let mut url = base_url.clone();
    let mut text = String::from("User-agent: *\n");
    for code in codes {
        url.set_path(code);
        let path = url.path().replace('*', "%2A").replace('$', "%24");
        let line = ["Allow: ", &path, "$\n"];
        if text.len() + line.map(str::len).iter().sum::<usize>() + END.len() > ROBOTS_BYTES_MAX {
            break;
        }
        text.extend(line);
    }
    text.push_str(END);
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

    #[test]
    fn robots_are_told_no_more_than_they_read() {
        let url = Url::parse("https://s.example/").unwrap();
        let codes: Vec<_> = (0..ROBOTS_LINKS_MAX).map(|n| format!("{n:07}")).collect();
        let text = robots_text(&url, &codes);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), codes.len() + 2, "all of them fit");
        let codes: Vec<_> = codes.iter().map(|code| format!("{code}-{}", "\u{e4}".repeat(100))).collect();
        let text = robots_text(&url, &codes);
        assert!((ROBOTS_BYTES_MAX - 700..=ROBOTS_BYTES_MAX).contains(&text.len()), "{}", text.len());
        assert!(
            text.starts_with(b"User-agent: *\nAllow: /0000000-%C3%A4") && text.ends_with(b"$\nDisallow: /\n")
        );
    }
}
