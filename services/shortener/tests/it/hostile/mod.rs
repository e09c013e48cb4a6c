//! The table of hostile inputs over the real listener: each has its answer and leaves one event, or one report where
//! no service saw it; none is answered 5xx; and no markup comes back as markup.

mod bodies;
mod table;

use serde_json::{Value, json};
use shortener::ShortenerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::bodies::{BODIES, FIELDS, FILES, RULES, TARGETS};
use self::table::{HEADERS, KEYS, PATHS, QUERIES, Row, WIRE};
use crate::server::{Server, until};

/// Far longer than any answer takes here.
const ENDS_MAX: std::time::Duration = std::time::Duration::from_secs(30);

const LINKS: &str = "/rest/v3/short-urls";

struct Strangers {
    server: Server,
    tried: usize,
    wrong: Vec<String>,
}

impl Strangers {
    /// Before a server on each store; before SQLite's alone where there is no PostgreSQL, which is said.
    async fn on_each_store() -> Vec<Self> {
        let own = |config: &mut ShortenerConfig| config.links.own_hosts = vec!["own.example".to_owned()];
        let mut all = vec![Self::before(Server::with(own).await).await];
        if let Some(server) = Server::on_postgres(own).await {
            all.push(Self::before(server).await);
        }
        all
    }

    async fn before(server: Server) -> Self {
        let known = json!({
            "longUrl": "https://example.com/", "customSlug": "known", "title": "<script>alert(1)</script>",
        });
        assert_eq!(server.create(&known).await.status, 201);
        server.events().await;
        Self { server, tried: 0, wrong: Vec::new() }
    }

    /// Sends one request, and looks at its answer and at what is left of it.
    async fn meet(&mut self, what: &str, request: &[u8], status: u16, error_type: &str) {
        self.tried += 1;
        let answer = exchange(&self.server, request).await;
        until("closed", || self.server.shortener.metrics().connections.get() == 0).await;
        let events = self.server.events().await;
        let reports = std::mem::take(&mut *self.server.malformed.lock().unwrap());
        let found = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0_u16);
        let left: Vec<_> = events
            .iter()
            .map(|event| (event.status, event.error_type.as_str().to_owned()))
            .chain(reports.iter().map(|report| {
                (report.status.map_or(0, |status| status.as_u16()), report.kind.as_str().to_owned())
            }))
            .collect();
        if found != status || left != [(status, error_type.to_owned())] {
            self.wrong.push(format!("{what}: {found} {left:?} instead of {status} {error_type}"));
        }
        assert!(found < 500, "{what}: {answer}");
        let markup = answer.contains("text/html") && answer.to_lowercase().contains("<script");
        assert!(!markup, "{what}: {answer}");
        assert!(!answer.to_lowercase().contains("\nset-cookie"), "{what}: {answer}");
    }

    async fn get(&mut self, path: &str, headers: &str, (status, error_type): (u16, &str)) {
        let request = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        self.meet(&format!("{path} {headers}"), request.as_bytes(), status, error_type).await;
    }

    async fn post(&mut self, path: &str, body: &[u8], expected: (u16, &str)) {
        self.post_as("application/json", path, body, expected).await;
    }

    async fn post_as(&mut self, kind: &str, path: &str, body: &[u8], (status, error_type): (u16, &str)) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nX-Api-Key: {}\r\nContent-Length: {}\r\n\
             Content-Type: {kind}\r\nConnection: close\r\n\r\n",
            self.server.key,
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        self.meet(&shown, &request, status, error_type).await;
    }

    fn judge(self, least: usize) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert!(self.tried >= least, "only {}", self.tried);
    }
}

/// Sends and reads to the end.
async fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    // Who is refused early may not get everything sent; the answer is there all the same.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        match tokio::time::timeout(ENDS_MAX, stream.read(&mut buffer)).await.expect("an end") {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_headers_and_paths() {
    for strangers in Strangers::on_each_store().await {
        try_requests(strangers).await;
    }
}

async fn try_requests(mut strangers: Strangers) {
    for (bytes, status, error_type) in WIRE {
        strangers.meet(&String::from_utf8_lossy(bytes), bytes, *status, error_type).await;
    }
    for (headers, status, error_type) in HEADERS {
        strangers.get("/known", headers, (*status, error_type)).await;
    }
    for (path, status, error_type) in PATHS {
        strangers.get(path, "Host: h\r\n", (*status, error_type)).await;
    }
    let long = format!("/{}", "a".repeat(8_000));
    strangers.get(&long, "Host: h\r\n", (404, "no_route")).await;
    let slashes = "/".repeat(8_000);
    strangers.get(&slashes, "Host: h\r\n", (404, "no_route")).await;
    let many = "X: y\r\n".repeat(200);
    strangers.get("/known", &many, (431, "headers_too_large")).await;
    let large = format!("Host: h\r\nX: {}\r\n", "y".repeat(20_000));
    strangers.get("/known", &large, (431, "headers_too_large")).await;
    let chain = format!("Host: h\r\nX-Forwarded-For: {}\r\n", "10.0.0.1,".repeat(1_500));
    strangers.get("/known", &chain, (302, "")).await;
    strangers.get("/known+", "Host: h\r\n", (200, "")).await;
    strangers.judge(100);
}

#[tokio::test]
async fn keys_and_queries() {
    for strangers in Strangers::on_each_store().await {
        try_keys(strangers).await;
    }
}

async fn try_keys(mut strangers: Strangers) {
    let key = strangers.server.key.clone();
    for (line, status, error_type) in KEYS {
        let headers = format!("Host: h\r\n{}", line.replace("{key}", &key));
        strangers.get("/rest/v3/short-urls", &headers, (*status, error_type)).await;
    }
    let headers = format!("Host: h\r\nX-Api-Key: {key}\r\n");
    for (query, status, error_type) in QUERIES {
        strangers.get(&format!("/rest/v3/short-urls?{query}"), &headers, (*status, error_type)).await;
    }
    let long_key = format!("Host: h\r\nX-Api-Key: {}\r\n", "k".repeat(8_000));
    strangers.get("/rest/v3/short-urls", &long_key, (401, "key_invalid")).await;
    let tags = format!("/rest/v3/short-urls?{}", "tags[]=x&".repeat(800));
    strangers.get(&tags, &headers, (200, "")).await;
    strangers.judge(38);
}

#[tokio::test]
async fn bodies_fields_and_targets() {
    for strangers in Strangers::on_each_store().await {
        try_bodies(strangers).await;
    }
}

async fn try_bodies(mut strangers: Strangers) {
    for (body, status, error_type) in BODIES {
        strangers.post(LINKS, body, (*status, error_type)).await;
    }
    for ((field, value), status, error_type) in FIELDS {
        let body = format!("{{\"longUrl\":\"https://e.example/\",\"{field}\":{value}}}");
        strangers.post(LINKS, body.as_bytes(), (*status, error_type)).await;
    }
    for (target, status, error_type) in TARGETS {
        let body = json!({ "longUrl": target }).to_string();
        strangers.post(LINKS, body.as_bytes(), (*status, error_type)).await;
    }
    let made: [Row<Vec<u8>>; 5] = [
        ([b"[".repeat(50_000), b"]".repeat(50_000)].concat(), 413, "body_too_large"),
        ([b"[".repeat(30_000), b"]".repeat(30_000)].concat(), 400, "body_no_json"),
        (b"{\"a\":".repeat(10_000), 400, "body_no_json"),
        (long_field("title", 600), 400, "invalid_data"),
        (long_field("customSlug", 300), 400, "invalid_data"),
    ];
    for (body, status, error_type) in made {
        strangers.post(LINKS, &body, (status, error_type)).await;
    }
    for (rule, status, error_type) in RULES {
        let body = format!("{{\"redirectRules\":[{rule}]}}");
        strangers
            .post(&format!("{LINKS}/known/redirect-rules"), body.as_bytes(), (*status, error_type))
            .await;
    }
    strangers.judge(120);
}

#[tokio::test]
async fn files() {
    for strangers in Strangers::on_each_store().await {
        try_files(strangers).await;
    }
}

async fn try_files(mut strangers: Strangers) {
    for (file, status, error_type) in FILES {
        strangers.post_as("text/csv", "/rest/v3/short-urls.csv", file, (*status, error_type)).await;
    }
    let deep = [b"longUrl,redirectRules\nhttps://e.example/,", &*b"[".repeat(50_000), b"\n"].concat();
    let made: [Row<Vec<u8>>; 4] = [
        (deep, 200, ""),
        (b"link,longUrl".iter().copied().chain(b",x".repeat(50_000)).collect(), 400, "body_no_csv"),
        ([b"longUrl,", &*b"x".repeat(50_000)].concat(), 400, "body_no_csv"),
        (b"longUrl\n".iter().copied().chain(b"a\n".repeat(10_001)).collect(), 413, "too_many_rows"),
    ];
    for (file, status, error_type) in made {
        strangers.post_as("text/csv", "/rest/v3/short-urls.csv", &file, (status, error_type)).await;
    }
    strangers.judge(29);
}

#[tokio::test]
async fn previews_show_what_is_followed() {
    let server = Server::start().await;
    let target = "https://\u{430}\u{440}\u{440}\u{4cf}\u{435}.example/<b>?\"x";
    let code = server.link(&json!({ "longUrl": target, "title": "<script>\"'&" })).await;
    let page = server.get(&format!("/{code}+")).await.text();
    assert!(page.contains("https://xn--80ak6aa92e.example/%3Cb%3E?%22x"), "punycode: {page}");
    assert!(page.contains("&#60;script&#62;&#34;&#39;&#38;"), "{page}");
}

fn long_field(name: &str, chars: usize) -> Vec<u8> {
    let mut body = json!({ "longUrl": "https://e.example/" });
    body[name] = Value::from("a".repeat(chars));
    body.to_string().into_bytes()
}
