//! The cache before a store that is slow, fails, and changes under it.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::task::JoinSet;
use wide_event::Cache;

use crate::server::{Server, until};

/// A link that is in the store and not in memory: made by another process.
pub(crate) async fn link_of_another(server: &Server, slug: &str, target: &str) {
    use shortener::link::NewLink;
    use shortener::target::{TargetPolicy, parse};
    let target = parse(target, &TargetPolicy::default()).unwrap();
    let link = NewLink::with_alias(slug, target);
    server.store.inner.create(&[link], None).await.unwrap();
}

#[tokio::test]
async fn concurrent_misses_are_one_read() {
    let server = Arc::new(Server::start().await);
    link_of_another(&server, "hot", "https://example.com/").await;
    server.store.hold_finds(true);
    let mut visits = JoinSet::new();
    for _ in 0..100 {
        let server = server.clone();
        visits.spawn(async move { server.get("/hot").await.status.as_u16() });
    }
    // All have arrived when 99 wait for the read of the first.
    until("coalesced", || server.shortener.metrics().coalesced.get() == 99).await;
    server.store.hold_finds(false);
    while let Some(status) = visits.join_next().await {
        assert_eq!(status.unwrap(), 302);
    }
    assert_eq!(server.store.find_count(), 1);
    let events = server.events().await;
    assert_eq!(events.iter().filter(|event| event.coalesced).count(), 99);
    assert_eq!(events.iter().map(|event| event.store_calls).sum::<u16>(), 1);
    assert!(events.iter().all(|event| event.cache == Cache::Store));
    assert_eq!(server.get("/hot").await.status, 302);
    assert_eq!(server.store.find_count(), 1, "in memory now");
}

#[tokio::test]
async fn unknown_codes_are_remembered_until_they_are_made() {
    let server = Server::with(|config| config.cache.negative_ms = 600_000).await;
    for _ in 0..10 {
        assert_eq!(server.get("/soon").await.status, 404);
    }
    assert_eq!(server.store.find_count(), 1);
    let tiers: Vec<_> = server.events().await.iter().map(|event| event.cache).collect();
    assert_eq!(tiers, [vec![Cache::Store], vec![Cache::Negative; 9]].concat());
    server.link(&json!({ "longUrl": "https://example.com/", "customSlug": "soon" })).await;
    assert_eq!(server.get("/soon").await.status, 302);
    // Deleted and made again: the alias has a new link, at once.
    server.api(Method::DELETE, "/rest/v3/short-urls/soon", &json!(null)).await;
    assert_eq!(server.get("/soon").await.status, 404);
    server.link(&json!({ "longUrl": "https://example.com/2", "customSlug": "soon" })).await;
    assert_eq!(server.get("/soon").await.header("location"), "https://example.com/2");
    // What can't be an alias asks nobody.
    let before = server.store.find_count();
    assert_eq!(server.get("/a%20b").await.status, 404);
    assert_eq!(server.store.find_count(), before);
}

#[tokio::test]
async fn a_deleted_link_is_not_brought_back_by_a_replica_that_is_behind() {
    use shortener::link::LinkRef;
    use shortener::store::Read;
    let server = Server::with(|config| config.cache.negative_ms = 1).await;
    server.link(&json!({ "longUrl": "https://example.com/", "customSlug": "gone" })).await;
    let before = server.store.inner.find(LinkRef::on_default("gone"), Read::Latest).await.unwrap().unwrap();
    server.store.lag_behind(before);
    server.api(Method::DELETE, "/rest/v3/short-urls/gone", &json!(null)).await;
    // That the code is unknown is forgotten again and again, and then it is asked for.
    let asked = server.store.find_count();
    while server.store.find_count() < asked + 10 {
        assert_eq!(server.get("/gone").await.status, 404);
    }
    server.link(&json!({ "longUrl": "https://example.com/2", "customSlug": "gone" })).await;
    assert_eq!(server.get("/gone").await.header("location"), "https://example.com/2");
}

#[tokio::test]
async fn known_links_are_served_while_the_store_is_down() {
    // Nothing stays fresh: each visit would ask the store.
    let server = Server::with(|config| config.cache.fresh_ms = 1).await;
    let code = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    let counted = server.link(&json!({ "longUrl": "https://example.com/", "maxVisits": 5 })).await;
    server.store.set_down(true);
    // Fresh for a millisecond: soon each visit finds a link that is past its time.
    while server.events().await.last().is_none_or(|event| event.cache != Cache::Stale) {
        assert_eq!(server.get(&format!("/{code}")).await.status, 302);
    }
    for _ in 0..20 {
        assert_eq!(server.get(&format!("/{code}")).await.status, 302);
    }
    let events = server.events().await;
    assert_eq!(events.iter().filter(|event| event.cache == Cache::Stale).count(), 20, "{events:?}");
    assert!(
        server.store.find_count() <= 3,
        "a store that fails is left alone: {}",
        server.store.find_count()
    );

    let unknown = server.get("/unknown").await;
    assert_eq!((unknown.status.as_u16(), unknown.header("retry-after")), (503, "1"));
    assert_eq!(server.get(&format!("/{counted}")).await.status, 503, "an exact count can't be guessed");
    assert_eq!(server.get(&format!("/{code}+")).await.status, 200);
    let events = server.events().await;
    let failed: Vec<_> = events.iter().filter(|event| event.status == 503).collect();
    assert_eq!(failed.len(), 2);
    for event in failed {
        assert_eq!(event.error_type.as_str(), "store_unavailable");
        assert!(event.error_message.as_str().contains("taken down"), "the cause is in the event: {event:?}");
    }

    for (method, path) in [
        (Method::GET, "/rest/v3/short-urls".to_owned()),
        (Method::GET, format!("/rest/v3/short-urls/{code}")),
        (Method::DELETE, format!("/rest/v3/short-urls/{code}")),
    ] {
        let answer = server.api(method, &path, &json!(null)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (503, "application/problem+json")
        );
        assert!(!answer.text().contains("taken down"), "the cause is not in the answer");
    }
    assert_eq!(server.get("/rest/health").await.status, 503);
    assert!(!server.shortener.readiness().await.store);

    server.store.set_down(false);
    assert!(server.shortener.readiness().await.store);
    assert_eq!(server.get("/unknown").await.status, 404);
    assert_eq!(server.get(&format!("/{counted}")).await.status, 302);
    // The answer before is everybody's for a moment.
    while server.get("/rest/health").await.json()["status"] != "pass" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_read_that_an_edit_overtakes_is_not_cached() {
    let server = Arc::new(Server::start().await);
    link_of_another(&server, "slow", "https://old.example/").await;
    server.store.hold_finds(true);
    let visit = {
        let server = server.clone();
        tokio::spawn(async move { server.get("/slow").await.header("location").to_owned() })
    };
    // The read has its answer and is held before it gives it.
    until("read", || server.store.find_count() == 1).await;
    let edit = json!({ "longUrl": "https://new.example/" });
    assert_eq!(server.api(Method::PATCH, "/rest/v3/short-urls/slow", &edit).await.status, 200);
    server.store.hold_finds(false);
    let seen = visit.await.unwrap();
    assert!(["https://old.example/", "https://new.example/"].contains(&seen.as_str()), "{seen}");
    for _ in 0..10 {
        assert_eq!(server.get("/slow").await.header("location"), "https://new.example/");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_end_the_read_for_others() {
    let server = Arc::new(Server::start().await);
    link_of_another(&server, "hot", "https://example.com/").await;
    server.store.hold_finds(true);
    let first = {
        let server = server.clone();
        tokio::spawn(async move { server.get("/hot").await.status.as_u16() })
    };
    until("read", || server.store.find_count() == 1).await;
    let second = {
        let server = server.clone();
        tokio::spawn(async move { server.get("/hot").await.status.as_u16() })
    };
    until("coalesced", || server.shortener.metrics().coalesced.get() == 1).await;
    first.abort();
    let _ = first.await;
    server.store.hold_finds(false);
    assert_eq!(second.await.unwrap(), 302);
    assert_eq!(server.store.find_count(), 1);
}

#[tokio::test]
async fn memory_is_bounded() {
    let server = Server::with(|config| config.cache.bytes_max = 40_000).await;
    for number in 0..500 {
        server.link(&json!({ "longUrl": format!("https://example.com/{number}") })).await;
    }
    let entries = server.shortener.metrics().cache_entries.get();
    assert!((80..=110).contains(&entries), "{entries}");
}
