//! Cross-origin rules for browser clients: preflights are answered here, before keys and limits, and every answer of
//! the API says which pages may read it. There are no cookies, so no credentials are allowed for.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::service::App;
use emitter::Hop;

/// Methods that the API has.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Header fields that the API reads. Named and not `*`, which older browsers take for a name.
const REQUEST_FIELDS: HeaderValue = HeaderValue::from_static(
    "X-Api-Key, Content-Type, Accept, If-Match, If-None-Match, Idempotency-Key, X-Request-Id, traceparent, tracestate",
);

/// Header fields of answers that pages may read besides the few that they always may.
const ANSWER_FIELDS: HeaderValue = HeaderValue::from_static(
    "ETag, Location, Link, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, Idempotency-Replayed, \
     Content-Disposition",
);

/// Seconds for which browsers need not ask again. Chromium keeps no more than two hours; one is few questions already.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("3600");

/// Around every route of the API.
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    // Names the route also of what is answered here.
    _hop: Hop,
    request: Request,
    next: Next,
) -> Response {
    let allowed = allowed(&app.config.api.cors_origins, request.headers());
    let mut response = match is_preflight(&request) {
        true => preflight(allowed.is_some()),
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    if !app.config.api.cors_origins.iter().any(|origin| origin == "*") {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_FIELDS);
    }
    response
}

/// What `Access-Control-Allow-Origin` says; nothing for pages that may not.
fn allowed(origins: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    if origins.iter().any(|origin| origin == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    let given = headers.get(header::ORIGIN)?;
    origins.iter().any(|origin| origin.as_bytes() == given.as_bytes()).then(|| given.clone())
}

/// Other `OPTIONS` ask what a path can do.
fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(allowed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_FIELDS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    }
    response
}
