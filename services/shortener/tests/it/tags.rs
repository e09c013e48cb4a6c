//! Tags across all links.

use http::Method;
use serde_json::{Value, json};

use crate::server::{Answer, Server};

const TAGS: &str = "/rest/v3/tags";

async fn get(server: &Server, path: &str) -> Value {
    let answer = server.api(Method::GET, path, &Value::Null).await;
    assert_eq!(answer.status, 200, "{path} {}", answer.text());
    answer.json()["tags"].take()
}

async fn rename(server: &Server, old: &str, new: &str) -> Answer {
    server.api(Method::PUT, TAGS, &json!({ "oldName": old, "newName": new })).await
}

#[tokio::test]
async fn tags_are_listed_searched_ordered_and_paged() {
    let server = Server::start().await;
    assert_eq!(
        get(&server, TAGS).await,
        json!({ "data": [], "pagination": { "currentPage": 1, "pagesCount": 1, "itemsPerPage": 1,
                                            "itemsInCurrentPage": 0, "totalItems": 0 } })
    );
    for tags in [json!(["red", "blue"]), json!(["red"]), json!(["dark red"])] {
        server.link(&json!({ "longUrl": "https://example.com/", "tags": tags })).await;
    }
    for (query, names) in [
        ("", json!(["blue", "dark-red", "red"])),
        ("?orderBy=tag-DESC", json!(["red", "dark-red", "blue"])),
        ("?orderBy=shortUrlsCount-DESC", json!(["red", "blue", "dark-red"])),
        ("?searchTerm=RED", json!(["dark-red", "red"])),
        ("?itemsPerPage=2&page=2", json!(["red"])),
        ("?itemsPerPage=2&page=9007199254740991", json!([])),
        ("?itemsPerPage=-1", json!(["blue", "dark-red", "red"])),
    ] {
        assert_eq!(get(&server, &format!("{TAGS}{query}")).await["data"], names, "{query}");
    }
    let stats = json!([{ "tag": "dark-red", "shortUrlsCount": 1 }, { "tag": "red", "shortUrlsCount": 2 }]);
    let found = get(&server, "/rest/v3/tags/stats?searchTerm=red").await;
    assert_eq!(found["data"], stats);
    assert_eq!(
        found["pagination"],
        json!({ "currentPage": 1, "pagesCount": 1, "itemsPerPage": 2, "itemsInCurrentPage": 2, "totalItems": 2 })
    );
    let both = get(&server, "/rest/v3/tags?searchTerm=red&withStats=true").await;
    assert_eq!((&both["data"], &both["stats"]), (&json!(["dark-red", "red"]), &stats));
    for query in ["?page=0", "?itemsPerPage=0", "?itemsPerPage=-2", "?orderBy=visits", "?orderBy=tag-UP"] {
        let answer = server.api(Method::GET, &format!("{TAGS}{query}"), &Value::Null).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn tags_are_renamed_and_deleted_on_all_links() {
    let server = Server::start().await;
    let mut links = Vec::new();
    for tags in [json!(["red", "blue"]), json!(["red"])] {
        links.push(server.link(&json!({ "longUrl": "https://example.com/", "tags": tags })).await);
    }
    let tags_of = async |code: &str| {
        let path = format!("/rest/v3/short-urls/{code}");
        server.api(Method::GET, &path, &Value::Null).await.json()["tags"].take()
    };
    assert_eq!(rename(&server, "red", "Dark Red").await.status, 204);
    assert_eq!(tags_of(&links[0]).await, json!(["blue", "dark-red"]));
    assert_eq!(tags_of(&links[1]).await, json!(["dark-red"]));

    let conflict = rename(&server, "dark-red", "blue").await;
    assert_eq!(conflict.status, 409);
    assert_eq!(conflict.json()["type"], "https://shlink.io/api/error/tag-conflict");
    assert_eq!(
        (&conflict.json()["oldName"], &conflict.json()["newName"]),
        (&json!("dark-red"), &json!("blue"))
    );
    let unknown = rename(&server, "red", "green").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["type"], "https://shlink.io/api/error/tag-not-found");
    assert_eq!(unknown.json()["tag"], "red");
    assert_eq!(rename(&server, "blue", "blue").await.status, 204, "nothing to do");
    for (old, new) in [("", "x"), ("x", " "), ("x", "a,b"), ("x", "a\u{0}b")] {
        assert_eq!(rename(&server, old, new).await.status, 400, "{old:?} {new:?}");
    }

    let gone = server.api(Method::DELETE, "/rest/v3/tags?tags[]=Dark+Red&tags[]=unknown", &Value::Null).await;
    assert_eq!(gone.status, 204);
    assert_eq!(tags_of(&links[0]).await, json!(["blue"]));
    assert_eq!(tags_of(&links[1]).await, json!([]));
    assert_eq!(get(&server, TAGS).await["data"], json!(["blue"]));
    // A name that no link has is free, however often it was one's.
    assert_eq!(rename(&server, "blue", "dark-red").await.status, 204);
    assert_eq!(rename(&server, "dark-red", "blue").await.status, 204);
    assert_eq!(tags_of(&links[0]).await, json!(["blue"]));
}
