//! What visitors see: redirects, previews, and the few other paths at the root.
//! A redirect of a cached link waits for nothing but, with `maxVisits`, the store.

mod pages;
mod query;
mod visit;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::admission::Class;
use crate::hop::Fact;
use crate::service::App;

/// Links named in `/robots.txt`; robots read the first 500 KiB of it.
const ROBOTS_LINKS_MAX: u32 = 1_000;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(base).options(options))
        .route("/robots.txt", get(robots).options(options))
        .route("/favicon.ico", get(favicon).options(options))
        .route("/{code}", get(visit::visit).options(options))
        .fallback(not_found)
}

async fn options() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

async fn base(State(app): State<Arc<App>>, request: Request) -> Response {
    match app.arrive(&request, Class::Visit) {
        (_, Some(_place)) => pages::base(),
        _ => pages::busy(),
    }
}

async fn not_found(State(app): State<Arc<App>>, request: Request) -> Response {
    match app.arrive(&request, Class::Visit) {
        (hop, Some(_place)) => {
            hop.record(Fact::Failed("no_route", None));
            pages::not_found()
        }
        _ => pages::busy(),
    }
}

async fn favicon(State(app): State<Arc<App>>, request: Request) -> Response {
    match app.arrive(&request, Class::Visit) {
        (_, Some(_place)) => pages::favicon(),
        _ => pages::busy(),
    }
}

async fn robots(State(app): State<Arc<App>>, request: Request) -> Response {
    let (hop, Some(_place)) = app.arrive(&request, Class::Visit) else { return pages::busy() };
    if let Some(text) = app.robots.get(&()) {
        return pages::robots(text);
    }
    match app.links.crawlable(&hop, ROBOTS_LINKS_MAX).await {
        Ok(codes) => {
            let text = robots_text(&codes);
            app.robots.insert((), text.clone());
            pages::robots(text)
        }
        Err(error) => {
            hop.record(Fact::Failed(error.kind(), Some(&error)));
            pages::unavailable()
        }
    }
}

fn robots_text(codes: &[String]) -> Bytes {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let mut text = String::from("User-agent: *\n");
    for code in codes {
        text.push_str("Allow: /");
        text.extend(utf8_percent_encode(code, NON_ALPHANUMERIC));
        text.push_str("$\n");
    }
    text.push_str("Disallow: /\n");
    Bytes::from(text)
}
