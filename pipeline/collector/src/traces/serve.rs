//! The listener of the receiver: gRPC and HTTP on one port, told apart by a connection's first bytes and a request's content
//! type; limits on everything that a client decides. What an export is, is not known here.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::body::Arriving;
use super::receive::Receiver;
use super::{grpc, http as otlp_http};

/// Connections at once: one for each process that exports; further ones wait in the system's backlog.
const CONNECTIONS_MAX: usize = 256;
/// Calls at once on one connection: exporters make one or two.
const STREAMS_MAX: u32 = 16;
/// Head of a request, bytes: hyper's least for HTTP/1 is 8,192, and exporters send some hundred.
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// From a connection to its first request's head, and from head to head over HTTP/1: exporters reconnect by themselves.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// A connection over HTTP/2 without traffic is asked this often whether somebody is there, and given as long to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
/// After a failed accept. It fails for want of file descriptors, which come back as connections end.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Between two looks at a connection that has sent less than four bytes.
const PEEK_AGAIN: Duration = Duration::from_millis(10);
/// How long requests under way may take at the end: an insert, and far below what a container is given to stop.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Serves until `shutdown`, then until requests under way are answered.
pub(super) async fn serve(tcp: TcpListener, receiver: Arc<Receiver>, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&tcp, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let connection = connection(stream, Arc::clone(&receiver), shutdown.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a connection could not be accepted"
                );
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(tcp);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    // Who is not done then is cut off, and sends its spans to whoever comes next.
    let _ = tokio::time::timeout(DRAIN_MAX, places.acquire_many(all)).await;
}

async fn accept(
    tcp: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = tcp.accept().await?;
    // Answers are one small write each.
    let _ = stream.set_nodelay(true);
    Ok((stream, place))
}

async fn connection(stream: TcpStream, receiver: Arc<Receiver>, shutdown: CancellationToken) {
    receiver.metrics.connections.inc();
    let metrics = receiver.metrics.clone();
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let asked = Arc::clone(&asked);
        service_fn(move |request| {
            asked.store(true, Ordering::Relaxed);
            answer(Arc::clone(&receiver), request)
        })
    };
    let http2 = tokio::select! {
        http2 = tokio::time::timeout(HEAD_MAX, is_http2(&stream)) => http2.ok(),
        () = shutdown.cancelled() => None,
    };
    // How a connection ends is its client's affair: what it sent is answered, or comes again.
    macro_rules! run {
        ($connection:expr) => {{
            let mut connection = std::pin::pin!($connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                () = silent(&asked) => {}
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }};
    }
    match http2 {
        None => {}
        Some(true) => {
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
            http.max_header_list_size(HEAD_BYTES_MAX).keep_alive_interval(PING_EVERY);
            http.keep_alive_timeout(PING_EVERY);
            run!(http.serve_connection(TokioIo::new(stream), service));
        }
        Some(false) => {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
            http.max_buf_size(HEAD_BYTES_MAX as usize);
            run!(http.serve_connection(TokioIo::new(stream), service));
        }
    }
    metrics.connections.dec();
}

/// Whether a connection begins as HTTP/2 does. Nothing is taken from it.
async fn is_http2(stream: &TcpStream) -> bool {
    const BEGINNING: &[u8; 4] = b"PRI ";
    let mut seen = [0; BEGINNING.len()];
    loop {
        match stream.peek(&mut seen).await {
            Ok(count) if count == seen.len() => return seen == *BEGINNING,
            Ok(count) if count > 0 && BEGINNING.starts_with(&seen[..count]) => {
                tokio::time::sleep(PEEK_AGAIN).await;
            }
            Ok(_) | Err(_) => return false,
        }
    }
}

/// Returns when a connection has not asked for anything for so long; never, once it has.
async fn silent(asked: &AtomicBool) {
    tokio::time::sleep(HEAD_MAX).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

async fn answer(receiver: Arc<Receiver>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let content_type = request.headers().get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    let is_grpc = content_type.is_some_and(|content_type| content_type.starts_with(b"application/grpc"));
    let metrics = receiver.metrics.clone();
    let (protocol, response) = match (request.uri().path(), is_grpc) {
        (grpc::PATH, true) => match receiver.admit() {
            Ok(place) => ("grpc", grpc::call(receiver, request.map(|body| Arriving::new(body, place))).await),
            Err(refusal) => ("grpc", grpc::refuse(&refusal)),
        },
        (_, true) => ("grpc", grpc::unknown_method()),
        (otlp_http::PATH, false) => ("http", otlp_http::call(receiver, request).await),
        _ => ("http", otlp_http::empty(StatusCode::NOT_FOUND)),
    };
    metrics.answered(protocol, outcome(&response));
    Ok(response)
}

/// What an exporter makes of an answer.
fn outcome(response: &Response<Body>) -> &'static str {
    match (response.status(), response.extensions().get::<tonic::Status>().map(tonic::Status::code)) {
        (StatusCode::OK, None | Some(tonic::Code::Ok)) => "taken",
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _)
        | (_, Some(tonic::Code::Unavailable)) => "retry",
        _ => "refused",
    }
}
