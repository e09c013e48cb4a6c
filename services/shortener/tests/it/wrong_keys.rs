//! Keys that are none: what they cost the store, and who is refused for them.

use http::Method;
use shortener::keys::{self, NewKey};

use crate::server::Server;

const LINKS: &str = "/rest/v3/short-urls";

/// This machine is a proxy; a client may come with three wrong keys, and then with none for long.
async fn strict() -> Server {
    Server::with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        (config.limits.wrong_keys_per_s, config.limits.wrong_keys_burst) = (0.001, 3);
    })
    .await
}

async fn ask(server: &Server, client: &str, key: &str) -> u16 {
    let headers = [("x-forwarded-for", client), ("x-api-key", key)];
    server.call(Method::GET, LINKS, &headers, "").await.status.as_u16()
}

#[tokio::test]
async fn the_same_wrong_key_is_asked_for_once() {
    let server = strict().await;
    for _ in 0..50 {
        assert_eq!(ask(&server, "192.0.2.1", "wrong").await, 401);
    }
    assert_eq!(server.store.key_find_count(), 1);
}

#[tokio::test]
async fn who_tries_keys_is_refused_and_its_neighbours_are_not() {
    let server = strict().await;
    let key = server.key.clone();
    assert_eq!(ask(&server, "192.0.2.1", &key).await, 200);
    let statuses: Vec<_> = futures_util::future::join_all(
        (0..20).map(async |number| ask(&server, "192.0.2.1", &format!("guess-{}", number / 2)).await),
    )
    .await;
    // All at once, they may all be asked for before the first is known to be wrong.
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    server.events().await;
    let asked = server.store.key_find_count();
    for number in 0..20 {
        assert_eq!(ask(&server, "192.0.2.1", &format!("more-{number}")).await, 429);
    }
    assert_eq!(server.store.key_find_count(), asked, "nobody is asked");
    let event = server.events().await.pop().unwrap();
    assert_eq!((event.limiter.as_str(), event.error_type.as_str()), ("wrong_keys", "rate_limited"));
    // A key that was accepted before is, from the same network, also when it has to be asked for again.
    assert_eq!(ask(&server, "192.0.2.1", &key).await, 200);
    let (made, text) = keys::create(server.store.inner.as_ref(), NewKey::named("new")).await.unwrap();
    assert_eq!(ask(&server, "192.0.2.2", &text).await, 200, "other networks are not concerned");
    assert_eq!(ask(&server, "192.0.2.1", &text).await, 200, "nor is a key that is known here");
    assert!(keys::revoke(server.store.inner.as_ref(), &made.id).await.unwrap());
    assert_eq!(ask(&server, "127.0.0.1", "guess").await, 401, "who is not limited is not");
}
