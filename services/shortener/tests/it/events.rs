//! What the event of a request says: its route, its client, and what was wrong.

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wide_event::Event;

use crate::server::Server;

const KEY: &str = "x-api-key";

fn net(event: &Event<'_>) -> String {
    event.client_net.to_string()
}

async fn behind_a_proxy() -> Server {
    Server::with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.http.country_header = Some("CF-IPCountry".to_owned().try_into().unwrap());
    })
    .await
}

#[tokio::test]
async fn every_4xx_has_a_route_and_a_reason() {
    let server = Server::with(|config| config.limits.body_bytes_max = 200).await;
    let target = "https://example.com/";
    let gone = server.link(&json!({ "longUrl": target, "validUntil": "2020-01-01T00:00:00Z" })).await;
    let early = server.link(&json!({ "longUrl": target, "validSince": "2999-01-01T00:00:00Z" })).await;
    let spent = server.link(&json!({ "longUrl": target, "maxVisits": 1 })).await;
    server.get(&format!("/{spent}")).await;
    let taken = json!({ "longUrl": target, "customSlug": spent }).to_string();
    let large = "x".repeat(300);
    let list = "/rest/v3/short-urls";
    let item = "/rest/v3/short-urls/{short_code}";
    let key = server.key.clone();
    let (gone, early, spent) = (format!("/{gone}"), format!("/{early}"), format!("/{spent}"));
    let cases: &[(&str, &str, &str, &str, u16, &str, &str)] = &[
        // method, path, key, body, status, route, error_type
        ("GET", "/unknown", "", "", 404, "/{code}", "unknown_code"),
        ("GET", "/a%20b", "", "", 404, "/{code}", "no_route"),
        ("GET", "/unknown+", "", "", 404, "/{code}+", "unknown_code"),
        ("GET", &gone, "", "", 410, "/{code}", "expired"),
        ("GET", &early, "", "", 404, "/{code}", "not_yet_valid"),
        ("GET", &spent, "", "", 410, "/{code}", "exhausted"),
        ("POST", &spent, "", "", 405, "/{code}", "method_not_allowed"),
        ("BREW", "/unknown", "", "", 405, "/{code}", "method_not_allowed"),
        ("POST", "/", "", "", 405, "/", "method_not_allowed"),
        ("PUT", "/robots.txt", "", "", 405, "/robots.txt", "method_not_allowed"),
        ("GET", "/a/b", "", "", 404, "unmatched", "no_route"),
        ("DELETE", "/a/b", "", "", 404, "unmatched", "no_route"),
        ("GET", "/rest/v3/nothing", "", "", 404, "/rest/{*path}", "no_route"),
        ("DELETE", list, &key, "", 405, list, "method_not_allowed"),
        ("PUT", "/rest/v3/short-urls/x", &key, "", 405, item, "method_not_allowed"),
        ("POST", "/rest/health", "", "", 405, "/rest/health", "method_not_allowed"),
        ("GET", list, "", "", 401, list, "key_missing"),
        ("GET", list, "wrong", "", 401, list, "key_invalid"),
        ("GET", "/rest/v3/short-urls?page=0", &key, "", 400, list, "invalid_data"),
        ("GET", "/rest/v3/short-urls/nothing", &key, "", 404, item, "unknown_code"),
        ("POST", list, &key, "{", 400, list, "body_no_json"),
        ("POST", list, &key, "[]", 400, list, "body_no_object"),
        ("POST", list, &key, &large, 413, list, "body_too_large"),
        ("POST", list, &key, "{}", 400, list, "invalid_data"),
        ("POST", list, &key, &taken, 409, list, "slug_taken"),
    ];
    server.events().await;
    for (method, path, key, body, status, route, error_type) in cases {
        let headers: &[_] = if key.is_empty() { &[] } else { &[(KEY, *key)] };
        let answer = server.call(method.parse().unwrap(), path, headers, body).await;
        let event = server.event().await;
        assert_eq!((answer.status.as_u16(), event.status), (*status, *status), "{method} {path}");
        assert_eq!(
            (event.route.as_str(), event.error_type.as_str()),
            (*route, *error_type),
            "{method} {path}"
        );
        assert_eq!(answer.headers.contains_key("allow"), *status == 405, "{method} {path}");
    }
}

#[tokio::test]
async fn clients_behind_trusted_proxies_are_named_on_every_route_and_refusal() {
    let said = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https"), ("cf-ipcountry", "nz")];
    let (trusting, other) = (behind_a_proxy().await, Server::start().await);
    for (method, path) in [
        (Method::GET, "/unknown"),
        (Method::HEAD, "/"),
        (Method::POST, "/unknown"),
        (Method::OPTIONS, "/unknown"),
        (Method::GET, "/a/b"),
        (Method::DELETE, "/rest/v3/short-urls"),
        (Method::OPTIONS, "/rest/v3/short-urls"),
        (Method::GET, "/rest/v3/short-urls"),
        (Method::GET, "/rest/nothing"),
        (Method::PUT, "/rest/health"),
    ] {
        trusting.call(method.clone(), path, &said, "").await;
        let event = trusting.event().await;
        let found = (net(&event), event.scheme.as_str().to_owned(), event.country.as_str().to_owned());
        assert_eq!(found, ("203.0.113.0/24".into(), "https".into(), "NZ".into()), "{method} {path}");
        other.call(method.clone(), path, &said, "").await;
        let event = other.event().await;
        let found = (net(&event), event.scheme.as_str().to_owned(), event.country.as_str().to_owned());
        assert_eq!(found, ("127.0.0.0/24".into(), "http".into(), String::new()), "{method} {path}");
    }
}

#[tokio::test]
async fn what_proxies_say_badly_is_not_believed() {
    let server = behind_a_proxy().await;
    for (header, value) in [
        ("x-forwarded-proto", "https, http"),
        ("x-forwarded-proto", "ftp"),
        ("x-forwarded-proto", ""),
        ("cf-ipcountry", "XX"),
        ("cf-ipcountry", "T1"),
        ("cf-ipcountry", "New Zealand"),
    ] {
        server.call(Method::GET, "/x", &[(header, value)], "").await;
        let event = server.event().await;
        assert_eq!((event.scheme.as_str(), event.country.as_str()), ("http", ""), "{header}: {value}");
    }
}

#[tokio::test]
async fn fetching_ahead_is_no_click_and_takes_no_visit_nor_a_target_that_costs_one() {
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    let limited = server.link(&json!({ "longUrl": "https://example.com/", "maxVisits": 1 })).await;
    server.events().await;
    for (code, header, value, click, status) in [
        (&code, "sec-purpose", "prefetch", false, 302),
        (&limited, "purpose", "prefetch", false, 403),
        (&limited, "sec-purpose", "prefetch", false, 403),
        (&limited, "sec-purpose", "Prefetch;prerender", false, 403),
        (&code, "x-purpose", "preview", false, 302),
        (&limited, "purpose", "preview", false, 403),
        (&limited, "x-purpose", "preview", false, 403),
        (&limited, "x-purpose", "prefetch", false, 403),
        (&limited, "x-moz", "prefetch", false, 403),
        (&code, "x-moz", "other", true, 302),
        (&limited, "sec-purpose", "navigate", true, 302),
        (&limited, "sec-purpose", "navigate", false, 410),
        (&limited, "sec-purpose", "prefetch", false, 410),
    ] {
        let answer = server.call(Method::GET, &format!("/{code}"), &[(header, value)], "").await;
        let event = server.event().await;
        assert_eq!((answer.status.as_u16(), event.click), (status, click), "{header}: {value}");
        assert_eq!(answer.header("location").is_empty(), status != 302, "{header}: {value}");
        if status == 403 {
            assert_eq!(event.error_type.as_str(), "prefetch_of_limited");
        }
    }
}

#[tokio::test]
async fn requests_without_one_host_leave_an_event() {
    let server = Server::start().await;
    for (hosts, error_type) in
        [("", "host_missing"), ("Host: a\r\nHost: a\r\n", "host_repeated"), ("Host: a b\r\n", "host_invalid")]
    {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        let request = format!("GET /x HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("application/problem+json"),
            "{answer}"
        );
        let event = server.event().await;
        assert_eq!((event.status, event.error_type.as_str()), (400, error_type));
    }
    assert!(server.malformed.lock().unwrap().is_empty(), "they reach the service");
}
