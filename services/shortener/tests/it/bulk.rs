//! Many short URLs in one call.

use http::Method;
use serde_json::{Value, json};

use crate::server::{Answer, Server};

const PATH: &str = "/rest/v3/short-urls/bulk";

async fn bulk(server: &Server, items: Value) -> Answer {
    server.api(Method::POST, PATH, &json!({ "shortUrls": items })).await
}

#[tokio::test]
async fn each_item_gets_what_a_single_creation_would_have_got() {
    let server = Server::start().await;
    server.link(&json!({ "longUrl": "https://old.example/", "customSlug": "old", "title": "Old" })).await;
    let answer = bulk(
        &server,
        json!([
            { "longUrl": "https://a.example/", "customSlug": "a", "tags": ["x"] },
            { "longUrl": "javascript:alert(1)" },
            { "longUrl": "https://b.example/" },
            { "longUrl": "https://a2.example/", "customSlug": "a" },
            { "longUrl": "https://old.example/", "title": "Old", "findIfExists": true },
            { "longUrl": "https://taken.example/", "customSlug": "old" },
            7,
            { "longUrl": "https://b.example/", "findIfExists": true },
        ]),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = answer.json();
    let results = document["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 400, 201, 409, 200, 409, 400, 200]);
    assert_eq!(results[0]["shortUrl"]["tags"], json!(["x"]));
    assert_eq!(results[1]["problem"]["invalidElements"], json!(["longUrl"]));
    assert_eq!(results[3]["problem"]["type"], "https://shlink.io/api/error/non-unique-slug");
    assert_eq!(results[4]["shortUrl"]["shortCode"], "old");
    assert_eq!(results[5]["problem"]["suggestions"][0], "old-2");
    assert_eq!(results[7]["shortUrl"], results[2]["shortUrl"], "what the same call made is there");
    for code in ["a", results[2]["shortUrl"]["shortCode"].as_str().unwrap()] {
        assert_eq!(server.get(&format!("/{code}")).await.status, 302);
    }
}

#[tokio::test]
async fn a_thousand_are_made_at_once_and_no_more() {
    let server = Server::start().await;
    let items = |count: usize| -> Value {
        (0..count).map(|number| json!({ "longUrl": format!("https://example.com/{number}") })).collect()
    };
    let answer = bulk(&server, items(1_000)).await;
    assert_eq!(answer.status, 200);
    let document = answer.json();
    let results = document["results"].as_array().unwrap();
    let mut codes: Vec<_> =
        results.iter().map(|made| made["shortUrl"]["shortCode"].as_str().unwrap()).collect();
    for (number, made) in results.iter().enumerate() {
        assert_eq!(made["shortUrl"]["longUrl"], format!("https://example.com/{number}"), "in their order");
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), 1_000);
    for (wrong, why) in [
        (items(1_001), "has more than 1000 items"),
        (json!([]), "is empty"),
        (json!({}), "is not an array"),
        (Value::Null, "is not an array"),
    ] {
        let answer = bulk(&server, wrong).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["reasons"]["shortUrls"]), (400, &json!(why)));
    }
    let small = Server::with(|config| config.api.bulk_body_bytes_max = 1_000).await;
    assert_eq!(bulk(&small, items(100)).await.status, 413);
}

#[tokio::test]
async fn a_generated_code_that_somebody_chose_is_replaced() {
    // The same key gives the same codes, so the codes of one server are slugs on another.
    let key = "0101010101010101010101010101010101010101010101010101010101010101";
    let with_key = |config: &mut shortener::ShortenerConfig| {
        config.links.codes_key = Some(serde_json::from_value(json!(key)).unwrap());
    };
    let (first, second) = (Server::with(with_key).await, Server::with(with_key).await);
    let mut ahead = Vec::new();
    for _ in 0..3 {
        ahead.push(first.link(&json!({ "longUrl": "https://example.com/" })).await);
    }
    let slugs: Value =
        ahead.iter().map(|code| json!({ "longUrl": "https://x.example/", "customSlug": code })).collect();
    assert_eq!(bulk(&second, slugs).await.status, 200);
    let answer = bulk(&second, vec![json!({ "longUrl": "https://y.example/" }); 5].into()).await.json();
    for made in answer["results"].as_array().unwrap() {
        assert_eq!(made["status"], 201, "{made}");
        assert!(!ahead.iter().any(|code| made["shortUrl"]["shortCode"] == **code));
    }
}

#[tokio::test]
async fn a_bulk_creation_with_a_key_happens_once() {
    let server = Server::start().await;
    let send = async |body: &Value| {
        let headers = [("x-api-key", server.key.as_str()), ("idempotency-key", "batch-1")];
        server.call(Method::POST, PATH, &headers, &body.to_string()).await
    };
    let body = json!({ "shortUrls": [
        { "longUrl": "https://a.example/" },
        { "longUrl": "nonsense" },
        { "longUrl": "https://b.example/", "customSlug": "b" },
        { "longUrl": "https://c.example/", "customSlug": "b" },
        { "longUrl": "https://a.example/", "findIfExists": true },
    ] });
    let first = send(&body).await;
    let again = send(&body).await;
    assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (200, ""));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(statuses(&first), [201, 400, 201, 409, 200]);
    assert_eq!(statuses(&again), statuses(&first));
    assert_eq!(first.json()["results"][0], again.json()["results"][0]);
    assert_eq!(server.store.inner.count(None).await.unwrap(), 2);
}

#[tokio::test]
async fn another_try_says_what_the_first_one_did_though_an_item_is_invalid_by_now() {
    let server = Server::start().await;
    let send = async |body: &Value| {
        let headers = [("x-api-key", server.key.as_str()), ("idempotency-key", "batch-1")];
        server.call(Method::POST, PATH, &headers, &body.to_string()).await
    };
    // The second makes a domain ours that the others lead to.
    let body = json!({ "shortUrls": [
        { "longUrl": "https://new.example/1", "customSlug": "a" },
        { "longUrl": "https://example.com/", "customSlug": "b", "domain": "new.example" },
        { "longUrl": "https://new.example/2", "customSlug": "a" },
        { "longUrl": "https://example.com/", "customSlug": "c" },
    ] });
    let (first, again) = (send(&body).await, send(&body).await);
    assert_eq!(statuses(&first), [201, 201, 409, 201]);
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (200, "true"));
    assert_eq!(statuses(&again), [201, 201, 400, 201], "what is not there says why it can't be now");
    for at in [0, 1, 3] {
        assert_eq!(first.json()["results"][at], again.json()["results"][at]);
    }
}

fn statuses(answer: &Answer) -> Vec<u64> {
    let document = answer.json();
    document["results"].as_array().unwrap().iter().map(|result| result["status"].as_u64().unwrap()).collect()
}
