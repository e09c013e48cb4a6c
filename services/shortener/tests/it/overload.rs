//! Requests are refused before work, the management API first.

use std::sync::Arc;

use http::Method;
use serde_json::json;
use wide_event::Outcome;

use crate::server::{Server, until};

#[tokio::test]
async fn the_api_is_shed_before_redirects() {
    let server = Server::with(|config| {
        config.limits.api_in_flight_max = 1;
        config.limits.in_flight_max = 2;
    })
    .await;
    let server = Arc::new(server);
    let code = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    server.store.hold_finds(true);
    let held = |path: &'static str| {
        let server = server.clone();
        tokio::spawn(async move { server.get(path).await.status.as_u16() })
    };
    let first = held("/one");
    until("one under way", || server.store.find_count() == 1).await;
    let api = server.create(&json!({ "longUrl": "https://example.com/" })).await;
    assert_eq!((api.status.as_u16(), api.header("retry-after")), (503, "1"));
    assert_eq!(api.header("content-type"), "application/problem+json");
    let event = server.events().await.pop().unwrap();
    assert_eq!((event.outcome, event.limiter.as_str()), (Outcome::Shed, "api_in_flight"));
    assert_eq!((event.route.as_str(), event.error_type.as_str()), ("/rest/v3/short-urls", "shed"));
    let api = server.call(Method::DELETE, "/rest/v3/short-urls", &[], "").await;
    assert_eq!(api.status, 503, "also what is refused anyway takes a place");
    assert_eq!(server.get(&format!("/{code}")).await.status, 302, "redirects go on");
    let second = held("/two");
    until("two under way", || server.store.find_count() == 2).await;
    let refused = server.get(&format!("/{code}")).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
    let event = server.events().await.pop().unwrap();
    assert_eq!((event.outcome, event.limiter.as_str()), (Outcome::Shed, "in_flight"));
    assert_eq!((event.route.as_str(), event.error_type.as_str()), ("/{code}", "shed"));
    assert_eq!(event.error_message.as_str(), "2 requests are under way, the most that in_flight allows",);
    for method in [Method::POST, Method::OPTIONS] {
        assert_eq!(server.call(method, &format!("/{code}"), &[], "").await.status, 503);
    }
    assert_eq!(server.get("/a/b").await.status, 503);
    server.store.hold_finds(false);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (404, 404));
    assert_eq!(
        server.create(&json!({ "longUrl": "https://example.com/" })).await.status,
        201,
        "places come back"
    );
}
