//! Changes whose outcome the store did not say: what was known before is not taken for what holds, here or elsewhere.

use http::Method;
use serde_json::json;
use testbed::shared_redis;

use crate::redis;
use crate::server::{Server, until};
use crate::tiers::{connected, leads_to};

/// Longer than any test: nothing is seen because a copy has aged.
const LONG_MS: u64 = 3_600_000;

#[tokio::test]
async fn a_change_without_an_answer_is_asked_for_again() {
    let server = Server::with(|config| config.cache.fresh_ms = LONG_MS).await;
    let code = server.link(&json!({ "longUrl": "https://old.example/" })).await;
    leads_to(&server, &code, "https://old.example/").await;
    let path = format!("/rest/v3/short-urls/{code}");
    server.store.lose_answers(true);
    let edit = json!({ "longUrl": "https://new.example/" });
    assert_eq!(server.api(Method::PATCH, &path, &edit).await.status, 503);
    let seen = server.get(&format!("/{code}")).await;
    assert_eq!(seen.header("location"), "https://new.example/");
    assert_eq!(server.api(Method::DELETE, &path, &json!(null)).await.status, 503);
    assert_eq!(server.get(&format!("/{code}")).await.status, 404);
}

#[tokio::test]
async fn so_it_is_by_other_instances() {
    let Some(redis) = shared_redis() else { return };
    let config = redis::config(redis, "doubts");
    let one = Server::with(move |all| {
        all.redis = config;
        all.cache.fresh_ms = LONG_MS;
        all.cache.stale_s = 2 * LONG_MS / 1_000;
    })
    .await;
    let two = one.beside(|_| {}).await;
    connected(&one).await;
    connected(&two).await;
    let code = one.link(&json!({ "longUrl": "https://old.example/" })).await;
    leads_to(&two, &code, "https://old.example/").await;
    let key = format!("doubts:entry:{code}");
    until("shared", || redis.command(&["EXISTS", &key]).trim() == "1").await;
    one.store.lose_answers(true);
    let edit = json!({ "longUrl": "https://new.example/" });
    let path = format!("/rest/v3/short-urls/{code}");
    assert_eq!(one.api(Method::PATCH, &path, &edit).await.status, 503);
    // Who has nothing in memory does not get it from Redis either.
    let three = one.beside(|_| {}).await;
    connected(&three).await;
    assert_eq!(three.get(&format!("/{code}")).await.header("location"), "https://new.example/");
    leads_to(&one, &code, "https://new.example/").await;
    leads_to(&two, &code, "https://new.example/").await;
}

#[tokio::test]
async fn many_links_that_take_too_long_are_no_reason_to_refuse_one() {
    let server = Server::start().await;
    let items: Vec<_> = (0..3).map(|at| json!({ "longUrl": format!("https://example.com/{at}") })).collect();
    server.store.time_out_creates(true);
    for _ in 0..20 {
        let bulk = json!({ "shortUrls": items });
        assert_eq!(server.api(Method::POST, "/rest/v3/short-urls/bulk", &bulk).await.status, 503);
    }
    server.store.time_out_creates(false);
    server.link(&json!({ "longUrl": "https://example.com/" })).await;
}

#[tokio::test]
async fn domains_that_were_read_late_do_not_replace_those_read_since() {
    let Some(redis) = shared_redis() else { return };
    let config = redis::config(redis, "domains-late");
    let one = Server::with(move |all| all.redis = config).await;
    let two = one.beside(|_| {}).await;
    connected(&one).await;
    connected(&two).await;
    let goes = async || two.get("/").await.status == 302;
    assert!(!goes().await);
    one.store.hold_next_domains();
    // Two does not know the domain, and reads what is there now.
    one.link(&json!({ "longUrl": "https://example.com/", "domain": "new.example" })).await;
    one.store.domains_held().await;
    let set = json!({ "domain": one.addr.to_string(), "baseUrlRedirect": "https://e.example/" });
    let answer = one.api(Method::PATCH, "/rest/v3/domains/redirects", &set).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // A reading that does not wait for the one before has every chance to come first.
    for _ in 0..100 {
        if goes().await {
            break;
        }
    }
    let mut seen = goes().await;
    one.store.let_domains_go();
    let mut since = 0;
    while since < 200 {
        let now = goes().await;
        assert!(now || !seen, "what was read later is gone again");
        (seen, since) = (now, since + u32::from(now));
    }
}
