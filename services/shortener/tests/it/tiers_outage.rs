//! Redis, the store, or both gone, halted and back, under load: no known link fails, and nothing is flooded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;
use testbed::{Redis, RedisOptions};
use tokio::task::JoinSet;
use wide_event::Cache;

use crate::cache::link_of_another;
use crate::redis;
use crate::server::{Server, until};
use crate::tiers::{connected, leads_to};

const LINKS: usize = 50;

/// An instance that asks at each visit, with links that it knows.
async fn known(redis: &Redis, prefix: &str) -> Server {
    let config = redis::config(redis, prefix);
    let server = Server::with(move |all| {
        all.redis = config;
        all.cache.fresh_ms = 1;
    })
    .await;
    connected(&server).await;
    for link in 0..LINKS {
        link_of_another(&server, &format!("k{link}"), "https://example.com/").await;
        assert_eq!(server.get(&format!("/k{link}")).await.status, 302);
    }
    server.events().await;
    server
}

/// Visits of known links without a pause.
struct Load {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    visitors: JoinSet<Vec<u16>>,
}

impl Load {
    fn start(server: &Arc<Server>) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut visitors = JoinSet::new();
        for visitor in 0..4 {
            let (server, stop, made) = (server.clone(), stop.clone(), made.clone());
            visitors.spawn(async move {
                let mut failed = Vec::new();
                for link in (0..LINKS).cycle().skip(visitor * LINKS / 4) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let status = server.get(&format!("/k{link}")).await.status.as_u16();
                    made.fetch_add(1, Ordering::Relaxed);
                    if status != 302 {
                        failed.push(status);
                    }
                }
                failed
            });
        }
        Self { stop, made, visitors }
    }

    /// Until some more visits have been made.
    async fn go_on(&self) {
        let enough = self.made.load(Ordering::Relaxed) + 300;
        until("visits", || self.made.load(Ordering::Relaxed) >= enough).await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let failed: Vec<u16> = self.visitors.join_all().await.concat();
        assert!(failed.is_empty(), "{failed:?} of {} visits", self.made.load(Ordering::Relaxed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_known_link_fails_whatever_is_gone() {
    let Some(redis) = Redis::start(RedisOptions::default()) else { return };
    let server = Arc::new(known(&redis, "load").await);
    let load = Load::start(&server);
    let tiers = async |expected: Cache| {
        load.go_on().await;
        let before = server.events().await;
        load.go_on().await;
        let events = server.events().await;
        let of_tier = events.iter().filter(|event| event.cache == expected);
        assert!(of_tier.count() > events.len() / 2, "{expected:?}: {:?}", events.last());
        [before, events].concat()
    };
    redis.kill();
    let events = tiers(Cache::Store).await;
    assert!(events.iter().any(|event| event.breaker.as_str() == "redis"), "{:?}", events.last());
    server.store.set_down(true);
    let events = tiers(Cache::Stale).await;
    assert!(events.iter().any(|event| event.breaker.as_str() == "store"), "{:?}", events.last());
    let reads = server.store.find_count();
    load.go_on().await;
    assert!(server.store.find_count() - reads < 50, "a store that fails is left alone");
    redis.restart();
    tiers(Cache::Stale).await;
    server.store.set_down(false);
    let mut is_back = false;
    while !is_back {
        load.go_on().await;
        // Copies in Redis are older than the millisecond for which they are fresh here.
        is_back = server.events().await.iter().any(|event| event.cache == Cache::Store);
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_a_store_has_what_others_have_read() {
    let Some(redis) = Redis::start(RedisOptions::default()) else { return };
    let one = known(&redis, "others").await;
    until("shared", || redis.command(&["DBSIZE"]).trim().parse::<usize>().is_ok_and(|keys| keys >= LINKS))
        .await;
    let two = one.beside(|_| {}).await;
    connected(&two).await;
    one.store.set_down(true);
    two.events().await;
    for link in 0..LINKS {
        assert_eq!(two.get(&format!("/k{link}")).await.status, 302);
    }
    assert!(two.events().await.iter().all(|event| event.cache == Cache::Stale));
    redis.kill();
    for link in 0..LINKS {
        assert_eq!(two.get(&format!("/k{link}")).await.status, 302, "from memory");
    }
    assert_eq!(two.get("/never-seen").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_whose_message_is_lost_is_seen_when_the_copy_ages() {
    let Some(redis) = Redis::start(RedisOptions::default()) else { return };
    let config = redis::config(&redis, "lost");
    let one = Server::with(move |all| {
        all.redis = config;
        all.cache.fresh_ms = 2_000;
    })
    .await;
    let two = one.beside(|_| {}).await;
    connected(&one).await;
    connected(&two).await;
    let slug = one.link(&json!({ "longUrl": "https://old.example/" })).await;
    leads_to(&two, &slug, "https://old.example/").await;
    redis.kill();
    let path = format!("/rest/v3/short-urls/{slug}");
    one.api(http::Method::PATCH, &path, &json!({ "longUrl": "https://new.example/" })).await;
    leads_to(&two, &slug, "https://new.example/").await;
    until("given up", || one.shortener.metrics().dependencies.unannounced.get() >= 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_lost_messages_links_are_read_again_a_few_at_a_time() {
    let Some(redis) = Redis::start(RedisOptions::default()) else { return };
    let config = redis::config(&redis, "unsure");
    let one = Server::with(move |all| all.redis = config).await;
    let two = Arc::new(one.beside(|_| {}).await);
    connected(&two).await;
    for link in 0..LINKS {
        link_of_another(&two, &format!("k{link}"), "https://old.example/").await;
        two.get(&format!("/k{link}")).await;
    }
    let reads = two.store.find_count();
    redis.kill();
    // Nor does it tell of it when Redis is back: the other has to find out by itself.
    one.shared.set_down(true);
    let edit = json!({ "longUrl": "https://new.example/" });
    one.api(http::Method::PATCH, "/rest/v3/short-urls/k7", &edit).await;
    two.events().await;
    let load = Load::start(&two);
    redis.restart();
    // Long before its minute is over, and without anybody waiting for it.
    leads_to(&two, "k7", "https://new.example/").await;
    load.go_on().await;
    load.end().await;
    let events = two.events().await;
    assert!(events.iter().all(|event| event.cache == Cache::L1), "nobody waited");
    let again = two.store.find_count() - reads;
    assert!(again <= 2 * LINKS as u64, "each link once, or twice where Redis came back between: {again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_start_asks_the_store_once_a_link_and_a_few_at_a_time() {
    let server = Arc::new(Server::with(|config| config.cache.store_reads_max = 3).await);
    for link in 0..200 {
        link_of_another(&server, &format!("c{link}"), "https://example.com/").await;
    }
    let reads = server.store.find_count();
    let mut visits = JoinSet::new();
    for visit in 0..800 {
        let server = server.clone();
        visits.spawn(async move { server.get(&format!("/c{}", visit % 200)).await.status.as_u16() });
    }
    let statuses = visits.join_all().await;
    assert!(statuses.iter().all(|status| *status == 302), "{statuses:?}");
    assert_eq!(server.store.find_count() - reads, 200);
    assert!(server.store.find_at_once_max() <= 3, "{}", server.store.find_at_once_max());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_costs_a_few_visits_its_deadline_and_then_nobody() {
    let Some(redis) = Redis::start(RedisOptions::default()) else { return };
    let config = redis::config(&redis, "hung");
    let server = Server::with(move |all| {
        all.redis = config;
        all.redis.call_ms_max = 500;
        all.breaker.open_ms = 60_000;
    })
    .await;
    connected(&server).await;
    for link in 0..40 {
        link_of_another(&server, &format!("h{link}"), "https://example.com/").await;
    }
    server.events().await;
    redis.pause();
    for link in 0..40 {
        assert_eq!(server.get(&format!("/h{link}")).await.status, 302);
    }
    redis.resume();
    let events = server.events().await;
    let waited = events.iter().filter(|event| event.redis_us > 0).count();
    // Copies that are shared after the answer fail too, so the breaker may open sooner.
    assert!((1..=5).contains(&waited), "{waited} of {} visits waited", events.len());
    let spared = events.iter().skip(waited).all(|event| event.breaker.as_str() == "redis");
    assert!(spared && events.iter().all(|event| event.cache == Cache::Store));
}
