//! Where the fuzzers start: the tables of hostile inputs that the tests hold, each row a file.

use std::path::Path;

#[path = "../../services/shortener/tests/it/hostile/bodies.rs"]
mod bodies;
#[path = "../../services/shortener/tests/it/hostile/table.rs"]
mod table;

/// Writes the targets of the table into a corpus.
#[allow(dead_code)] // one fuzz target uses one, the other the other
pub(crate) fn urls(corpus: &str) {
    write(corpus, bodies::TARGETS.iter().map(|(target, ..)| target.as_bytes().to_vec()));
}

/// Writes the requests of the table into a corpus.
#[allow(dead_code)]
pub(crate) fn requests(corpus: &str) {
    const KEY: &str = "X-Api-Key: $KEY\r\n";
    let get = |path: &str, lines: &str| format!("GET {path} HTTP/1.1\r\n{lines}\r\n").into_bytes();
    let post_to = |path: &str, body: &[u8]| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\n{KEY}Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let post = |body: &[u8]| post_to("/rest/v3/short-urls", body);
    let list = |query: &str| get(&format!("/rest/v3/short-urls?{query}"), &format!("Host: h\r\n{KEY}"));
    let field = |name: &str, value: &str| {
        post(format!("{{\"longUrl\":\"https://e.example/\",\"{name}\":{value}}}").as_bytes())
    };
    let rows = table::WIRE.iter().map(|(bytes, ..)| bytes.to_vec());
    let rows = rows.chain(table::HEADERS.iter().map(|(lines, ..)| get("/known", lines)));
    let rows = rows.chain(table::PATHS.iter().map(|(path, ..)| get(path, "Host: h\r\n")));
    let rows = rows.chain(table::QUERIES.iter().map(|(query, ..)| list(query)));
    let rows = rows.chain(bodies::BODIES.iter().map(|(body, ..)| post(body)));
    let rows = rows.chain(bodies::FIELDS.iter().map(|((name, value), ..)| field(name, value)));
    let rows = rows.chain(table::KEYS.iter().map(|(lines, ..)| {
        get("/rest/v3/short-urls", &format!("Host: h\r\n{}", lines.replace("{key}", "$KEY")))
    }));
    let rows = rows.chain(bodies::RULES.iter().map(|(rule, ..)| {
        let body = format!("{{\"redirectRules\":[{rule}]}}");
        post_to("/rest/v3/short-urls/known/redirect-rules", body.as_bytes())
    }));
    write(corpus, rows);
}

fn write(corpus: &str, rows: impl Iterator<Item = Vec<u8>>) {
    std::fs::create_dir_all(corpus).expect("a directory for the corpus");
    for (number, row) in rows.enumerate() {
        std::fs::write(Path::new(corpus).join(format!("table-{number:03}")), row).expect("a seed");
    }
}
