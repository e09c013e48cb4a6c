//! Any bytes on a connection: no panic, no 5xx, and one event for each request, whether a service saw it or not.
//! The real listener, router, cache and SQLite store; events go nowhere. `$KEY` in the input is a key that is accepted.
#![no_main]

mod seeds;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use emitter::{Emitter, EmitterConfig, PublisherHandle};
use event_log::{AppendError, Message, Producer};
use libfuzzer_sys::fuzz_target;
use shortener::keys::{self, NewKey};
use shortener::listener::{self, Malformed};
use shortener::store::{LinkStore as _, sqlite::SqliteStore};
use shortener::{Parts, Shortener, ShortenerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer as _, ServiceExt as _};
use wide_event::Resource;

/// Comes after the input, so that a connection whose requests are whole ends at once, without half-closing it:
/// that would cancel whatever waits for the store.
const LAST: &[u8] = b"GET /favicon.ico HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// How long half a head or body is waited for. Many inputs end in one, so it is most of their time.
const INCOMPLETE_MS: u64 = 10;

/// Far longer than any connection takes here.
const ENDS_MAX: Duration = Duration::from_secs(30);

static HARNESS: LazyLock<Harness> = LazyLock::new(Harness::start);

fuzz_target!(init: seeds::requests("corpus/request"), |input: &[u8]| HARNESS.check(input));

struct Harness {
    runtime: Runtime,
    parts: Served,
}

/// The service, on a port of its own.
struct Served {
    addr: SocketAddr,
    key: String,
    shortener: Shortener,
    emitter: Emitter,
    counts: Arc<Counts>,
    _publisher: PublisherHandle,
    _directory: tempfile::TempDir,
}

#[derive(Default)]
struct Counts {
    /// Requests that reached the service.
    served: AtomicU64,
    /// Requests that did not.
    malformed: AtomicU64,
    /// Answers of 500 and above.
    failed: AtomicU64,
}

/// Takes events and keeps none.
struct Nowhere;

#[async_trait]
impl Producer for Nowhere {
    async fn append(&self, _: Vec<Message>) -> Result<(), AppendError> {
        Ok(())
    }
}

impl Harness {
    fn start() -> Self {
        // One thread: an input takes the same way each time, as far as SQLite's own threads let it.
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let parts = runtime.block_on(serve());
        Self { runtime, parts }
    }

    fn check(&self, input: &[u8]) {
        let parts = &self.parts;
        let (served, malformed) = (parts.counts.served.load(SeqCst), parts.counts.malformed.load(SeqCst));
        let issued = parts.emitter.issued();
        self.runtime.block_on(async {
            let ends = async {
                send(parts.addr, &with_key(input, &parts.key)).await;
                while parts.shortener.metrics().connections.get() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(ENDS_MAX, ends).await.expect("the connection ends");
        });
        let served = parts.counts.served.load(SeqCst) - served;
        let malformed = parts.counts.malformed.load(SeqCst) - malformed;
        assert!(served + malformed >= 1, "the last request at least is a hop");
        assert!(malformed <= 1, "a connection ends with what is malformed");
        assert_eq!(parts.emitter.issued() - issued, served + malformed, "one hop, one event");
        assert_eq!(parts.counts.failed.load(SeqCst), 0, "no 5xx");
    }
}

async fn serve() -> Served {
    let directory = tempfile::tempdir().expect("a directory");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = tcp.local_addr().expect("its address");
    let mut config = ShortenerConfig::default();
    config.links.base_url = format!("http://{addr}");
    config.store.path = directory.path().join("links.db");
    config.store.sync_commits = false;
    // A machine that is busy otherwise is no finding.
    (config.store.read_ms_max, config.store.write_ms_max) = (60_000, 60_000);
    (config.http.header_read_ms_max, config.limits.body_read_ms_max) = (INCOMPLETE_MS, INCOMPLETE_MS);
    let store = SqliteStore::open(&config.store).await.expect("a store");
    store.migrate().await.expect("a schema");
    let (_, key) = keys::create(&store, NewKey::named("fuzz")).await.expect("a key");
    let shortener = Shortener::open(config.clone(), Parts::alone(Arc::new(store))).await.expect("a shortener");
    let resource = Resource { instance: "fuzz".into(), ..Resource::default() };
    let (emitter, publisher) =
        Emitter::start(EmitterConfig::default(), resource, [7; 32], Arc::new(Nowhere)).expect("an emitter");
    let counts = Arc::new(Counts::default());
    let (before, after) = (Arc::clone(&counts), Arc::clone(&counts));
    let service = emitter
        .layer()
        .layer(shortener.service())
        .map_request(move |request: http::Request<hyper::body::Incoming>| {
            before.served.fetch_add(1, SeqCst);
            request
        })
        .map_response(move |response: http::Response<_>| {
            if response.status().is_server_error() {
                after.failed.fetch_add(1, SeqCst);
            }
            response
        });
    let on_malformed = {
        let (counts, emitter) = (Arc::clone(&counts), emitter.clone());
        Arc::new(move |request: Malformed| {
            counts.malformed.fetch_add(1, SeqCst);
            let status = request.status.map_or(0, |status| status.as_u16());
            emitter.malformed(Some(request.peer), status, request.kind.as_str());
        })
    };
    let metrics = shortener.metrics().clone();
    tokio::spawn(async move {
        listener::serve(tcp, service, &config, metrics, on_malformed, std::future::pending()).await
    });
    Served { addr, key, shortener, emitter, counts, _publisher: publisher, _directory: directory }
}

/// Writes the input and what comes last, and reads to the end.
async fn send(addr: SocketAddr, input: &[u8]) {
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    let (mut answers, mut requests) = stream.split();
    let ask = async {
        // A server that has refused what came before closes early.
        let _ = requests.write_all(input).await;
        let _ = requests.write_all(LAST).await;
    };
    let read = async {
        let mut buffer = [0; 4_096];
        while matches!(answers.read(&mut buffer).await, Ok(1..)) {}
    };
    tokio::join!(ask, read);
}

fn with_key(input: &[u8], key: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(input.len() + key.len());
    let mut rest = input;
    while let Some(at) = rest.windows(4).position(|window| window == b"$KEY") {
        bytes.extend_from_slice(&rest[..at]);
        bytes.extend_from_slice(key.as_bytes());
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest);
    bytes
}
