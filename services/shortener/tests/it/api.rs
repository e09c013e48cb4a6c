//! Creating, editing, deleting; keys; problem documents.

use http::Method;
use serde_json::{Value, json};
use shortener::keys::{self, NewKey};

use crate::server::Server;

const LINKS: &str = "/rest/v3/short-urls";

#[tokio::test]
async fn a_link_is_made_edited_and_deleted() {
    let server = Server::start().await;
    let made = server
        .create(&json!({
            "longUrl": "https://EXAMPLE.com/a", "title": "A <b>", "tags": ["Foo Bar", "x"],
            "validSince": "2020-01-01T00:00:00+01:00", "validUntil": "2999-01-01T00:00:00Z", "crawlable": true,
        }))
        .await;
    assert_eq!(made.status, 201);
    let mut document = made.json();
    let code = document["shortCode"].as_str().unwrap().to_owned();
    assert_eq!(code.len(), 7);
    assert_eq!(document["shortUrl"], format!("http://{}/{code}", server.addr));
    assert!(document["dateCreated"].as_str().unwrap().ends_with("+00:00"));
    document["shortCode"].take();
    document["shortUrl"].take();
    document["dateCreated"].take();
    assert_eq!(
        document,
        json!({
            "shortCode": null, "shortUrl": null, "dateCreated": null,
            "longUrl": "https://example.com/a", "title": "A <b>", "tags": ["foo-bar", "x"],
            "meta": { "validSince": "2019-12-31T23:00:00+00:00", "validUntil": "2999-01-01T00:00:00+00:00",
                      "maxVisits": null },
            "domain": null, "crawlable": true, "forwardQuery": true, "hasRedirectRules": false,
            "redirectStatus": null, "cacheLifetime": null,
        })
    );
    let path = format!("{LINKS}/{code}");
    let shown = server.api(Method::GET, &path, &Value::Null).await;
    assert_eq!((shown.status.as_u16(), shown.json()), (200, made.json()));

    let edited = server
        .api(
            Method::PATCH,
            &path,
            &json!({ "longUrl": "https://example.com/b", "title": null, "tags": ["y"], "validUntil": null }),
        )
        .await;
    assert_eq!(edited.status, 200);
    let document = edited.json();
    assert_eq!(document["longUrl"], "https://example.com/b");
    assert_eq!(document["title"], Value::Null);
    assert_eq!(document["tags"], json!(["y"]));
    assert_eq!(document["meta"]["validUntil"], Value::Null);
    assert_eq!(document["meta"]["validSince"], "2019-12-31T23:00:00+00:00", "left alone");
    let visited = server.get(&format!("/{code}")).await;
    assert_eq!(visited.header("location"), "https://example.com/b");

    assert_eq!(server.api(Method::DELETE, &path, &Value::Null).await.status, 204);
    assert_eq!(server.get(&format!("/{code}")).await.status, 404);
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let gone = server.api(method, &path, &json!({})).await;
        assert_eq!(gone.status, 404);
        assert_eq!(gone.header("content-type"), "application/problem+json");
        let document = gone.json();
        assert_eq!(document["type"], "https://shlink.io/api/error/short-url-not-found");
        assert_eq!(document["shortCode"], code);
        assert_eq!(document["status"], 404);
    }
}

#[tokio::test]
async fn each_mistake_is_named() {
    let server = Server::start().await;
    let target = "https://example.com/";
    let long = "a".repeat(3_000);
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &["longUrl"]),
        (json!({ "longUrl": null }), &["longUrl"]),
        (json!({ "longUrl": 1 }), &["longUrl"]),
        (json!({ "longUrl": "" }), &["longUrl"]),
        (json!({ "longUrl": "javascript:alert(1)" }), &["longUrl"]),
        (json!({ "longUrl": format!("https://example.com/{long}") }), &["longUrl"]),
        (json!({ "longUrl": format!("http://{}/loop", server.addr) }), &["longUrl"]),
        (json!({ "longUrl": "https://example.com/\r\nSet-Cookie: a=b" }), &["longUrl"]),
        (json!({ "longUrl": target, "customSlug": "a//b" }), &["customSlug"]),
        (json!({ "longUrl": target, "customSlug": "a/../b" }), &["customSlug"]),
        (json!({ "longUrl": target, "customSlug": "rest/v3" }), &["customSlug"]),
        (json!({ "longUrl": target, "pathPrefix": "rest/" }), &["pathPrefix"]),
        (json!({ "longUrl": target, "pathPrefix": 7 }), &["pathPrefix"]),
        (json!({ "longUrl": target, "pathPrefix": "a".repeat(250) }), &["pathPrefix"]),
        (json!({ "longUrl": target, "redirectStatus": 303 }), &["redirectStatus"]),
        (json!({ "longUrl": target, "redirectStatus": "301" }), &["redirectStatus"]),
        (json!({ "longUrl": target, "cacheLifetime": -1 }), &["cacheLifetime"]),
        (json!({ "longUrl": target, "cacheLifetime": 31_536_001 }), &["cacheLifetime"]),
        (json!({ "longUrl": target, "customSlug": "rest" }), &["customSlug"]),
        (json!({ "longUrl": target, "customSlug": 7 }), &["customSlug"]),
        (json!({ "longUrl": target, "customSlug": long }), &["customSlug"]),
        (json!({ "longUrl": target, "shortCodeLength": 3 }), &["shortCodeLength"]),
        (json!({ "longUrl": target, "shortCodeLength": 21 }), &["shortCodeLength"]),
        (json!({ "longUrl": target, "shortCodeLength": "7" }), &["shortCodeLength"]),
        (json!({ "longUrl": target, "shortCodeLength": 1e30 }), &["shortCodeLength"]),
        (json!({ "longUrl": target, "title": ["a"] }), &["title"]),
        (json!({ "longUrl": target, "title": "a\u{0}b" }), &["title"]),
        (json!({ "longUrl": target, "title": long }), &["title"]),
        (json!({ "longUrl": target, "tags": "a" }), &["tags"]),
        (json!({ "longUrl": target, "tags": [1] }), &["tags"]),
        (json!({ "longUrl": target, "tags": (0..33).map(|n| n.to_string()).collect::<Vec<_>>() }), &["tags"]),
        (json!({ "longUrl": target, "validSince": "soon" }), &["validSince"]),
        (json!({ "longUrl": target, "validUntil": 5 }), &["validUntil"]),
        (
            json!({ "longUrl": target, "validSince": "2024-01-02", "validUntil": "2024-01-01" }),
            &["validUntil"],
        ),
        (json!({ "longUrl": target, "maxVisits": 0 }), &["maxVisits"]),
        (json!({ "longUrl": target, "maxVisits": 1.5 }), &["maxVisits"]),
        (json!({ "longUrl": target, "maxVisits": -1 }), &["maxVisits"]),
        (json!({ "longUrl": target, "crawlable": "yes" }), &["crawlable"]),
        (json!({ "longUrl": target, "forwardQuery": 1 }), &["forwardQuery"]),
        (json!({ "longUrl": target, "findIfExists": 1 }), &["findIfExists"]),
        (json!({ "longUrl": target, "domain": "other.example/" }), &["domain"]),
        (json!({ "longUrl": target, "domain": "127.0.0.1" }), &["domain"]),
        (json!({ "longUrl": target, "domain": 7 }), &["domain"]),
        (json!({ "longUrl": target, "domain": "example.com" }), &["longUrl"]),
        (json!({ "longUrl": 1, "tags": 1, "maxVisits": "x" }), &["longUrl", "tags", "maxVisits"]),
    ];
    for (body, names) in cases {
        let answer = server.create(&body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let document = answer.json();
        assert_eq!(document["type"], "https://shlink.io/api/error/invalid-data", "{body}");
        assert_eq!(document["invalidElements"], json!(names), "{body}");
        for name in names {
            assert!(document["reasons"][name].as_str().is_some_and(|why| !why.is_empty()), "{body}");
        }
    }
    let list = server.api(Method::GET, LINKS, &Value::Null).await.json();
    assert_eq!(list["shortUrls"]["pagination"]["totalItems"], 0, "nothing was stored");
}

#[tokio::test]
async fn bodies_that_are_no_objects_are_refused() {
    let server = Server::with(|config| config.limits.body_bytes_max = 1_000).await;
    let key = [("x-api-key", server.key.as_str())];
    let deep = "[".repeat(900);
    for body in ["{", "[]", "1", "null", "{\"longUrl\":}", "{\"a\":1}}", "\u{0}", &deep] {
        let answer = server.call(Method::POST, LINKS, &key, body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["type"], "https://shlink.io/api/error/malformed-request-body", "{body}");
    }
    let large = format!("{{\"longUrl\":\"{}\"}}", "a".repeat(1_000));
    let answer = server.call(Method::POST, LINKS, &key, &large).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (413, "application/problem+json"));
}

#[tokio::test]
async fn keys_are_needed_and_can_be_revoked_and_expire() {
    let server = Server::start().await;
    let ask = async |key: &str| {
        let headers = if key.is_empty() { vec![] } else { vec![("x-api-key", key)] };
        let answer = server.call(Method::GET, LINKS, &headers, "").await;
        let challenge =
            if answer.status == 401 { "ApiKey realm=\"hoplog\", header=\"X-Api-Key\"" } else { "" };
        assert_eq!(answer.header("www-authenticate"), challenge);
        (answer.status.as_u16(), answer.json()["type"].as_str().unwrap_or_default().to_owned())
    };
    let missing = (401, "https://shlink.io/api/error/missing-authentication".to_owned());
    let invalid = (401, "https://shlink.io/api/error/invalid-api-key".to_owned());
    assert_eq!(ask("").await, missing);
    assert_eq!(ask("wrong").await, invalid);
    assert_eq!(ask(&"x".repeat(2_000)).await, invalid);
    assert_eq!(ask(&server.key).await.0, 200);
    let both = [("x-api-key", server.key.as_str()), ("x-api-key", "other")];
    assert_eq!(server.call(Method::GET, LINKS, &both, "").await.status, 401, "two keys are none");

    let store = server.store.inner.as_ref();
    let (_, expired) =
        keys::create(store, NewKey { expires_at: Some(1), ..NewKey::named("expired") }).await.unwrap();
    assert_eq!(ask(&expired).await, invalid);
    let (key, text) =
        keys::create(store, NewKey { expires_at: Some(i64::MAX), ..NewKey::named("second") }).await.unwrap();
    assert!(keys::revoke(store, &key.id).await.unwrap());
    assert!(!keys::revoke(store, &key.id).await.unwrap(), "once");
    assert!(!keys::revoke(store, "nobody").await.unwrap());
    assert_eq!(ask(&text).await, invalid);
    let names: Vec<_> = keys::list(store).await.unwrap().into_iter().map(|key| key.name).collect();
    assert_eq!(names.len(), 3);
    let listed = format!("{:?}", keys::list(store).await.unwrap());
    assert!(!listed.contains(&text[3..]), "a listing shows no key");
    // What is on disk is no key either.
    for file in ["links.db", "links.db-wal"] {
        let bytes = std::fs::read(server.dir.path().join(file)).unwrap();
        let secret = &text.as_bytes()[3..];
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{file}");
    }
}

#[tokio::test]
async fn an_alias_is_given_once() {
    let server = Server::start().await;
    let body = json!({ "longUrl": "https://example.com/", "customSlug": "promo" });
    let mut statuses = std::collections::BTreeMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    let server = std::sync::Arc::new(server);
    for _ in 0..200 {
        let (server, body) = (server.clone(), body.clone());
        tasks.spawn(async move { server.create(&body).await });
    }
    while let Some(answer) = tasks.join_next().await {
        let answer = answer.unwrap();
        *statuses.entry(answer.status.as_u16()).or_insert(0) += 1;
        if answer.status == 409 {
            let document = answer.json();
            assert_eq!(document["type"], "https://shlink.io/api/error/non-unique-slug");
            assert_eq!(document["customSlug"], "promo");
        }
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [(201, 1), (409, 199)]);
}

#[tokio::test]
async fn find_if_exists_finds_what_is_as_good_and_makes_one_in_a_race() {
    let server = std::sync::Arc::new(Server::start().await);
    let body = json!({ "longUrl": "https://example.com/x", "tags": ["a"], "findIfExists": true });
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (server, body) = (server.clone(), body.clone());
        tasks.spawn(async move { server.create(&body).await });
    }
    let mut codes = std::collections::BTreeSet::new();
    let mut made = 0;
    while let Some(answer) = tasks.join_next().await {
        let answer = answer.unwrap();
        made += u32::from(answer.status == 201);
        codes.insert(answer.json()["shortCode"].as_str().unwrap().to_owned());
    }
    assert_eq!((made, codes.len()), (1, 1));
    let same = async |body: Value| server.create(&body).await.status.as_u16();
    assert_eq!(same(json!({ "longUrl": "https://EXAMPLE.com/x", "findIfExists": true })).await, 200);
    assert_eq!(same(json!({ "longUrl": "https://example.com/x" })).await, 201, "not asked for");
    let other_tags = json!({ "longUrl": "https://example.com/x", "tags": ["b"], "findIfExists": true });
    assert_eq!(same(other_tags).await, 201);
    let slug = json!({ "longUrl": "https://example.com/x", "customSlug": "mine", "findIfExists": true });
    assert_eq!(same(slug.clone()).await, 201);
    assert_eq!(same(slug).await, 200);
    let taken = json!({ "longUrl": "https://example.com/y", "customSlug": "mine", "findIfExists": true });
    assert_eq!(same(taken).await, 409);
}

#[tokio::test]
async fn find_if_exists_wants_every_field_that_is_named() {
    let server = Server::start().await;
    let with = |fields: &Value| {
        let mut body = json!({ "longUrl": "https://example.com/", "findIfExists": true });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    let first = server.link(&with(&json!({}))).await;
    // What the first has, named or not, and null, which names nothing.
    for fields in [
        json!({ "crawlable": false, "forwardQuery": true }),
        json!({ "crawlable": null, "forwardQuery": null, "redirectStatus": null, "cacheLifetime": null }),
    ] {
        let found = server.create(&with(&fields)).await;
        assert_eq!((found.status.as_u16(), &found.json()["shortCode"]), (200, &json!(first)), "{fields}");
    }
    for fields in [
        json!({ "redirectStatus": 308 }),
        json!({ "redirectStatus": 301 }),
        json!({ "cacheLifetime": 60 }),
        json!({ "crawlable": true }),
        json!({ "forwardQuery": false }),
    ] {
        let made = server.create(&with(&fields)).await;
        assert_eq!(made.status, 201, "{fields}");
        let made = made.json();
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(&made[name], value, "{name}");
        }
        let again = server.create(&with(&fields)).await;
        assert_eq!(
            (again.status.as_u16(), &again.json()["shortCode"]),
            (200, &made["shortCode"]),
            "{fields}"
        );
    }
    let items = [json!({ "redirectStatus": 307 }), json!({}), json!({ "redirectStatus": 302 })]
        .map(|fields| with(&fields));
    let bulk =
        server.api(Method::POST, &format!("{LINKS}/bulk"), &json!({ "shortUrls": items })).await.json();
    let statuses: Vec<_> =
        bulk["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, [201, 200, 201], "also among those of one call");
    assert_eq!(bulk["results"][1]["shortUrl"]["shortCode"], bulk["results"][0]["shortUrl"]["shortCode"]);
}

#[tokio::test]
async fn find_if_exists_takes_empty_fields_for_none() {
    let server = Server::start().await;
    let tagged = server.link(&json!({ "longUrl": "https://example.com/tagged", "tags": ["x"] })).await;
    let found = json!({ "longUrl": "https://example.com/tagged", "tags": [], "findIfExists": true });
    let answer = server.create(&found).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["shortCode"]), (200, &json!(tagged)));
    let untitled = json!({ "longUrl": "https://example.com/", "title": "", "findIfExists": true });
    let made = server.link(&untitled).await;
    let again = server.create(&untitled).await;
    assert_eq!((again.status.as_u16(), &again.json()["shortCode"]), (200, &json!(made)));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_as_problems() {
    let server = Server::start().await;
    for path in ["/rest", "/rest/v3/nothing", "/rest/v3/short-urls/a/b/c", "/rest/v1/short-urls"] {
        let answer = server.api(Method::GET, path, &Value::Null).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (404, "application/problem+json"),
            "{path}"
        );
    }
    for (method, path, allow) in [
        (Method::PUT, LINKS, "GET, HEAD, POST, OPTIONS"),
        (Method::POST, "/rest/v3/short-urls/abc", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        (Method::POST, "/rest/health", "GET, HEAD, OPTIONS"),
    ] {
        let answer = server.api(method, path, &Value::Null).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allow), "{path}");
        let answer = server.call(Method::OPTIONS, path, &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, allow), "{path}");
    }
    let other = server.api(Method::GET, "/rest/v3/short-urls/abc?domain=other.example", &Value::Null).await;
    assert_eq!((other.status.as_u16(), other.json()["domain"].as_str()), (404, Some("other.example")));
}
