//! The public listener: an accept loop of our own on hyper, with limits on everything a client decides, a shutdown
//! that drains, and a report of each request that hyper refused before any service saw it.
//! It knows no routes and makes no events: it calls who does.

mod malformed;
mod peers;
mod stream;
mod timer;

pub use malformed::{Malformed, MalformedKind, OnMalformed};

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::extract::ConnectInfo;
use futures_util::future::Either;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::{Service, ServiceExt as _};

use crate::config::{HttpConfig, ShortenerConfig};
use crate::metrics::Metrics;
use peers::{PeerPlace, Peers};
use stream::{ClientStream, WriteLimit};
use timer::ConnectionTimer;

/// Pause after a failed accept. It fails for want of file descriptors, which come back as connections end.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Header fields of a request that hyper has room for without being told a number. Told one, even this, it fills that room
/// for each request before it reads into it.
const HEADERS_MAX_OF_HYPER: usize = 100;

/// Says that an answer is the last of its connection; hyper closes it then.
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// How long cut connections may take to go: they are dropped at their next poll.
const CUT_MAX: Duration = Duration::from_secs(1);

/// Why a connection is closed before it is served, in metrics: its client has as many as it may.
const REFUSED_CLIENT: &str = "client";

/// What connections are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Each answer is the last of its connection.
    Leaving,
    Draining,
    Cutting,
}

/// How a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections cut because they were not done at the deadline.
    pub cut: usize,
}

/// Serves `service` on `tcp` until `shutdown` is done and `http.drain_delay_ms` are over, in which each answer says that
/// its connection closes; then stops accepting, lets requests under way finish and answers when they have, or at the
/// deadline.
///
/// Each request carries its peer as `ConnectInfo<SocketAddr>`. `service` should hold the layer that makes events:
/// together with `on_malformed` it sees each request once.
pub async fn serve<S, B>(
    tcp: TcpListener,
    service: S,
    config: &ShortenerConfig,
    metrics: Metrics,
    on_malformed: Arc<dyn OnMalformed>,
    shutdown: impl Future<Output = ()>,
) -> Drained
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limits = &config.http;
    let connections_max = limits.connections_max.min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(connections_max));
    let peers = Peers::new(config);
    let (phase, phases) = watch::channel(Phase::Serving);
    let http = http(limits);
    let write_limit = WriteLimit::new(limits);
    let header_read = Duration::from_millis(limits.header_read_ms_max);
    let mut ending = pin!(async {
        shutdown.await;
        phase.send_replace(Phase::Leaving);
        tokio::time::sleep(Duration::from_millis(limits.drain_delay_ms)).await;
    });
    loop {
        let (stream, peer, place) = tokio::select! {
            biased;
            () = &mut ending => break,
            accepted = accept(&tcp, &places, &peers, &metrics) => accepted,
        };
        // Answers are one small write each: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        metrics.connections_accepted.inc();
        let connection = Connection {
            stream: ClientStream::new(stream, write_limit),
            peer,
            service: service.clone(),
            metrics: metrics.clone(),
            on_malformed: Arc::clone(&on_malformed),
            phases: phases.clone(),
        };
        let mut http = http.clone();
        http.timer(ConnectionTimer::new(header_read));
        tokio::spawn(connection.run(http, place));
    }
    // The socket closes first, so that a load balancer's next connection goes elsewhere.
    drop(tcp);
    phase.send_replace(Phase::Draining);
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    let deadline = Duration::from_millis(limits.drain_ms_max);
    let _ = tokio::time::timeout(deadline, places.acquire_many(all)).await;
    let cut = connections_max - places.available_permits().min(connections_max);
    phase.send_replace(Phase::Cutting);
    // Cut futures drop their requests at once, which is how these leave their events; none of them waits.
    let _ = tokio::time::timeout(CUT_MAX, places.acquire_many(all)).await;
    Drained { cut }
}

/// The places that a connection takes: among all, and among its client's.
type Place = (OwnedSemaphorePermit, PeerPlace);

/// The next connection, with its place. Without a place nothing is accepted: clients wait in the system's backlog. What is
/// its client's one too many is closed.
async fn accept(
    tcp: &TcpListener,
    places: &Arc<Semaphore>,
    peers: &Arc<Peers>,
    metrics: &Metrics,
) -> (TcpStream, SocketAddr, Place) {
    loop {
        let accepted = async {
            let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
            let (stream, peer) = tcp.accept().await?;
            Ok::<_, std::io::Error>((stream, peer, place))
        };
        match accepted.await {
            Ok((stream, peer, place)) => {
                // On a socket for both, IPv4 comes mapped into IPv6.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                match Peers::admit(peers, peer.ip()) {
                    Some(peer_place) => return (stream, peer, (place, peer_place)),
                    None => metrics.connection_refused(REFUSED_CLIENT),
                }
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
}

fn http(limits: &HttpConfig) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(Duration::from_millis(limits.header_read_ms_max))
        // hyper's buffer is the limit of a head; it refuses less than 8,192.
        .max_buf_size(limits.header_bytes_max.max(8_192))
        // Answers are one small buffer each: `writev`, for several, is the dearer call.
        .writev(false)
        .keep_alive(true);
    if limits.headers_max != HEADERS_MAX_OF_HYPER {
        http.max_headers(limits.headers_max);
    }
    http
}

struct Connection<S> {
    stream: ClientStream,
    peer: SocketAddr,
    service: S,
    metrics: Metrics,
    on_malformed: Arc<dyn OnMalformed>,
    phases: watch::Receiver<Phase>,
}

impl<S, B> Connection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn run(self, http: http1::Builder, place: Place) {
        let Self { stream, peer, service, metrics, on_malformed, mut phases } = self;
        let _open = Open::new(&metrics);
        let state = Arc::new(State::default());
        state.leaves.store(*phases.borrow_and_update() >= Phase::Leaving, Ordering::Relaxed);
        let service = {
            let (state, service) = (Arc::clone(&state), Mutex::new(service));
            hyper::service::service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                let busy = Busy::new(&state);
                let response = call(&service, request);
                async move {
                    let mut response = response.await;
                    if let Ok(response) = &mut response
                        && busy.0.leaves.load(Ordering::Relaxed)
                    {
                        response.headers_mut().insert(CONNECTION, CLOSE);
                    }
                    drop(busy);
                    response
                }
            })
        };
        let mut connection = http.serve_connection(TokioIo::new(stream), service);
        let ended = loop {
            let phase = tokio::select! {
                biased;
                ended = &mut connection => break ended,
                phase = next(&mut phases) => phase,
            };
            match phase {
                Phase::Serving => {}
                Phase::Leaving => state.leaves.store(true, Ordering::Relaxed),
                Phase::Draining => std::pin::Pin::new(&mut connection).graceful_shutdown(),
                Phase::Cutting => return,
            }
        };
        if let Err(error) = ended {
            let busy = state.busy.load(Ordering::Acquire);
            let unread = connection.into_parts().read_buf.len();
            if let Some(malformed) = malformed::judge(peer, &error, busy, unread) {
                metrics.malformed(malformed.kind.as_str());
                on_malformed.malformed(malformed);
            }
        }
        drop(place);
    }
}

/// Calls a connection's service. One that is ready, as ours always is, is called as it is: a clone for each request would
/// write to counters that all connections share, which the cores would then fetch from each other.
fn call<S: Service<R> + Clone, R>(
    service: &Mutex<S>,
    request: R,
) -> impl Future<Output = Result<S::Response, S::Error>> + use<S, R> {
    let mut service = service.lock().unwrap_or_else(PoisonError::into_inner);
    match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Either::Left(service.call(request)),
        _ => Either::Right(service.clone().oneshot(request)),
    }
}

/// What connections are told next.
async fn next(phases: &mut watch::Receiver<Phase>) -> Phase {
    match phases.changed().await {
        Ok(()) => *phases.borrow_and_update(),
        // The sender outlives the connections but for a cut one, for which its end is the same news.
        Err(_) => Phase::Cutting,
    }
}

/// Counts an open connection.
struct Open<'a>(&'a Metrics);

impl<'a> Open<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// What a connection and its requests know of each other. Each connection has its own: what all look at would be written to
/// by each that begins to.
#[derive(Default)]
struct State {
    /// Whether a service has the request: then its event is the service's, whatever becomes of the connection.
    busy: AtomicBool,
    /// Whether its next answer is the last.
    leaves: AtomicBool,
}

/// Marks a request as the service's, until it has answered or is dropped.
struct Busy(Arc<State>);

impl Busy {
    fn new(state: &Arc<State>) -> Self {
        state.busy.store(true, Ordering::Release);
        Self(Arc::clone(state))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}
