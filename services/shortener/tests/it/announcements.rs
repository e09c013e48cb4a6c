//! An instance that can't tell the others of a change tells them as soon as it can: they hear all the time, and so would
//! trust what they have.

use http::Method;
use serde_json::json;
use testbed::shared_redis;

use crate::cache::link_of_another;
use crate::redis;
use crate::server::{Server, until};
use crate::tiers::{connected, leads_to};

/// Longer than any test: nothing is seen because a copy has aged.
const LONG_MS: u64 = 3_600_000;

/// Two instances that hear each other, whose copies outlast the test.
async fn pair(prefix: &str) -> Option<(Server, Server)> {
    let config = redis::config(shared_redis()?, prefix);
    let one = Server::with(move |all| {
        all.redis = config;
        (all.cache.fresh_ms, all.cache.negative_ms) = (LONG_MS, LONG_MS);
        all.cache.stale_s = 2 * LONG_MS / 1_000;
    })
    .await;
    let two = one.beside(|_| {}).await;
    connected(&one).await;
    connected(&two).await;
    Some((one, two))
}

fn given_up(server: &Server) -> u64 {
    server.shortener.metrics().dependencies.unannounced.get()
}

async fn edit(server: &Server, slug: &str, target: &str) -> u16 {
    let path = format!("/rest/v3/short-urls/{slug}");
    server.api(Method::PATCH, &path, &json!({ "longUrl": target })).await.status.as_u16()
}

/// Waits until it is known to have gone.
async fn is_gone(server: &Server, slug: &str) {
    while server.get(&format!("/{slug}")).await.status != 404 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_could_not_be_told_is_told_when_redis_answers_again() {
    let Some((one, two)) = pair("untold").await else { return };
    for slug in ["edited", "deleted", "doubted"] {
        // Of which nobody is told: what is told may be heard after the link was read, and has it read again.
        link_of_another(&one, slug, "https://old.example/").await;
        leads_to(&two, slug, "https://old.example/").await;
    }
    assert_eq!(two.get("/made").await.status, 404);
    one.shared.set_down(true);
    for target in ["https://newer.example/", "https://new.example/"] {
        assert_eq!(edit(&one, "edited", target).await, 200);
    }
    one.api(Method::DELETE, "/rest/v3/short-urls/deleted", &json!(null)).await;
    one.link(&json!({ "longUrl": "https://new.example/", "customSlug": "made" })).await;
    one.store.lose_answers(true);
    assert_eq!(edit(&one, "doubted", "https://new.example/").await, 503);
    one.store.lose_answers(false);
    assert_eq!(two.get("/edited").await.header("location"), "https://old.example/", "it can't know");
    one.shared.set_down(false);
    for slug in ["edited", "made", "doubted"] {
        leads_to(&two, slug, "https://new.example/").await;
    }
    is_gone(&two, "deleted").await;
    // Who has nothing in memory does not get it from Redis either.
    let three = one.beside(|_| {}).await;
    connected(&three).await;
    leads_to(&three, "edited", "https://new.example/").await;
    is_gone(&three, "deleted").await;
    assert_eq!(given_up(&one), 0);
}

#[tokio::test]
async fn whoever_changed_more_meanwhile_is_not_told_what_was_before() {
    let Some((one, two)) = pair("overtaken").await else { return };
    let slug = one.link(&json!({ "longUrl": "https://old.example/" })).await;
    leads_to(&two, &slug, "https://old.example/").await;
    one.shared.set_down(true);
    assert_eq!(edit(&one, &slug, "https://new.example/").await, 200);
    // Heard by the first, which knows a later one than Redis then.
    assert_eq!(edit(&two, &slug, "https://newest.example/").await, 200);
    one.shared.set_down(false);
    leads_to(&one, &slug, "https://newest.example/").await;
    leads_to(&two, &slug, "https://newest.example/").await;
    let three = one.beside(|_| {}).await;
    connected(&three).await;
    leads_to(&three, &slug, "https://newest.example/").await;
}

#[tokio::test]
async fn who_ends_tries_once_more_and_says_what_is_left() {
    let Some((one, two)) = pair("ending").await else { return };
    let slug = one.link(&json!({ "longUrl": "https://old.example/" })).await;
    leads_to(&two, &slug, "https://old.example/").await;
    one.shared.set_down(true);
    assert_eq!(edit(&one, &slug, "https://new.example/").await, 200);
    one.shared.set_down(false);
    one.shortener.close().await;
    assert_eq!(given_up(&one), 0);
    leads_to(&two, &slug, "https://new.example/").await;
    one.shared.set_down(true);
    assert_eq!(edit(&one, &slug, "https://newest.example/").await, 200);
    one.shortener.close().await;
    until("given up", || given_up(&one) == 1).await;
}
