//! What a browser asks and is told before a page of another origin may use the API.

use http::Method;
use serde_json::json;

use crate::server::Server;

const PAGE: &str = "https://app.shlink.example";

/// What a browser sends before a PATCH with a key and JSON.
const PREFLIGHT: [(&str, &str); 3] = [
    ("origin", PAGE),
    ("access-control-request-method", "PATCH"),
    ("access-control-request-headers", "content-type,if-match,x-api-key"),
];

#[tokio::test]
async fn a_page_of_another_origin_can_use_the_api_and_redirects_stay_as_they_are() {
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    let path = format!("/rest/v3/short-urls/{code}");
    for path in [&*path, "/rest/v3/short-urls", "/rest/v3/short-urls.csv", "/rest/health", "/rest/nowhere"] {
        // Without a key: browsers send none with a preflight.
        let asked = server.call(Method::OPTIONS, path, &PREFLIGHT, "").await;
        assert_eq!(asked.status, 204, "{path}");
        assert_eq!(asked.header("access-control-allow-origin"), "*");
        assert!(asked.header("access-control-allow-methods").contains("PATCH"));
        let fields = asked.header("access-control-allow-headers").to_lowercase();
        for field in ["x-api-key", "content-type", "if-match", "idempotency-key"] {
            assert!(fields.contains(field), "{field}");
        }
        assert_eq!(asked.header("access-control-max-age"), "3600");
        assert_eq!(asked.header("access-control-allow-credentials"), "");
    }
    let key = server.key.clone();
    let with_key = [("origin", PAGE), ("x-api-key", &key)];
    for (headers, status) in [(&with_key[..], 200), (&with_key[..1], 401)] {
        let answer = server.call(Method::GET, &path, headers, "").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), "*", "pages must be able to read errors");
        for field in [
            "ETag",
            "RateLimit",
            "X-Request-Id",
            "Idempotency-Replayed",
            "Location",
            "Retry-After",
            "Content-Disposition",
        ] {
            assert!(answer.header("access-control-expose-headers").split(", ").any(|name| name == field));
        }
    }
    let plain = server.call(Method::OPTIONS, &path, &[("x-api-key", &key)], "").await;
    assert!(plain.header("allow").contains("PATCH"), "what is no preflight asks what the path can do");
    let visit = server.call(Method::GET, &format!("/{code}"), &[("origin", PAGE)], "").await;
    assert_eq!((visit.status.as_u16(), visit.header("access-control-allow-origin")), (302, ""));
    let events = server.events().await;
    assert!(events.iter().all(|event| !event.route.is_empty()), "preflights have their route too");
}

#[tokio::test]
async fn named_origins_are_the_only_ones() {
    let server = Server::with(|config| config.api.cors_origins = vec![PAGE.to_owned()]).await;
    let right = server.call(Method::OPTIONS, "/rest/v3/short-urls", &PREFLIGHT, "").await;
    assert_eq!(right.header("access-control-allow-origin"), PAGE);
    assert_eq!(right.header("vary"), "Origin");
    let wrong = [("origin", "https://evil.example"), PREFLIGHT[1], PREFLIGHT[2]];
    let wrong = server.call(Method::OPTIONS, "/rest/v3/short-urls", &wrong, "").await;
    assert_eq!(wrong.header("access-control-allow-origin"), "");
    assert_eq!(wrong.header("access-control-allow-methods"), "");
    assert_eq!(wrong.header("vary"), "Origin", "a cache must not give one page the answer of another");
}
