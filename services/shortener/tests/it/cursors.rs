//! Lists read page by page with cursors.

use http::Method;
use serde_json::{Value, json};
use shortener::ShortenerConfig;

use crate::server::{Answer, Server};

async fn list(server: &Server, query: &str) -> Answer {
    server.api(Method::GET, &format!("/rest/v3/short-urls?{query}"), &Value::Null).await
}

/// The codes of a page and the cursor for the next one.
fn page(answer: &Answer) -> (Vec<String>, Option<String>) {
    let document = answer.json();
    let list = &document["shortUrls"];
    let codes =
        list["data"].as_array().unwrap().iter().map(|link| link["shortCode"].as_str().unwrap().to_owned());
    (codes.collect(), list["pagination"]["nextCursor"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn every_link_is_read_once_while_links_are_added_and_removed() {
    let server = Server::start().await;
    for order in [
        "dateCreated-DESC",
        "dateCreated-ASC",
        "shortCode-ASC",
        "shortCode-DESC",
        "title-ASC",
        "title-DESC",
        "longUrl-ASC",
    ] {
        let mut all: Vec<String> = Vec::new();
        for number in 0..25 {
            // A few have equal titles, and a few none.
            let title = ["", "B", "A"][number % 3];
            let body = json!({ "longUrl": format!("https://example.com/{number}"), "title": title });
            all.push(server.link(&body).await);
        }
        let (mut read, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = list(&server, &format!("orderBy={order}&itemsPerPage=4&cursor={cursor}")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let (codes, next) = page(&answer);
            let pagination = &answer.json()["shortUrls"]["pagination"];
            assert!(
                pagination["totalItems"].is_null() && pagination["currentPage"].is_null(),
                "nothing is counted"
            );
            read.extend(codes);
            let Some(next) = next else { break };
            cursor = next;
            // What is added or removed meanwhile moves no page.
            server.link(&json!({ "longUrl": "https://new.example/", "title": "A" })).await;
            let gone = format!("/rest/v3/short-urls/{}", read[0]);
            server.api(Method::DELETE, &gone, &Value::Null).await;
            assert!(read.len() < 1_000, "{order} has no end");
        }
        let mut seen: Vec<_> = read.iter().filter(|code| all.contains(code)).cloned().collect();
        seen.sort();
        all.sort();
        assert_eq!(seen, all, "{order}");
    }
}

/// Targets of the longest that is configured, which may be any: what a cursor is made of them is one that is taken.
#[tokio::test]
async fn lists_by_long_urls_have_cursors_that_are_taken() {
    const BYTES: usize = 20_000;
    let longer = |config: &mut ShortenerConfig| config.links.url_bytes_max = BYTES;
    let mut servers = vec![Server::with(longer).await];
    servers.extend(Server::on_postgres(longer).await);
    for server in &servers {
        let mut all = Vec::new();
        // Some differ only at their ends.
        for end in ["b", "a", "", "b"] {
            let begin = "https://example.com/?";
            let target = format!("{begin}{}{end}", "x".repeat(BYTES - begin.len() - end.len()));
            all.push(server.link(&json!({ "longUrl": target })).await);
        }
        all.push(server.link(&json!({ "longUrl": "https://example.com/" })).await);
        all.sort();
        for direction in ["ASC", "DESC"] {
            let (mut read, mut cursor) = (Vec::new(), String::new());
            loop {
                let query = format!("orderBy=longUrl-{direction}&itemsPerPage=1&cursor={cursor}");
                let answer = list(server, &query).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                let (codes, next) = page(&answer);
                read.extend(codes);
                let Some(next) = next else { break };
                cursor = next;
            }
            read.sort();
            assert_eq!(read, all, "{direction}");
        }
    }
}

#[tokio::test]
async fn pages_lead_to_cursors_and_cursors_are_checked() {
    let server = Server::start().await;
    for _ in 0..5 {
        server.link(&json!({ "longUrl": "https://example.com/" })).await;
    }
    let first = list(&server, "itemsPerPage=3").await;
    assert_eq!(first.json()["shortUrls"]["pagination"]["totalItems"], 5);
    let (_, next) = page(&first);
    let rest = list(&server, &format!("itemsPerPage=3&cursor={}", next.clone().unwrap())).await;
    let (codes, end) = page(&rest);
    assert_eq!((codes.len(), end), (2, None));
    assert_eq!(page(&list(&server, "itemsPerPage=5").await).1.map(|cursor| cursor.is_empty()), Some(false));
    let next = next.unwrap();
    for (query, why) in [
        (format!("cursor={next}&orderBy=title"), "is of a list in another order"),
        (format!("cursor={next}&orderBy=dateCreated-ASC"), "is of a list in another order"),
        ("cursor=x".to_owned(), "is no cursor of this list"),
        (format!("cursor={}", &next[..next.len() - 4]), "is no cursor of this list"),
        (format!("cursor={}", "A".repeat(9_000)), "is no cursor of this list"),
    ] {
        let answer = list(&server, &query).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["reasons"]["cursor"]),
            (400, &json!(why)),
            "{query}"
        );
    }
}
