//! A shortener on port 0 with a store in a directory of its own, and a client for it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use emitter::{Emitter, EmitterConfig, PublisherHandle};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use shortener::config::SecretText;
use shortener::keys::{self, NewKey};
use shortener::listener::{self, Drained, Malformed};
use shortener::store::LinkStore;
use shortener::store::postgres::PostgresStore;
use shortener::store::sqlite::SqliteStore;
use shortener::{Parts, Shortener, ShortenerConfig, shared};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::Layer as _;
use warehouse::Warehouse;
use wide_event::{Event, Resource};

use crate::documented;
use crate::faulty::FaultyStore;
use crate::faulty_shared::FaultyShared;
use crate::log::KeptLog;

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) key: String,
    pub(crate) store: Arc<FaultyStore>,
    /// What it shares, through which this instance alone can be cut off.
    pub(crate) shared: Arc<FaultyShared>,
    pub(crate) shortener: Shortener,
    pub(crate) malformed: Arc<Mutex<Vec<Malformed>>>,
    pub(crate) emitter: Emitter,
    _publisher: PublisherHandle,
    log: Arc<KeptLog>,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Drained>,
    config: ShortenerConfig,
    pub(crate) dir: Arc<tempfile::TempDir>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ShortenerConfig)) -> Self {
        Self::made(async |_| {}, None, change).await
    }

    /// On a store that something was done to before.
    pub(crate) async fn on(
        prepare: impl AsyncFnOnce(&SqliteStore),
        change: impl FnOnce(&mut ShortenerConfig),
    ) -> Self {
        Self::made(prepare, None, change).await
    }

    /// With statistics.
    pub(crate) async fn with_warehouse(
        warehouse: Warehouse,
        change: impl FnOnce(&mut ShortenerConfig),
    ) -> Self {
        Self::made(async |_| {}, Some(warehouse), change).await
    }

    async fn made(
        prepare: impl AsyncFnOnce(&SqliteStore),
        warehouse: Option<Warehouse>,
        change: impl FnOnce(&mut ShortenerConfig),
    ) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut config = ShortenerConfig::default();
        config.store.path = dir.path().join("links.db");
        // Hundreds of writes at once are slow on a slow disk, and a read on a busy machine; no test is about that.
        (config.store.read_ms_max, config.store.write_ms_max) = (60_000, 60_000);
        config.store.sync_commits = false;
        change(&mut config);
        let sqlite = SqliteStore::open(&config.store).await.unwrap();
        sqlite.migrate().await.unwrap();
        prepare(&sqlite).await;
        let (_, key) = keys::create(&sqlite, NewKey::named("test")).await.unwrap();
        Self::serve(config, Arc::new(FaultyStore::new(sqlite)), key, warehouse, dir).await
    }

    /// On PostgreSQL. None where there is none, which is said.
    pub(crate) async fn on_postgres(change: impl FnOnce(&mut ShortenerConfig)) -> Option<Self> {
        let mut config = ShortenerConfig::default();
        config.store.postgres.url = SecretText::new(testbed::shared_postgres()?.database());
        // The machine may be busy; no test is about that.
        (config.store.read_ms_max, config.store.write_ms_max) = (60_000, 60_000);
        config.store.postgres.connect_ms_max = 60_000;
        change(&mut config);
        let postgres = PostgresStore::open(&config.store).unwrap();
        postgres.migrate().await.unwrap();
        let (_, key) = keys::create(&postgres, NewKey::named("test")).await.unwrap();
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Some(Self::serve(config, Arc::new(FaultyStore::new(postgres)), key, None, dir).await)
    }

    /// Another instance on the same store, configured alike but for a change, without statistics.
    pub(crate) async fn beside(&self, change: impl FnOnce(&mut ShortenerConfig)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        Self::serve(config, self.store.clone(), self.key.clone(), None, self.dir.clone()).await
    }

    async fn serve(
        configured: ShortenerConfig,
        store: Arc<FaultyStore>,
        key: String,
        warehouse: Option<Warehouse>,
        dir: Arc<tempfile::TempDir>,
    ) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let mut config = configured.clone();
        if config.links.base_url == ShortenerConfig::default().links.base_url {
            config.links.base_url = format!("http://{addr}");
        }
        assert_eq!(config.check(), []);
        let shared = Arc::new(FaultyShared::new(shared::open(&config.redis)));
        let parts = Parts { shared: shared.clone(), warehouse, ..Parts::alone(store.clone()) };
        let shortener = Shortener::open(config.clone(), parts).await.unwrap();
        let log = Arc::new(KeptLog::default());
        let quick = EmitterConfig { batch_ms_max: 1, ..EmitterConfig::default() };
        let resource = Resource { instance: "test".into(), ..Resource::default() };
        let (emitter, publisher) = Emitter::start(quick, resource, [7; 32], log.clone()).unwrap();
        shortener.follow(emitter.clone());
        let service = emitter.layer().layer(shortener.service());
        let malformed = Arc::new(Mutex::new(Vec::new()));
        let on_malformed = {
            let malformed = malformed.clone();
            Arc::new(move |request| malformed.lock().unwrap().push(request))
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let metrics = shortener.metrics().clone();
        let served = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            listener::serve(tcp, service, &config, metrics, on_malformed, stopped).await
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            addr,
            key,
            store,
            shared,
            shortener,
            malformed,
            emitter,
            _publisher: publisher,
            log,
            client,
            stop: Some(stop),
            served,
            config: configured,
            dir,
        }
    }

    /// Events of all hops that have ended since it was asked last, in their order.
    pub(crate) async fn events(&self) -> Vec<Event<'static>> {
        let ended = self.emitter.issued();
        until("published", || self.log.events() >= ended).await;
        self.log.take()
    }

    /// The one event since it was asked last.
    pub(crate) async fn event(&self) -> Event<'static> {
        let mut events = self.events().await;
        assert_eq!(events.len(), 1, "{events:#?}");
        events.remove(0)
    }

    /// Asks for a shutdown; [`Server::drained`] waits for it.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
    }

    pub(crate) async fn drained(self) -> Drained {
        self.served.await.unwrap()
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request =
            http::Request::builder().method(method.clone()).uri(format!("http://{}{path}", self.addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let (parts, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        documented::check(&method, path, &answer);
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    /// With the key.
    pub(crate) async fn api(&self, method: Method, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call(method, path, &[("x-api-key", &self.key)], &body).await
    }

    pub(crate) async fn create(&self, body: &Value) -> Answer {
        self.api(Method::POST, "/rest/v3/short-urls", body).await
    }

    /// Makes a link and returns its code.
    pub(crate) async fn link(&self, body: &Value) -> String {
        let made = self.create(body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["shortCode"].as_str().unwrap().to_owned()
    }
}

/// Waits until a condition holds. It gives up long after any condition here takes.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "never: {what}");
}
