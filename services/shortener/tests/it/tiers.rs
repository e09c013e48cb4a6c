//! Several instances with one store and one Redis: who answers, and how soon each sees what another has changed.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use testbed::{Redis, RedisOptions, shared_redis};
use wide_event::Cache;

use crate::cache::link_of_another;
use crate::redis;
use crate::server::{Server, until};

/// Longer than any test: what is seen before was not waited for.
const LONG_MS: u64 = 3_600_000;

/// An instance whose copies stay fresh for longer than the test.
async fn first(redis: &Redis, prefix: &str) -> Server {
    let config = redis::config(redis, prefix);
    Server::with(move |all| {
        all.redis = config;
        all.cache.fresh_ms = LONG_MS;
        all.cache.stale_s = 2 * LONG_MS / 1_000;
    })
    .await
}

/// Waits until an instance has Redis and hears what others say.
pub(crate) async fn connected(server: &Server) {
    // What it asks for is not there, and asked for once: the event says whether Redis was asked.
    for attempt in 0.. {
        server.events().await;
        assert_eq!(server.get(&format!("/connected-yet-{attempt}")).await.status, 404);
        if server.event().await.redis_us > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until("subscribed", || server.shared.hears()).await;
}

async fn edit(server: &Server, slug: &str, target: &str) {
    let path = format!("/rest/v3/short-urls/{slug}");
    let edited = server.api(Method::PATCH, &path, &json!({ "longUrl": target })).await;
    assert_eq!(edited.status, 200, "{}", edited.text());
}

/// Asks until the link leads there.
pub(crate) async fn leads_to(server: &Server, slug: &str, target: &str) {
    let asked = async {
        while server.get(&format!("/{slug}")).await.header("location") != target {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), asked).await.is_ok(), "never: {slug} → {target}");
}

async fn changes_reach_others(redis: &Redis, prefix: &str) {
    let one = first(redis, prefix).await;
    let two = one.beside(|config| config.cache.negative_ms = LONG_MS).await;
    connected(&one).await;
    connected(&two).await;
    // Unknown on both, in memory and in Redis.
    assert_eq!(two.get("/soon").await.status, 404);
    assert_eq!(two.get("/soon").await.status, 404);
    let reads = one.store.find_count();
    one.link(&json!({ "longUrl": "https://example.com/1", "customSlug": "soon" })).await;
    leads_to(&two, "soon", "https://example.com/1").await;
    edit(&one, "soon", "https://example.com/2").await;
    leads_to(&two, "soon", "https://example.com/2").await;
    edit(&two, "soon", "https://example.com/3").await;
    leads_to(&one, "soon", "https://example.com/3").await;
    assert_eq!(one.store.find_count(), reads, "whoever changes a link shares it: nobody has to read it");
    one.api(Method::DELETE, "/rest/v3/short-urls/soon", &json!(null)).await;
    while two.get("/soon").await.status != 404 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    one.link(&json!({ "longUrl": "https://example.com/4", "customSlug": "soon" })).await;
    leads_to(&two, "soon", "https://example.com/4").await;
}

#[tokio::test]
async fn what_one_instance_changes_others_see() {
    let Some(redis) = shared_redis() else { return };
    changes_reach_others(redis, "changes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_instance_changes_others_see_through_a_cluster() {
    let Some(redis) = Redis::start(RedisOptions { cluster: true, ..RedisOptions::default() }) else { return };
    changes_reach_others(&redis, "changes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_edits_are_each_seen_by_the_other_instance() {
    let Some(redis) = shared_redis() else { return };
    let one = first(redis, "edits").await;
    let two = one.beside(|_| {}).await;
    connected(&two).await;
    let slug = one.link(&json!({ "longUrl": "https://example.com/" })).await;
    let mut seen_after = Vec::new();
    for number in 0..1_000 {
        let target = format!("https://example.com/{number}");
        let asked = Instant::now();
        edit(&one, &slug, &target).await;
        leads_to(&two, &slug, &target).await;
        seen_after.push(asked.elapsed());
    }
    seen_after.sort();
    let at = |share: usize| seen_after[(seen_after.len() - 1) * share / 1_000];
    println!(
        "an edit was seen by the other instance, from the request on, after (median, p99, p99.9, longest): {:?}, {:?}, {:?}, {:?}",
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
}

#[tokio::test]
async fn the_event_says_which_tier_answered() {
    let Some(redis) = shared_redis() else { return };
    let one = first(redis, "events").await;
    connected(&one).await;
    link_of_another(&one, "hot", "https://example.com/").await;
    let told = async |server: &Server| {
        assert_eq!(server.get("/hot").await.status, 302);
        let event = server.event().await;
        (event.cache, event.store_calls, event.redis_us > 0)
    };
    one.events().await;
    assert_eq!(told(&one).await, (Cache::Store, 1, true));
    assert_eq!(told(&one).await, (Cache::L1, 0, false));
    // The copy is shared after the answer was given.
    until("shared", || redis.command(&["EXISTS", "events:entry:hot"]).trim() == "1").await;
    let two = one.beside(|_| {}).await;
    connected(&two).await;
    two.events().await;
    assert_eq!(told(&two).await, (Cache::Redis, 0, true));
    assert_eq!(told(&two).await, (Cache::L1, 0, false));
    assert_eq!(two.get("/none").await.status, 404);
    until("shared", || redis.command(&["EXISTS", "events:entry:none"]).trim() == "1").await;
    one.events().await;
    assert_eq!(one.get("/none").await.status, 404);
    let event = one.event().await;
    assert_eq!((event.cache, event.store_calls), (Cache::Redis, 0));
}

#[tokio::test]
async fn what_was_read_before_an_edit_replaces_it_nowhere() {
    let Some(redis) = shared_redis() else { return };
    let one = std::sync::Arc::new(first(redis, "overtaken").await);
    let two = one.beside(|_| {}).await;
    connected(&one).await;
    connected(&two).await;
    for round in 0..20 {
        let slug = format!("slow{round}");
        link_of_another(&one, &slug, "https://old.example/").await;
        let reads = one.store.find_count();
        one.store.hold_finds(true);
        let visit = {
            let (one, path) = (one.clone(), format!("/{slug}"));
            tokio::spawn(async move { one.get(&path).await.status.as_u16() })
        };
        // One has read the old target, and has it yet to keep and to share.
        until("read", || one.store.find_count() > reads).await;
        edit(&two, &slug, "https://new.example/").await;
        one.store.hold_finds(false);
        assert_eq!(visit.await.unwrap(), 302);
        leads_to(&one, &slug, "https://new.example/").await;
        leads_to(&two, &slug, "https://new.example/").await;
        let three = one.beside(|_| {}).await;
        connected(&three).await;
        let seen = three.get(&format!("/{slug}")).await;
        assert_eq!(seen.header("location"), "https://new.example/");
    }
}

#[tokio::test]
async fn garbage_in_redis_is_a_miss() {
    let Some(redis) = shared_redis() else { return };
    let one = first(redis, "garbage-links").await;
    connected(&one).await;
    let planted = "{\"k\":60000,\"l\":{\"v\":1,\"t\":\"https://evil.example/\"}}";
    for (number, garbage) in ["", "x", "\u{1}", "{}", planted].into_iter().enumerate() {
        let slug = format!("g{number}");
        link_of_another(&one, &slug, "https://example.com/").await;
        redis.command(&["SET", &format!("garbage-links:entry:{slug}"), garbage, "EX", "600"]);
        assert_eq!(one.get(&format!("/{slug}")).await.header("location"), "https://example.com/");
    }
    // A right head and a body that nobody here has made.
    link_of_another(&one, "planted", "https://example.com/").await;
    let script = "redis.call('SET', KEYS[1], struct.pack('>BI8I8B', 1, 1, 1, 1) .. string.rep('x', 16) .. ARGV[1], 'PX', 60000)";
    redis.command(&["EVAL", script, "1", "garbage-links:entry:planted", planted]);
    assert_eq!(one.get("/planted").await.header("location"), "https://example.com/");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_asked_for_are_read_again_before_their_time_is_over() {
    let server = Server::with(|config| config.cache.fresh_ms = 6_000).await;
    let slug = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    server.events().await;
    let reads = server.store.find_count();
    while server.shortener.metrics().refreshed.get() < 2 {
        assert_eq!(server.get(&format!("/{slug}")).await.status, 302);
    }
    let events = server.events().await;
    assert!(events.iter().all(|event| event.cache == Cache::L1), "nobody waited");
    assert!(server.store.find_count() <= reads + 2);
}
