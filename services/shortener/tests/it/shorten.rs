//! A short URL by an address alone, as Shlink has it.

use http::Method;
use serde_json::{Value, json};
use shortener::keys::{self, NewKey, Role};

use crate::server::Server;

const PATH: &str = "/rest/v3/short-urls/shorten";

#[tokio::test]
async fn an_address_makes_a_short_url() {
    let server = Server::start().await;
    let asked = |more: &str| {
        format!("{PATH}?apiKey={}&longUrl=https%3A%2F%2Fexample.com%2F%3Fa%3D%2526{more}", server.key)
    };
    let cases = [
        ("", "", false),
        ("&format=json", "", false),
        ("&format=txt", "", true),
        ("&format=TXT", "", true),
        ("&format=xml", "text/plain", false),
        ("&format=json", "text/plain", false),
        ("", "text/plain;q=0.9, */*", true),
        ("", "Text/Plain", true),
        ("", "application/json, text/plain", false),
    ];
    let mut seen = Vec::new();
    for (more, accepted, is_text) in cases {
        let answer = server.call(Method::GET, &asked(more), &[("accept", accepted)], "").await;
        assert_eq!(answer.status, 200, "{more} {}", answer.text());
        let url = if is_text {
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
            answer.text()
        } else {
            assert_eq!(answer.header("content-type"), "application/json");
            assert_eq!(answer.json()["longUrl"], "https://example.com/?a=%26");
            answer.json()["shortUrl"].as_str().unwrap().to_owned()
        };
        assert_eq!(answer.header("cache-control"), "no-store");
        let code = url.strip_prefix(&format!("http://{}/", server.addr)).unwrap().to_owned();
        assert_eq!(server.get(&format!("/{code}")).await.header("location"), "https://example.com/?a=%26");
        seen.push(code);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 9, "each makes one");
}

#[tokio::test]
async fn what_is_wrong_is_a_problem_whatever_is_wanted() {
    let server = Server::start().await;
    let key = server.key.clone();
    let own = format!("http://{}/x", server.addr);
    for (query, status, kind) in [
        ("longUrl=https://example.com/".to_owned(), 401, "missing-authentication"),
        ("apiKey=&longUrl=https://example.com/".to_owned(), 401, "missing-authentication"),
        (format!("apiKey={key}&apiKey={key}&longUrl=https://example.com/"), 401, "missing-authentication"),
        ("apiKey=none&longUrl=https://example.com/".to_owned(), 401, "invalid-api-key"),
        (format!("apiKey={key}"), 400, "invalid-data"),
        (format!("apiKey={key}&longUrl=ftp://example.com/"), 400, "invalid-data"),
        (format!("apiKey={key}&longUrl={own}"), 400, "invalid-data"),
    ] {
        let answer = server.get(&format!("{PATH}?{query}&format=txt")).await;
        assert_eq!(answer.status.as_u16(), status, "{query}");
        assert_eq!(answer.json()["type"], format!("https://shlink.io/api/error/{kind}"), "{query}");
    }
    let missing =
        server.api(Method::GET, &format!("{PATH}?longUrl=https://example.com/"), &Value::Null).await;
    assert_eq!(missing.status, 401, "the header is for all other routes");
    assert_eq!(missing.json()["param"], "apiKey");
    // And the query is for none.
    let list = server.get(&format!("/rest/v3/short-urls?apiKey={key}")).await;
    assert_eq!((list.status.as_u16(), &list.json()["expectedTypes"]), (401, &json!(["X-Api-Key"])));
}

#[tokio::test]
async fn nothing_tells_of_the_key() {
    let server = Server::start().await;
    let key = server.key.clone();
    let wrong = "a-wrong-key-that-somebody-sent";
    for (given, query) in [
        (&*key, "longUrl=https://example.com/"),
        (&*key, "longUrl=nowhere"),
        (wrong, "longUrl=https://example.com/"),
    ] {
        let path = format!("{PATH}?apiKey={given}&{query}");
        let answer = server.get(&path).await;
        let event = format!("{:?}", server.event().await);
        assert!(event.contains(PATH), "{event}");
        assert!(!event.contains(given) && !event.contains("longUrl="), "{event}");
        let head = format!("{:?} {}", answer.headers, answer.text());
        assert!(!head.contains(given), "{head}");
    }
    server.store.set_down(true);
    server.get(&format!("{PATH}?apiKey={wrong}-2&longUrl=https://example.com/")).await;
    assert!(!format!("{:?}", server.event().await).contains(wrong));
}

/// A GET that makes a link is no reading, and nothing else about links with this code is special.
#[tokio::test]
async fn roles_and_other_methods_are_as_with_creations() {
    let server = Server::start().await;
    let mut made = Vec::new();
    for (role, status) in [
        (Role::ReadOnly, 403),
        (Role::CreateOnly, 200),
        (Role::OwnLinks, 200),
        (Role::Domain { domain: "t.example".to_owned() }, 200),
    ] {
        let new = NewKey { roles: vec![role.clone()], ..NewKey::named("narrow") };
        let (_, key) = keys::create(server.store.as_ref(), new).await.unwrap();
        let answer = server.get(&format!("{PATH}?apiKey={key}&longUrl=https://example.com/")).await;
        assert_eq!(answer.status, status, "{role:?}");
        made.push(answer.json());
    }
    assert_eq!(made[3]["domain"], "t.example");
    let count = async || {
        let list = server.api(Method::GET, "/rest/v3/short-urls", &Value::Null).await.json();
        list["shortUrls"]["pagination"]["totalItems"].as_u64().unwrap()
    };
    assert_eq!(count().await, 3);
    let asked = format!("{PATH}?apiKey={}&longUrl=https://example.com/", server.key);
    for method in [Method::HEAD, Method::POST, Method::PUT] {
        let answer = server.api(method.clone(), &asked, &Value::Null).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("allow")),
            (405, "GET, PATCH, DELETE, OPTIONS"),
            "{method}"
        );
    }
    assert_eq!(count().await, 3, "nothing is made");

    server
        .link(&json!({ "longUrl": "https://example.com/", "customSlug": "shorten", "tags": ["mine"] }))
        .await;
    let edited = server.api(Method::PATCH, PATH, &json!({ "title": "Mine" })).await;
    assert_eq!((edited.status.as_u16(), &edited.json()["title"]), (200, &json!("Mine")));
    let below = server.api(Method::GET, &format!("{PATH}/redirect-rules"), &Value::Null).await;
    assert_eq!(below.status, 200);
    assert_eq!(server.get("/shorten").await.status, 302);
    assert_eq!(server.api(Method::DELETE, PATH, &Value::Null).await.status, 204);
}
