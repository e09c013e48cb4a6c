//! `ETag`, `If-Match` and `If-None-Match`: no edit is lost, and nothing is sent that is known.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::server::{Answer, Server, until};

async fn send(server: &Server, method: Method, path: &str, field: (&str, &str), body: &Value) -> Answer {
    let headers = [("x-api-key", server.key.as_str()), field];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    server.call(method, path, &headers, &body).await
}

#[tokio::test]
async fn of_two_edits_of_one_state_the_second_is_refused() {
    let server = Server::start().await;
    let made = server.create(&json!({ "longUrl": "https://example.com/" })).await;
    let location = made.header("location").to_owned();
    let path = format!("/rest/v3/short-urls/{}", made.json()["shortCode"].as_str().unwrap());
    assert_eq!(location, path);
    let tag = made.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    let shown = server.api(Method::GET, &path, &Value::Null).await;
    assert_eq!(shown.header("etag"), tag);

    let edit = async |tag: &str, title: &str| {
        send(&server, Method::PATCH, &path, ("if-match", tag), &json!({ "title": title })).await
    };
    let first = edit(&tag, "One").await;
    assert_eq!(first.status, 200);
    let current = first.header("etag").to_owned();
    assert_ne!(current, tag);
    let second = edit(&tag, "Two").await;
    assert_eq!(
        (second.status.as_u16(), second.header("etag")),
        (412, current.as_str()),
        "the current tag is said"
    );
    assert_eq!(second.header("content-type"), "application/problem+json");
    for (tag, status) in [
        (format!("\"x\", {current}"), 200),
        ("*".to_owned(), 200),
        (format!("W/{current}"), 412),
        ("\"x\"".to_owned(), 412),
        ("x".to_owned(), 400),
    ] {
        assert_eq!(edit(&tag, "One").await.status, status, "{tag}");
    }
    // The state was edited twice more, so that the tag is old by now.
    let delete =
        async |tag: &str| send(&server, Method::DELETE, &path, ("if-match", tag), &Value::Null).await;
    assert_eq!(delete(&current).await.status, 412);
    let current = server.api(Method::GET, &path, &Value::Null).await.header("etag").to_owned();
    assert_eq!(delete(&current).await.status, 204);
    assert_eq!(delete("*").await.status, 404);
    assert_eq!(edit(&current, "Three").await.status, 404);
}

#[tokio::test]
async fn a_tag_is_of_one_link_and_not_of_its_name() {
    let server = Server::start().await;
    let body = json!({ "longUrl": "https://example.com/", "customSlug": "again" });
    let tag = server.create(&body).await.header("etag").to_owned();
    let path = "/rest/v3/short-urls/again";
    assert_eq!(server.api(Method::DELETE, path, &Value::Null).await.status, 204);
    server.link(&body).await;
    let edit = send(&server, Method::PATCH, path, ("if-match", &tag), &json!({ "title": "x" })).await;
    assert_eq!(edit.status, 412, "it has the first revision too, and is another link");
}

/// The link is gone when the precondition is looked at, and made again before the change would be.
#[tokio::test]
async fn a_link_that_is_made_again_meanwhile_is_not_changed() {
    let server = Arc::new(Server::start().await);
    let body = json!({ "longUrl": "https://example.com/", "customSlug": "again" });
    let tag = server.create(&body).await.header("etag").to_owned();
    let path = "/rest/v3/short-urls/again";
    let rules = format!("{path}/redirect-rules");
    for (method, path, change) in [
        (Method::PATCH, path, json!({ "title": "x" })),
        (Method::POST, &*rules, json!({ "redirectRules": [] })),
        (Method::DELETE, path, Value::Null),
    ] {
        assert_eq!(server.api(Method::DELETE, "/rest/v3/short-urls/again", &Value::Null).await.status, 204);
        server.store.hold_finds(true);
        let before = server.store.find_count();
        let (sender, tag, path) = (Arc::clone(&server), tag.clone(), path.to_owned());
        let changed = tokio::spawn(async move {
            send(&sender, method, &path, ("if-match", &tag), &change).await.status.as_u16()
        });
        until("looked at", || server.store.find_count() > before).await;
        let made = server.create(&body).await.header("etag").to_owned();
        server.store.hold_finds(false);
        // It may just have been made when it was looked at: then it is another one.
        assert!(matches!(changed.await.unwrap(), 404 | 412));
        let shown = server.api(Method::GET, "/rest/v3/short-urls/again", &Value::Null).await;
        assert_eq!((shown.status.as_u16(), shown.header("etag")), (200, &*made), "as it was made");
    }
}

#[tokio::test]
async fn what_is_known_is_not_sent_again() {
    let server = Server::start().await;
    let made = server.create(&json!({ "longUrl": "https://example.com/", "customSlug": "known" })).await;
    let (path, tag) = ("/rest/v3/short-urls/known", made.header("etag").to_owned());
    let get = async |tag: &str| send(&server, Method::GET, path, ("if-none-match", tag), &Value::Null).await;
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = get(&known).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.len(), answer.header("etag")),
            (304, 0, tag.as_str())
        );
    }
    assert_eq!(get("\"x\"").await.status, 200);
    assert_eq!(get("x").await.status, 400);
    server.api(Method::PATCH, path, &json!({ "title": "New" })).await;
    let changed = get(&tag).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["title"]), (200, &json!("New")));
}

#[tokio::test]
async fn rules_have_the_state_of_their_link() {
    let server = Server::start().await;
    let body = json!({ "longUrl": "https://example.com/", "customSlug": "ruled" });
    let made = server.create(&body).await.header("etag").to_owned();
    let (link, path) = ("/rest/v3/short-urls/ruled", "/rest/v3/short-urls/ruled/redirect-rules");
    let rules = json!({ "redirectRules": [] });
    let set = async |tag: &str| send(&server, Method::POST, path, ("if-match", tag), &rules).await;
    let shown = server.api(Method::GET, path, &Value::Null).await.header("etag").to_owned();
    let known = send(&server, Method::GET, path, ("if-none-match", &shown), &Value::Null).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    assert_ne!(shown, made, "another document");
    // Either document says which state is meant.
    let first = set(&made).await;
    assert_eq!(first.status, 200);
    assert_ne!(first.header("etag"), shown);
    for old in [&made, &shown] {
        let refused = set(old).await;
        assert_eq!((refused.status.as_u16(), refused.header("etag")), (412, first.header("etag")), "{old}");
    }
    let edited = send(&server, Method::PATCH, link, ("if-match", first.header("etag")), &json!({})).await;
    assert_eq!(edited.status, 200);
    server.api(Method::DELETE, link, &Value::Null).await;
    server.link(&body).await;
    assert_eq!(set(&made).await.status, 412, "it is another link");
    assert_eq!(set("*").await.status, 200);
}
