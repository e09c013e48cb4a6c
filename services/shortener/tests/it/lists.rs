//! Pages, filters and order of the list.

use http::Method;
use serde_json::{Value, json};
use shortener::keys::{self, NewKey, Role};

use crate::server::Server;

#[tokio::test]
async fn lists_are_filtered_ordered_and_paged() {
    let server = Server::start().await;
    for (slug, target, title, tags) in [
        ("a", "https://one.example/100%_x", "Zebra", json!(["red", "blue"])),
        ("b", "https://two.example/", "Apple", json!(["red"])),
        ("c", "https://three.example/", "Mango", json!(["green"])),
    ] {
        server.link(&json!({ "longUrl": target, "customSlug": slug, "title": title, "tags": tags })).await;
    }
    server
        .link(&json!({ "longUrl": "https://four.example/", "customSlug": "d", "validUntil": "2020-01-01" }))
        .await;
    let cases = [
        ("", "d c b a"),
        ("?orderBy=dateCreated-ASC", "a b c d"),
        ("?orderBy=shortCode-DESC", "d c b a"),
        ("?orderBy=title-ASC", "d b c a"),
        ("?orderBy=longUrl", "d a c b"),
        ("?itemsPerPage=2", "d c"),
        ("?itemsPerPage=2&page=2", "b a"),
        ("?itemsPerPage=2&page=3", ""),
        ("?page=9007199254740991", ""),
        ("?searchTerm=EXAMPLE&itemsPerPage=-1", "d c b a"),
        ("?searchTerm=zebra", "a"),
        ("?searchTerm=green", "c"),
        ("?searchTerm=two", "b"),
        ("?searchTerm=%25_", "a"),
        ("?searchTerm=%27%20OR%201=1%20--", ""),
        ("?tags[]=red", "b a"),
        ("?tags[]=red&tags[]=blue", "b a"),
        ("?tags[]=red&tags[]=blue&tagsMode=all", "a"),
        ("?tags[0]=RED&searchTerm=two", "b"),
        ("?excludePastValidUntil=true", "c b a"),
        ("?startDate=2999-01-01", ""),
        ("?endDate=1999-01-01", ""),
        ("?startDate=1999-01-01&endDate=2999-01-01", "d c b a"),
        ("?domain=DEFAULT", "d c b a"),
        ("?domain=other.example", ""),
        ("?excludeTags[]=red", "d c"),
        ("?excludeTags[]=red&excludeTags[]=blue&excludeTagsMode=all", "d c b"),
        ("?tags[]=red&excludeTags[]=blue", "b"),
    ];
    for (query, codes) in cases {
        let answer = server.api(Method::GET, &format!("/rest/v3/short-urls{query}"), &Value::Null).await;
        assert_eq!(answer.status, 200, "{query} {}", answer.text());
        let document = answer.json();
        let data = document["shortUrls"]["data"].as_array().unwrap();
        let found: Vec<_> = data.iter().map(|link| link["shortCode"].as_str().unwrap()).collect();
        assert_eq!(found.join(" "), codes, "{query}");
    }
    let answer = server.api(Method::GET, "/rest/v3/short-urls?itemsPerPage=3&page=2", &Value::Null).await;
    assert_eq!(
        answer.json()["shortUrls"]["pagination"],
        json!({ "currentPage": 2, "pagesCount": 2, "itemsPerPage": 3, "itemsInCurrentPage": 1, "totalItems": 4, "nextCursor": null })
    );
    let empty = server.api(Method::GET, "/rest/v3/short-urls?searchTerm=nowhere", &Value::Null).await.json();
    let pagination = &empty["shortUrls"]["pagination"];
    assert_eq!(
        (&pagination["pagesCount"], &pagination["totalItems"]),
        (&json!(1), &json!(0)),
        "as in Shlink"
    );
    for query in ["?page=0", "?page=x", "?orderBy=visits-UP", "?domain=a..b", "?tagsMode=x"] {
        let answer = server.api(Method::GET, &format!("/rest/v3/short-urls{query}"), &Value::Null).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.json()["type"], "https://shlink.io/api/error/invalid-data");
    }
}

/// Whose key may name whom, in lists and in what is made of them.
#[tokio::test]
async fn lists_are_of_the_key_that_is_named() {
    let server = Server::start().await;
    let mut keys = Vec::new();
    for (name, role) in [
        ("own", Role::OwnLinks),
        ("bound", Role::Domain { domain: "t.example".to_owned() }),
        ("reader", Role::ReadOnly),
    ] {
        let new = NewKey { roles: vec![role], ..NewKey::named(name) };
        keys.push(keys::create(server.store.as_ref(), new).await.unwrap().1);
    }
    let [own, bound, reader] = [&*keys[0], &*keys[1], &*keys[2]];
    let admin = &*server.key;
    for (key, code, domain) in
        [(admin, "a", ""), (own, "b", ""), (bound, "c", "t.example"), (own, "d", "t.example")]
    {
        let link = json!({ "longUrl": "https://example.com/", "customSlug": code, "domain": domain });
        let headers = [("x-api-key", key)];
        let made = server.call(Method::POST, "/rest/v3/short-urls", &headers, &link.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    for (key, name, codes) in [
        (admin, "test", "a"),
        (admin, "own", "b d"),
        (admin, "own&domain=t.example", "d"),
        (admin, "bound", "c"),
        (admin, "reader", ""),
        (admin, "unknown", ""),
        (admin, "", "a b c d"),
        (reader, "own", "b d"),
        (own, "own", "b d"),
        (bound, "bound", "c"),
        // As in Shlink.
        (own, "test", "b d"),
        (bound, "own", "c d"),
    ] {
        for query in ["orderBy=shortCode", "orderBy=shortCode&cursor="] {
            let path = format!("/rest/v3/short-urls?{query}&apiKeyName={name}");
            let answer = server.call(Method::GET, &path, &[("x-api-key", key)], "").await.json();
            let data = answer["shortUrls"]["data"].as_array().unwrap();
            let found: Vec<_> = data.iter().map(|link| link["shortCode"].as_str().unwrap()).collect();
            assert_eq!(found.join(" "), codes, "{path}");
        }
        let path = format!("/rest/v3/short-urls.csv?apiKeyName={name}");
        let file = server.call(Method::GET, &path, &[("x-api-key", key)], "").await.text();
        assert_eq!(file.lines().count() - 1, codes.split_whitespace().count(), "{file}");
    }
}
