//! A service with a handler for each way to end, behind a real server; and a client that can misbehave.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use emitter::{Emitter, Hop, System, Wait};
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wide_event::Orphan;

/// A body of given frames that then ends, waits for ever, fails or panics.
pub(crate) struct Frames(pub(crate) usize, pub(crate) Then);

#[derive(Clone, Copy)]
pub(crate) enum Then {
    End,
    Wait,
    Fail,
    Panic,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.0 > 0 {
            self.0 -= 1;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"0123456789")))));
        }
        match self.1 {
            Then::End => Poll::Ready(None),
            Then::Wait => Poll::Pending,
            Then::Fail => Poll::Ready(Some(Err(std::io::Error::other("disk gone")))),
            Then::Panic => panic!("the body panics"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("link store")]
struct StoreError(#[source] std::io::Error);

async fn redirect(hop: Hop, Path(code): Path<String>) -> Response {
    hop.domain("s.example");
    hop.code(&code);
    hop.link(42, 3);
    hop.rule(2);
    hop.target_host("example.org");
    hop.click();
    hop.cache(wide_event::Cache::Store);
    hop.coalesced();
    let began = Instant::now();
    for (system, operation, took_us, failed) in [
        (System::Postgresql, "find", 1_500, true),
        (System::Sqlite, "take_visit", 500, false),
        (System::Redis, "get", 70, false),
    ] {
        hop.waited(&Wait { system, operation, began, took: Duration::from_micros(took_us), failed });
    }
    hop.country("de");
    (StatusCode::FOUND, [(header::LOCATION, "https://example.org/secret-path?token=hunter2")]).into_response()
}

async fn orphan(hop: Hop, uri: Uri) -> StatusCode {
    hop.orphan(Orphan::Regular404, &uri.to_string());
    StatusCode::NOT_FOUND
}

async fn broken(hop: Hop) -> StatusCode {
    hop.breaker("store");
    hop.fail("store_unavailable", &StoreError(std::io::Error::other("connect to 10.9.8.7:5432 refused")));
    StatusCode::SERVICE_UNAVAILABLE
}

async fn endless() -> StatusCode {
    std::future::pending().await
}

fn body(frames: usize, then: Then) -> Response {
    Response::new(Body::new(Frames(frames, then)))
}

/// A service whose routes are named after how they end.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/{code}", get(redirect))
        .route("/orphan/{*path}", get(orphan))
        .route("/end/missing", get(|| async { StatusCode::NOT_FOUND }))
        .route("/end/broken", get(broken))
        .route(
            "/end/panic",
            get(|| async {
                if true {
                    panic!("index 17 out of range")
                }
            }),
        )
        .route(
            "/end/shed",
            get(async |hop: Hop| {
                hop.shed("in_flight");
                StatusCode::SERVICE_UNAVAILABLE
            }),
        )
        .route(
            "/end/limited",
            get(async |hop: Hop| {
                hop.rate_limited("api_key");
                hop.api_key_id("key-7");
                StatusCode::TOO_MANY_REQUESTS
            }),
        )
        .route("/end/never", get(endless))
        .route("/end/stream", get(|| async { body(3, Then::End) }))
        .route("/end/stuck", get(|| async { body(2, Then::Wait) }))
        .route("/end/torn", get(|| async { body(2, Then::Fail) }))
        .route("/end/burst", get(|| async { body(2, Then::Panic) }))
        .route("/end/echo", post(|body: Bytes| async move { body }))
        .route(
            "/end/probe",
            get(async |hop: Hop| {
                hop.synthetic();
                hop.forced();
                hop.https();
                hop.client_address("198.51.100.77".parse().unwrap());
            }),
        )
}

/// Serves the router behind the layer, on a port of its own.
pub(crate) async fn serve(emitter: &Emitter) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router().layer(emitter.layer()).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    address
}

/// Sends a head (lines, without the empty one) and a body; returns the connection.
pub(crate) async fn send(address: SocketAddr, head: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{}\r\n\r\n{body}", head.trim().replace('\n', "\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Sends a GET and reads the answer to the end of the connection.
pub(crate) async fn get_path(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\nhost: hop.example:8080\nconnection: close"), "").await
}

pub(crate) async fn exchange(address: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = send(address, head, body).await;
    let mut answer = Vec::new();
    // A connection that is reset has said what it had to say.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until the text was seen.
pub(crate) async fn read_until(stream: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "the connection ended before {text:?}");
    }
}

/// A tower service that fails without an answer.
pub(crate) async fn failing(_: axum::http::Request<emitter::RequestBody<Body>>) -> Result<Response, Gone> {
    Err(Gone)
}

#[derive(Debug, thiserror::Error)]
#[error("the inner service is gone")]
pub(crate) struct Gone;
