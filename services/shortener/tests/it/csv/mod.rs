//! Links as CSV, out and in, over HTTP.

mod export;
mod formats;
mod import;
mod refused;
mod round_trip;

use http::Method;
use serde_json::{Value, json};
use shortener::ShortenerConfig;

use crate::server::{Answer, Server};

const PATH: &str = "/rest/v3/short-urls.csv";

/// A server on each store; on SQLite alone where there is no PostgreSQL, which is said.
async fn on_each_store(change: fn(&mut ShortenerConfig)) -> Vec<Server> {
    let mut all = vec![Server::with(change).await];
    all.extend(Server::on_postgres(change).await);
    all
}

/// Sends a file with a key.
async fn send(server: &Server, key: &str, query: &str, file: &str) -> Answer {
    let headers = [("x-api-key", key), ("content-type", "text/csv")];
    server.call(Method::POST, &format!("{PATH}{query}"), &headers, file).await
}

/// The same with the key that may do everything; it is not refused as a whole.
async fn import(server: &Server, query: &str, file: &str) -> Value {
    let answer = send(server, &server.key, query, file).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn export(server: &Server, query: &str) -> String {
    let answer = server.api(Method::GET, &format!("{PATH}{query}"), &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// Cells by row, the header's first.
fn rows(file: &str) -> Vec<Vec<String>> {
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(file.as_bytes());
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// What became of each row.
fn fates(answer: &Value) -> Vec<&str> {
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|row| row["result"].as_str().unwrap()).collect()
}

/// Documents of all links, by their short URLs, without what depends on where they are.
async fn links(server: &Server) -> Vec<Value> {
    let list =
        server.api(Method::GET, "/rest/v3/short-urls?itemsPerPage=-1&orderBy=shortCode", &Value::Null).await;
    let mut links = list.json()["shortUrls"]["data"].as_array().unwrap().clone();
    for link in &mut links {
        link["shortUrl"] = json!(null);
    }
    // Two domains may have one code.
    links.sort_by_key(|link| link["domain"].to_string());
    links.sort_by_key(|link| link["shortCode"].to_string());
    links
}
