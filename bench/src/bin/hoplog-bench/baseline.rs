//! The reference: what axum does when it redirects without looking anything up, counting or logging.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// Serves until the process is ended.
pub(crate) async fn serve(listen: SocketAddr) -> Result<()> {
    let router = Router::new().route("/{code}", get(redirect));
    let listener = tokio::net::TcpListener::bind(listen).await.context("could not listen")?;
    axum::serve(listener, router).await.context("the service ended")
}

async fn redirect() -> impl IntoResponse {
    // The headers that a real redirect carries, so that both write about the same bytes.
    let headers =
        [(header::LOCATION, "https://site.example/load/1/1"), (header::CACHE_CONTROL, "private, no-store")];
    (StatusCode::FOUND, headers)
}
