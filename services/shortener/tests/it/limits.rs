//! Limits by client and by key: what is refused, what goes on, and what the answers and the events say of it.

use http::Method;
use serde_json::{Value, json};
use shortener::ShortenerConfig;
use wide_event::Outcome;

use crate::server::{Answer, Server};

/// This machine is a proxy, so that clients are who they say they are.
async fn behind_a_proxy(change: impl FnOnce(&mut ShortenerConfig)) -> Server {
    Server::with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        change(config);
    })
    .await
}

async fn get(server: &Server, client: &str, path: &str) -> Answer {
    server.call(Method::GET, path, &[("x-forwarded-for", client)], "").await
}

async fn link(server: &Server) -> String {
    server.link(&json!({ "longUrl": "https://example.com/" })).await
}

#[tokio::test]
async fn a_client_has_so_many_visits() {
    let server = behind_a_proxy(|config| {
        (config.limits.visits_per_s, config.limits.visits_burst) = (0.001, 3);
    })
    .await;
    let code = format!("/{}", link(&server).await);
    for path in [&code, "/", "/robots.txt"] {
        assert!(get(&server, "192.0.2.1", path).await.status.as_u16() < 400);
    }
    server.events().await;
    let refused = get(&server, "192.0.2.1", &code).await;
    assert_eq!(refused.status, 429);
    let after_s: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=1_000).contains(&after_s), "{after_s}");
    assert!(refused.text().contains("Too many requests"), "{}", refused.text());
    let event = server.event().await;
    assert_eq!((event.outcome, event.limiter.as_str()), (Outcome::RateLimited, "visits"));
    assert_eq!((event.route.as_str(), event.error_type.as_str()), ("/{code}", "rate_limited"));
    assert_eq!(event.client_net.to_string(), "192.0.2.0/24", "no whole address");
    assert_eq!(get(&server, "192.0.2.2", &code).await.status, 302, "others go on");
    assert_eq!(server.get(&code).await.status, 302, "so does this machine");
}

#[tokio::test]
async fn what_needs_no_key_counts_as_visits() {
    let paths = ["/rest/health", "/rest/v3/health", "/rest/v3/openapi.json", "/rest/v3/docs"];
    let server = behind_a_proxy(|config| {
        (config.limits.visits_per_s, config.limits.visits_burst) = (0.001, 4);
    })
    .await;
    for path in paths {
        assert_eq!(get(&server, "192.0.2.1", path).await.status, 200, "{path}");
    }
    server.events().await;
    for path in paths {
        let refused = get(&server, "192.0.2.1", path).await;
        assert_eq!(refused.status, 429, "{path}");
        assert_eq!(refused.json()["violated-policies"], json!(["visits"]), "{path}");
        let event = server.event().await;
        assert_eq!((event.outcome, event.limiter.as_str()), (Outcome::RateLimited, "visits"), "{path}");
        assert_eq!(get(&server, "192.0.2.2", path).await.status, 200, "others go on: {path}");
        server.events().await;
    }
    assert_eq!(server.get("/rest/health").await.status, 200, "so does this machine");
}

#[tokio::test]
async fn who_guesses_codes_gets_only_links_in_memory() {
    let server = behind_a_proxy(|config| {
        (config.limits.unknown_per_s, config.limits.unknown_burst) = (0.001, 3);
    })
    .await;
    let known = format!("/{}", link(&server).await);
    for guess in ["/aaa", "/bbb", "/ccc"] {
        assert_eq!(get(&server, "192.0.2.1", guess).await.status, 404);
    }
    server.events().await;
    let finds = server.store.find_count();
    for guess in ["/ddd", "/aaa", "/ddd+"] {
        assert_eq!(get(&server, "192.0.2.1", guess).await.status, 429, "{guess}");
    }
    assert_eq!(server.store.find_count(), finds, "the store is not asked");
    for event in server.events().await {
        assert_eq!((event.outcome, event.limiter.as_str()), (Outcome::RateLimited, "unknown_codes"));
    }
    assert_eq!(get(&server, "192.0.2.1", &known).await.status, 302, "a link in memory is followed");
    assert_eq!(get(&server, "192.0.2.2", "/ddd").await.status, 404, "others are told");
}

#[tokio::test]
async fn keys_have_quotas_and_are_told() {
    let server = behind_a_proxy(|config| {
        (config.limits.write_per_s, config.limits.write_burst) = (0.001, 2);
    })
    .await;
    let call = async |method: Method, body: &Value| {
        let headers = [("x-api-key", &*server.key), ("x-forwarded-for", "192.0.2.1")];
        server.call(method, "/rest/v3/short-urls", &headers, &body.to_string()).await
    };
    let body = json!({ "longUrl": "https://example.com/" });
    let made = call(Method::POST, &body).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header("ratelimit-policy"), "\"write\";q=2;w=2000");
    assert!(made.header("ratelimit").starts_with("\"write\";r=1;t="), "{}", made.header("ratelimit"));
    assert_eq!(call(Method::POST, &body).await.status, 201);
    server.events().await;
    let refused = call(Method::POST, &body).await;
    assert_eq!((refused.status.as_u16(), refused.header("content-type")), (429, "application/problem+json"));
    let problem = refused.json();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], json!(["write"]));
    assert!(refused.header("ratelimit").starts_with("\"write\";r=0;t="), "{}", refused.header("ratelimit"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    let event = server.event().await;
    assert_eq!((event.outcome, event.limiter.as_str()), (Outcome::RateLimited, "write"));
    assert_eq!(event.route.as_str(), "/rest/v3/short-urls");
    let list = call(Method::GET, &Value::Null).await;
    assert_eq!(list.status, 200, "reading is another quota");
    assert!(list.header("ratelimit-policy").starts_with("\"read\";q=10000;w=10"));
    let here = server.create(&body).await;
    assert_eq!((here.status.as_u16(), here.header("ratelimit")), (201, ""), "this machine has no quota");
}
