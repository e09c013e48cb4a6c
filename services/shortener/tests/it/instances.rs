//! Two instances on one store: what must hold does, in whatever order they are asked, whether they hear of each other or
//! not.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shortener::config::SecretText;
use shortener::store::LinkStore;
use shortener::store::postgres::PostgresStore;
use shortener::store::sqlite::SqliteStore;
use shortener::{Entrance, Parts, Shortener, ShortenerConfig, keys, shared};
use testbed::{Redis, RedisOptions, shared_postgres};
use tower::ServiceExt;

use crate::redis;

struct Pair {
    services: [Entrance<axum::Router>; 2],
    store: Arc<dyn LinkStore>,
    key: String,
    /// Where an embedded store is, for as long as the pair is there.
    _dir: Option<tempfile::TempDir>,
}

impl Pair {
    /// Each instance with connections of its own to one SQLite file.
    async fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ShortenerConfig::default();
        config.store.path = dir.path().join("links.db");
        let mut stores: Vec<Arc<dyn LinkStore>> = Vec::new();
        for _ in 0..2 {
            // Thousands of writes wait for one disk here; no test is about that.
            (config.store.read_ms_max, config.store.write_ms_max) = (120_000, 120_000);
            config.store.sync_commits = false;
            stores.push(Arc::new(SqliteStore::open(&config.store).await.unwrap()));
        }
        Self::on(config, stores, Some(dir)).await
    }

    /// Each instance with connections of its own to one PostgreSQL, and to one Redis. None where there is no PostgreSQL.
    async fn on_postgres(redis: &Redis) -> Option<Self> {
        let server = shared_postgres()?;
        let mut config = ShortenerConfig::default();
        config.redis = redis::config(redis, "pair");
        config.store.postgres.url = SecretText::new(server.database());
        // Hundreds wait for the few connections of a machine that is busy with other tests; no test is about that.
        (config.store.read_ms_max, config.store.write_ms_max) = (120_000, 120_000);
        (config.store.postgres.connect_ms_max, config.store.postgres.statement_ms_max) = (120_000, 120_000);
        let mut stores: Vec<Arc<dyn LinkStore>> = Vec::new();
        for _ in 0..2 {
            stores.push(Arc::new(PostgresStore::open(&config.store).unwrap()));
        }
        Some(Self::on(config, stores, None).await)
    }

    async fn on(
        mut config: ShortenerConfig,
        stores: Vec<Arc<dyn LinkStore>>,
        dir: Option<tempfile::TempDir>,
    ) -> Self {
        config.limits.in_flight_max = 20_000;
        config.limits.api_in_flight_max = 20_000;
        stores[0].migrate().await.unwrap();
        let (_, key) = keys::create(stores[0].as_ref(), keys::NewKey::named("test")).await.unwrap();
        let store = Arc::clone(&stores[0]);
        let mut services = Vec::new();
        for store in stores {
            let parts = Parts { shared: shared::open(&config.redis), ..Parts::alone(store) };
            let shortener = Shortener::open(config.clone(), parts).await.unwrap();
            services.push(shortener.service());
        }
        let services = services.try_into().unwrap_or_else(|_| panic!("two"));
        Self { services, store, key, _dir: dir }
    }

    /// Asks the first instance for even numbers, the second for odd ones.
    async fn call(
        &self,
        number: usize,
        request: http::request::Builder,
        body: String,
    ) -> (StatusCode, Value) {
        let request = request.header("host", "127.0.0.1:8080").header("x-api-key", &self.key);
        let request = request.body(axum::body::Body::from(body)).unwrap();
        let response = self.services[number % 2].clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn create(&self, number: usize, key: Option<&str>, body: &Value) -> (StatusCode, Value) {
        let mut request = Request::builder().method(Method::POST).uri("/rest/v3/short-urls");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.call(number, request, body.to_string()).await
    }
}

async fn one_alias_is_given_once(pair: &Pair, wanted: &str) {
    let answers = join_all((0..200).map(async |number| {
        let body = json!({ "longUrl": format!("https://example.com/{number}"), "customSlug": wanted });
        pair.create(number, None, &body).await
    }))
    .await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1);
    let mut suggested = HashSet::new();
    for (status, body) in answers.iter().filter(|(status, _)| *status != 201) {
        assert_eq!(*status, 409, "{body}");
        let suggestions: Vec<_> = body["suggestions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|slug| slug.as_str().unwrap().to_owned())
            .collect();
        assert!((3..=5).contains(&suggestions.len()), "{suggestions:?}");
        assert_eq!(pair.store.taken("", &suggestions).await.unwrap(), Vec::<String>::new(), "they are free");
        suggested.extend(suggestions);
    }
    let slug = suggested.iter().next().unwrap();
    let (status, _) =
        pair.create(1, None, &json!({ "longUrl": "https://example.com/", "customSlug": slug })).await;
    assert_eq!(status, 201, "what is suggested can be had: {slug}");
    let (_, body) =
        pair.create(0, None, &json!({ "longUrl": "https://example.com/", "customSlug": wanted })).await;
    assert!(
        body["suggestions"].as_array().unwrap().iter().all(|free| free != slug),
        "and is not suggested then"
    );
}

async fn a_hundred_visits_are_given_exactly(pair: &Pair) {
    let (status, made) =
        pair.create(0, None, &json!({ "longUrl": "https://example.com/", "maxVisits": 100 })).await;
    assert_eq!(status, 201);
    let path = format!("/{}", made["shortCode"].as_str().unwrap());
    // Ten thousand at once, as many of them under way as the instances take.
    let statuses: Vec<_> = stream::iter(0..10_000)
        .map(async |number| {
            pair.call(number, Request::builder().uri(path.as_str()), String::new()).await.0.as_u16()
        })
        .buffer_unordered(10_000)
        .collect()
        .await;
    let of = |status: u16| statuses.iter().filter(|given| **given == status).count();
    assert_eq!((of(302), of(410)), (100, 9_900));
}

async fn one_key_makes_one_link(pair: &Pair, key: &str) {
    let before = pair.store.count(None).await.unwrap();
    let body = json!({ "longUrl": "https://example.com/once" });
    let answers = join_all((0..50).map(|number| pair.create(number, Some(key), &body))).await;
    let mut codes = HashSet::new();
    for (status, body) in &answers {
        match status.as_u16() {
            201 => drop(codes.insert(body["shortCode"].to_string())),
            status => assert_eq!(status, 409, "{body}"),
        }
    }
    assert_eq!(codes.len(), 1, "{codes:?}");
    assert_eq!(pair.store.count(None).await.unwrap(), before + 1);
}

async fn all_hold(pair: &Pair, round: &str) {
    one_alias_is_given_once(pair, &format!("wanted-{round}")).await;
    one_key_makes_one_link(pair, &format!("fifty-{round}")).await;
    a_hundred_visits_are_given_exactly(pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_sqlite_file() {
    let pair = Pair::on_sqlite().await;
    all_hold(&pair, "alone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_postgresql_with_redis_and_without() {
    let Some(redis) = Redis::start(RedisOptions::default()) else { return };
    let Some(pair) = Pair::on_postgres(&redis).await else { return };
    all_hold(&pair, "together").await;
    redis.kill();
    all_hold(&pair, "apart").await;
}
