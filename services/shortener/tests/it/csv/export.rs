//! Exports: streamed, whole or broken off, of what the key reaches.

use http::Method;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use shortener::ShortenerConfig;
use shortener::keys::{self, NewKey, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{PATH, export, import, on_each_store, rows};
use crate::server::Server;

/// Links that fill many pages.
const MANY: usize = 3_000;

/// One place for what takes long: whoever holds it while nothing is done for them is in the way of others.
fn one_place(config: &mut ShortenerConfig) {
    config.limits.bulk_in_flight_max = 1;
}

async fn with_many() -> Server {
    filled(Server::with(one_place).await).await
}

async fn filled(server: Server) -> Server {
    let long = "x".repeat(500);
    let mut file = String::from("shortCode,longUrl,tags\n");
    for number in 0..MANY {
        file += &format!("c{number},https://example.com/{number}?{long},t{}\n", number % 3);
    }
    let made = import(&server, "", &file).await;
    assert_eq!(made["created"], MANY);
    server.events().await;
    server
}

#[tokio::test]
async fn thousands_come_in_pages_and_each_once() {
    for server in on_each_store(one_place).await {
        come_in_pages(&filled(server).await).await;
    }
}

async fn come_in_pages(server: &Server) {
    let answer = server.api(Method::GET, PATH, &Value::Null).await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"short-urls.csv\"");
    assert_eq!(answer.header("content-length"), "", "it is streamed");
    let event = server.event().await;
    assert_eq!((event.route.as_str(), event.status), ("/rest/v3/short-urls.csv", 200));
    // Pages of 200, and one that is empty.
    assert_eq!(event.store_calls, 16);
    assert_eq!(event.bytes_out, answer.body.len() as u64);
    let file = answer.text();
    assert!(file.ends_with("\r\n") && file.starts_with("\"shortCode\",\"domain\",\"longUrl\","));
    let mut codes: Vec<_> = rows(&file)[1..].iter().map(|row| row[0].clone()).collect();
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), MANY);
    let some = export(server, "?tags[]=t1&orderBy=shortCode-ASC&page=7&itemsPerPage=1").await;
    let codes: Vec<_> = rows(&some)[1..].iter().map(|row| row[0].clone()).collect();
    assert_eq!(codes.len(), MANY / 3);
    assert!(codes.is_sorted(), "filters and order are those of the list, pages are not");
    assert_eq!(rows(&export(server, "?searchTerm=/2999").await).len(), 2);
    assert_eq!(rows(&export(server, "?domain=nowhere.example").await).len(), 1, "the header is always there");
    assert_eq!(rows(&export(server, "?endDate=2001-01-01").await).len(), 1);
    let head = server.api(Method::HEAD, PATH, &Value::Null).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_store_that_fails_midway_breaks_the_answer_off() {
    let server = with_many().await;
    let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = http::Request::builder()
        .uri(format!("http://{}{PATH}", server.addr))
        .header("x-api-key", &server.key)
        .body(Empty::new())
        .unwrap();
    let mut body = client.request(request).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    server.store.set_down(true);
    let mut frames = 0;
    let error = loop {
        match body.frame().await {
            Some(Ok(_)) => frames += 1,
            Some(Err(error)) => break error,
            None => panic!("it looks whole after {frames} frames"),
        }
    };
    assert!(error.to_string().contains("body"), "{error}");
    let event = server.event().await;
    assert_eq!((event.status, event.error_type.as_str()), (200, "body_error"));
    assert_eq!(event.outcome, wide_event::Outcome::ServerError);
    assert_eq!(event.error_message.as_str(), "the export broke off: the link store is unavailable");
    assert!(server.malformed.lock().unwrap().is_empty(), "one hop, one event");
    // Before the first page it is an ordinary failure.
    let key = server.key.clone();
    server.store.set_down(true);
    let answer = server.call(Method::GET, PATH, &[("x-api-key", &key)], "").await;
    assert_eq!(answer.status, 503);
    server.store.set_down(false);
    assert_eq!(rows(&export(&server, "").await).len(), MANY + 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_no_place() {
    let server = with_many().await;
    let ask = format!("GET {PATH} HTTP/1.1\r\nHost: h\r\nX-Api-Key: {}\r\n\r\n", server.key);
    let mut clients = Vec::new();
    // More than the pages that may be read at once.
    for _ in 0..12 {
        let mut client = TcpStream::connect(server.addr).await.unwrap();
        client.write_all(ask.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        client.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        clients.push(client);
    }
    assert_eq!(rows(&export(&server, "").await).len(), MANY + 1);
    drop(clients);
}

#[tokio::test]
async fn http_1_0_is_refused_as_it_could_not_tell() {
    let server = Server::start().await;
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    let ask = format!("GET {PATH} HTTP/1.0\r\nHost: h\r\nX-Api-Key: {}\r\n\r\n", server.key);
    client.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 426 "), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nupgrade: http/1.1\r\n"), "{answer}");
    assert_eq!(server.event().await.error_type.as_str(), "http_1_0");
}

#[tokio::test]
async fn an_export_is_of_links_in_reach() {
    let server = Server::start().await;
    let key = async |role: Role| {
        let new = NewKey { roles: vec![role], ..NewKey::named("key") };
        keys::create(server.store.as_ref(), new).await.unwrap().1
    };
    let own = key(Role::OwnLinks).await;
    let domain = key(Role::Domain { domain: "t.example".to_owned() }).await;
    let link = |slug: &str| json!({ "longUrl": "https://example.com/", "customSlug": slug }).to_string();
    for (key, slug) in [(&server.key, "admins"), (&own, "own"), (&domain, "domains")] {
        let made = server.call(Method::POST, "/rest/v3/short-urls", &[("x-api-key", key)], &link(slug)).await;
        assert_eq!(made.status, 201);
    }
    for (key, query, expected) in [
        (&server.key, "", &["domains", "own", "admins"][..]),
        (&own, "", &["own"]),
        (&domain, "", &["domains"]),
        (&domain, "?domain=DEFAULT", &[]),
    ] {
        let answer = server.call(Method::GET, &format!("{PATH}{query}"), &[("x-api-key", key)], "").await;
        let found: Vec<_> = rows(&answer.text())[1..].iter().map(|row| row[0].clone()).collect();
        assert_eq!(found, expected);
    }
    for (query, status) in
        [("?format=bitly", 400), ("?orderBy=visits", 400), ("?startDate=x", 400), ("?x=%00", 400)]
    {
        let answer = server.api(Method::GET, &format!("{PATH}{query}"), &Value::Null).await;
        assert_eq!(answer.status.as_u16(), status, "{query}");
    }
}
