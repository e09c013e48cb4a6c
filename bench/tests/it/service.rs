//! A small shortener in memory that counts what it sees.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bench::Target;
use serde_json::{Value, json};

/// What the service knows and has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) links: BTreeMap<String, String>,
    pub(crate) clicks: BTreeMap<String, u64>,
    pub(crate) unknown: u64,
    pub(crate) headers: Vec<HeaderMap>,
}

type Shared = Arc<Mutex<Seen>>;

async fn create(State(seen): State<Shared>, headers: HeaderMap, body: String) -> Response {
    if headers.get("x-api-key").is_none_or(|key| key != "key") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    let long_url = body["longUrl"].as_str().unwrap().to_owned();
    if long_url.contains("refuse-me") {
        return (StatusCode::BAD_REQUEST, json!({"type": "invalid-data"}).to_string()).into_response();
    }
    let mut seen = seen.lock().unwrap();
    let code = body["customSlug"].as_str().map_or_else(|| format!("c{}", seen.links.len()), str::to_owned);
    seen.links.insert(code.clone(), long_url);
    json!({ "shortCode": code }).to_string().into_response()
}

async fn follow(State(seen): State<Shared>, Path(code): Path<String>, request: Request) -> Response {
    let mut seen = seen.lock().unwrap();
    let known = seen.links.get(&code).cloned();
    seen.headers.push(request.headers().clone());
    match known {
        Some(long_url) => {
            if request.method() == "GET" {
                *seen.clicks.entry(code).or_default() += 1;
            }
            (StatusCode::FOUND, [(header::LOCATION, long_url)]).into_response()
        }
        None => {
            seen.unknown += 1;
            (StatusCode::NOT_FOUND, "not here").into_response()
        }
    }
}

async fn serve(router: Router) -> Target {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Target::parse(&format!("http://{address}"), "key").unwrap()
}

/// Starts it.
pub(crate) async fn start() -> (Target, Shared) {
    let seen = Shared::default();
    let router = Router::new()
        .route("/rest/v3/short-urls", post(create))
        .route("/{code}", get(follow))
        .with_state(Arc::clone(&seen));
    (serve(router).await, seen)
}

/// A service that creates links and then answers nothing any more.
pub(crate) async fn start_hanging() -> Target {
    let hang = || std::future::pending::<Response>();
    let seen = Shared::default();
    let router = Router::new().route("/rest/v3/short-urls", post(create)).route("/{code}", get(hang));
    serve(router.with_state(seen)).await
}
