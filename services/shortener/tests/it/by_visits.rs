//! Lists of short URLs ordered by their visits.

use http::Method;
use serde_json::{Value, json};
use shortener::keys::{self, NewKey, Role};

use crate::server::{Answer, Server};
use crate::statistics::{Visit, click, now, put, shared};

/// Links in the order of their ids, with clicks by people and by bots. Of `again` only what was after it counts.
const LINKS: [(&str, usize, usize); 6] =
    [("few", 1, 0), ("none", 0, 0), ("bots", 0, 5), ("many", 4, 0), ("same", 1, 0), ("again", 2, 1)];

async fn filled(database: &str) -> Server {
    let warehouse = shared(database).await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let mut clicks = vec![click("", "again", now() - 86_400), click("", "again", now() - 90_000)];
    for (code, people, bots) in LINKS {
        let tags = if people + bots > 1 { json!(["busy"]) } else { json!([]) };
        let link = json!({ "longUrl": "https://example.com/", "customSlug": code, "tags": tags });
        server.link(&link).await;
        let at = |bot| Visit { bot, ..click("", code, now() + 5) };
        clicks.extend((0..people).map(|_| at(false)).chain((0..bots).map(|_| at(true))));
    }
    // Of another domain: the default one's link has nothing of it.
    clicks.extend((0..9).map(|_| click("s.example", "none", now() + 5)));
    put(&warehouse, &clicks).await;
    server
}

async fn list(server: &Server, query: &str) -> Value {
    let answer = server.api(Method::GET, &format!("/rest/v3/short-urls?{query}"), &Value::Null).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()["shortUrls"].take()
}

fn codes(list: &Value) -> String {
    let links = list["data"].as_array().unwrap().iter();
    links.map(|link| link["shortCode"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn links_are_ordered_by_visits_and_pages_hold_each_once() {
    let server = filled("by_visits_order").await;
    for (query, expected) in [
        ("orderBy=visits-DESC", "bots many again same few none"),
        ("orderBy=visits-ASC", "none few same again many bots"),
        ("orderBy=visits", "none few same again many bots"),
        ("orderBy=nonBotVisits-DESC", "many again same few bots none"),
        ("orderBy=nonBotVisits-ASC", "none bots few same again many"),
        ("orderBy=visits-DESC&tags[]=busy", "bots many again"),
        ("orderBy=visits-DESC&searchTerm=many", "many"),
        ("orderBy=visits-DESC&excludeTags[]=busy", "same few none"),
        ("orderBy=visits-DESC&domain=s.example", ""),
        ("orderBy=visits-DESC&itemsPerPage=4", "bots many again same"),
        ("orderBy=visits-DESC&itemsPerPage=4&page=2", "few none"),
        ("orderBy=visits-DESC&itemsPerPage=4&page=3", ""),
    ] {
        assert_eq!(codes(&list(&server, query).await), expected, "{query}");
    }
    let page = list(&server, "orderBy=visits-DESC&itemsPerPage=4&page=2").await;
    let pagination = &page["pagination"];
    assert_eq!((&pagination["totalItems"], &pagination["pagesCount"]), (&json!(6), &json!(2)));
    assert_eq!(pagination["nextCursor"], Value::Null);
    assert_eq!(page["data"][1]["visitsSummary"], json!({ "total": 0, "nonBots": 0, "bots": 0 }));
    let again = list(&server, "orderBy=visits-DESC").await["data"][2].clone();
    assert_eq!(again["visitsSummary"], json!({ "total": 3, "nonBots": 2, "bots": 1 }));
    for query in ["orderBy=visits&cursor=", "orderBy=nonBotVisits-UP"] {
        let answer = server.api(Method::GET, &format!("/rest/v3/short-urls?{query}"), &Value::Null).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_list_of_more_links_than_are_ordered_is_refused() {
    let warehouse = shared("by_visits_bound").await;
    let bound = |config: &mut shortener::ShortenerConfig| config.statistics.ordered_links_max = 2;
    let server = Server::with_warehouse(warehouse, bound).await;
    for code in ["a1", "a2", "b1"] {
        server.link(&json!({ "longUrl": "https://example.com/", "customSlug": code })).await;
    }
    assert_eq!(codes(&list(&server, "orderBy=visits-DESC&searchTerm=b1").await), "b1");
    let narrow = list(&server, "orderBy=visits-DESC&startDate=2999-01-01").await;
    assert_eq!(narrow["pagination"]["totalItems"], 0);
    let answer = server.api(Method::GET, "/rest/v3/short-urls?orderBy=visits-DESC", &Value::Null).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["type"], "https://shlink.io/api/error/invalid-data");
    let why = answer.json()["reasons"]["orderBy"].as_str().unwrap().to_owned();
    assert!(why.contains("at most 2") && why.contains("narrow"), "{why}");
    assert_eq!(codes(&list(&server, "orderBy=shortCode-ASC").await), "a1 a2 b1");
}

async fn tags(server: &Server, key: &str, query: &str) -> Answer {
    server.call(Method::GET, &format!("/rest/v3/tags/stats?{query}"), &[("x-api-key", key)], "").await
}

fn names(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = answer.json();
    let tags = document["tags"]["data"].as_array().unwrap().iter();
    tags.map(|tag| tag["tag"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// Each link has a tag of its own, and one with others.
#[tokio::test]
async fn tags_are_ordered_by_the_visits_of_their_links() {
    let warehouse = shared("by_visits_tags").await;
    let bound = |config: &mut shortener::ShortenerConfig| {
        // What is shown beside tags in another order has a limit of its own.
        (config.statistics.ordered_links_max, config.statistics.links_max) = (8, 1);
    };
    let server = Server::with_warehouse(warehouse.clone(), bound).await;
    let new = NewKey { roles: vec![Role::OwnLinks], ..NewKey::named("own") };
    let (_, own) = keys::create(server.store.as_ref(), new).await.unwrap();
    let mut clicks = Vec::new();
    for (key, code, with, people, bots) in [
        (&server.key, "a", "pair", 1, 5),
        (&server.key, "b", "pair", 2, 0),
        (&own, "c", "rest", 4, 0),
        (&own, "d", "rest", 0, 0),
    ] {
        let link = json!({ "longUrl": "https://example.com/", "customSlug": code, "tags": [code, with] });
        let headers = [("x-api-key", key.as_str())];
        let made = server.call(Method::POST, "/rest/v3/short-urls", &headers, &link.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let at = |bot| Visit { bot, ..click("", code, now() + 5) };
        clicks.extend((0..people).map(|_| at(false)).chain((0..bots).map(|_| at(true))));
    }
    put(&warehouse, &clicks).await;
    let admin = server.key.clone();
    for (key, query, expected) in [
        (&admin, "orderBy=visits-DESC", "pair a c rest b d"),
        (&admin, "orderBy=visits-ASC", "d b c rest a pair"),
        (&admin, "orderBy=visits", "d b c rest a pair"),
        (&admin, "orderBy=nonBotVisits-DESC", "c rest pair b a d"),
        (&admin, "orderBy=nonBotVisits-ASC", "d a b pair c rest"),
        (&admin, "orderBy=visits-DESC&searchTerm=a", "pair a"),
        (&admin, "orderBy=visits-DESC&itemsPerPage=2&page=2", "c rest"),
        (&admin, "orderBy=visits-DESC&itemsPerPage=2&page=4", ""),
        (&own, "orderBy=visits-DESC", "c rest d"),
    ] {
        assert_eq!(names(&tags(&server, key, query).await), expected, "{query}");
    }
    let stats = tags(&server, &admin, "orderBy=visits-DESC&itemsPerPage=1").await.json()["tags"].take();
    let pair = json!({ "tag": "pair", "shortUrlsCount": 2, "visitsSummary": { "total": 8, "nonBots": 3, "bots": 5 } });
    assert_eq!((&stats["data"], &stats["pagination"]["totalItems"]), (&json!([pair]), &json!(6)));

    for query in ["orderBy=visits-UP", "orderBy=bots-DESC"] {
        let answer = tags(&server, &admin, query).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["invalidElements"]), (400, &json!(["orderBy"])));
    }
    server.link(&json!({ "longUrl": "https://example.com/", "tags": ["z"] })).await;
    let answer = tags(&server, &admin, "orderBy=visits-DESC").await;
    assert_eq!(answer.status, 400, "nine");
    assert!(answer.json()["reasons"]["orderBy"].as_str().unwrap().contains("at most 8 short URLs"));
    assert_eq!(names(&tags(&server, &admin, "orderBy=visits-DESC&searchTerm=z").await), "z");
}

#[tokio::test]
async fn without_clickhouse_there_is_no_such_order() {
    let server = Server::start().await;
    server.link(&json!({ "longUrl": "https://example.com/", "tags": ["x"] })).await;
    for path in ["short-urls", "tags/stats"] {
        let path = format!("/rest/v3/{path}?orderBy=visits-DESC");
        let answer = server.api(Method::GET, &path, &Value::Null).await;
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.json()["type"], "urn:hoplog:error:statistics-unavailable");
    }
}
