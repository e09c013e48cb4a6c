//! The listener for machines and on-call: metrics, liveness, readiness. Never on the public port.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

/// What a role lets the outside know of itself.
pub(crate) struct Ops {
    /// All metrics of the process; parts that come up later add theirs.
    pub registry: Arc<Mutex<Registry>>,
    /// Appends metrics that a registry can't have: a histogram with exemplars.
    pub further: Box<dyn Fn(&mut String) + Send + Sync>,
    /// Whether the role should get traffic now.
    pub readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
}

/// Whether a role should get traffic.
pub(crate) enum Readiness {
    /// It should.
    Ready,
    /// It should, and something of it does not work.
    Degraded(String),
    /// It should not.
    NotReady(String),
}

/// A registry that says which build this is: failures are told apart by version only here, for a version on every counter
/// would make each of them start anew with a release.
pub(crate) fn registry(version: &str) -> Registry {
    let mut registry = Registry::default();
    let build = Info::new(vec![("version", version.to_owned())]);
    registry.sub_registry_with_prefix("hoplog").register("build", "The build of this process", build);
    registry
}

/// Takes the address, so that what is in its way shows at once.
///
/// # Errors
/// When it can't be bound.
pub(crate) async fn bind(listen: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(listen).await.with_context(|| format!("can't listen on {listen} (ops)"))
}

/// Serves the ops endpoints until `shutdown` is done.
///
/// # Errors
/// When the listener breaks.
pub(crate) async fn serve(
    listener: TcpListener,
    ops: Ops,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(ops));
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await.context("the ops listener broke")
}

/// Nothing under this lock leaves the registry half changed.
pub(crate) fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn metrics(State(ops): State<Arc<Ops>>) -> Response {
    let mut text = String::new();
    let encoded = encode_registry(&mut text, &lock(&ops.registry)).and_then(|()| {
        (ops.further)(&mut text);
        encode_eof(&mut text)
    });
    match encoded {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn readyz(State(ops): State<Arc<Ops>>) -> Response {
    match (ops.readiness)() {
        Readiness::Ready => "ready\n".into_response(),
        Readiness::Degraded(what) => format!("ready, but: {what}\n").into_response(),
        Readiness::NotReady(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
