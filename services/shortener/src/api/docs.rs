//! `/rest/v3/docs`: a page to read the OpenAPI document and to try the API, with its style and its script.
//! It is static and loads nothing from elsewhere. The key that a reader enters stays in that page.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderName, HeaderValue, header};

use super::read_only;
use crate::service::App;

const PAGE: &str = include_str!("docs/page.html");
const STYLE: &str = include_str!("docs/style.css");
const SCRIPT: &str = include_str!("docs/script.js");

/// What the page may do: run and show what is served beside it, ask this service, and show images that it has fetched.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Asked for again each time, so that page, style, script and document are of one version.
const CACHED: HeaderValue = HeaderValue::from_static("no-cache");

/// What all three are answered with. Frames are forbidden by the policy, and for older browsers once more.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, CACHED),
];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/rest/v3/docs", read_only(get(async || file("text/html; charset=utf-8", PAGE))))
        .route("/rest/v3/docs/style.css", read_only(get(async || file("text/css; charset=utf-8", STYLE))))
        .route(
            "/rest/v3/docs/script.js",
            read_only(get(async || file("text/javascript; charset=utf-8", SCRIPT))),
        )
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.extend(HEADERS);
    response
}
