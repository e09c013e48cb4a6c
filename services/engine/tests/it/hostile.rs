//! Clients that are slow, silent, huge or malicious: a clear answer or a closed connection, and the engine
//! goes on.

use crate::harness::{Answer, Engine, shared, target};
use std::io::{Read, Write};

#[test]
fn what_is_too_large_is_refused() {
    let engine = Engine::start(r#"{"query_text_bytes_max": 100000, "body_bytes_max": 1000000}"#);
    let long = format!("SELECT '{}'", "x".repeat(200_000));
    let answer = engine.post(&[], long.as_bytes());
    assert_eq!((answer.status, answer.code()), (413, 229));
    engine.ok("CREATE TABLE t (s String) ENGINE = Memory");
    let insert = target(&[("query", "INSERT INTO t FORMAT TSV")]);
    let answer = engine.request("POST", &insert, &[], &b"0123456789abcde\n".repeat(100_000));
    assert_eq!((answer.status, answer.code()), (413, 229));
    let padding = "x".repeat(1_000_000);
    assert!(matches!(engine.request("GET", "/ping", &[("X-Padding", &padding)], b"").status, 0 | 400 | 431));
    assert!(matches!(engine.get(&format!("/?query={padding}")).status, 0 | 400 | 414 | 431));
    let many: Vec<(&str, &str)> = (0..500).map(|_| ("X-Many", "1")).collect();
    assert!(matches!(engine.request("GET", "/ping", &many, b"").status, 0 | 400 | 431));
    assert_eq!(engine.ok("SELECT 1"), "1\n");
}

#[test]
fn a_body_that_stops_and_a_head_that_never_ends_are_given_up() {
    let engine = Engine::start(r#"{"stall_ms_max": 300, "idle_ms_max": 300}"#);
    engine.ok("CREATE TABLE t (s String) ENGINE = MergeTree ORDER BY s");
    let mut stalled = engine.connect();
    let insert = target(&[("query", "INSERT INTO t FORMAT TSV")]);
    write!(stalled, "POST {insert} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na\n").unwrap();
    let answer = Answer::read(stalled, false);
    assert_eq!((answer.status, answer.code()), (503, 209), "{}", answer.text());
    let mut endless = engine.connect();
    endless.write_all(b"GET /ping HTTP/1.1\r\nX: ").unwrap();
    let mut rest = Vec::new();
    let _ = endless.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "closed without an answer to half a question");
    assert_eq!(engine.ok("SELECT count() FROM t"), "0\n");
}

#[test]
fn a_client_that_does_not_read_gives_its_place_back() {
    let engine = Engine::start(r#"{"stall_ms_max": 1000, "queries_max": 2}"#);
    let mut stalled = engine.connect();
    let sql = "SELECT number FROM numbers(1000000000)";
    write!(stalled, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{sql}", sql.len()).unwrap();
    let running = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT number FROM numbers%'";
    // Two may run: the look before may still be one of them, and then this one is refused.
    let number = || Some(engine.post(&[], running.as_bytes())).filter(|answer| answer.status == 200);
    crate::harness::until("it runs", || number().is_some_and(|answer| answer.text() == "1\n"));
    crate::harness::until("it was stopped", || number().is_some_and(|answer| answer.text() == "0\n"));
    drop(stalled);
}

#[test]
fn ten_thousand_idle_connections_do_not_keep_others_out() {
    let engine = shared();
    // Both ends count against this process's limit and the engine's.
    let wanted = std::fs::read_to_string("/proc/self/limits").ok().and_then(|limits| {
        let line = limits.lines().find(|l| l.starts_with("Max open files"))?.to_owned();
        line.split_whitespace().nth(3)?.parse::<usize>().ok()
    });
    let count = wanted.map_or(500, |limit| limit.saturating_sub(200)).min(10_000);
    let idle: Vec<_> = (0..count).map(|_| engine.connect()).collect();
    assert_eq!(engine.ok("SELECT 1"), "1\n");
    drop(idle);
}

#[test]
fn nonsense_gets_an_answer_or_a_closed_connection() {
    let engine = shared();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /?query=%ff%fe%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /?%00=1&query=SELECT%201 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /?query_id=%0d%0aX-Injected:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 8\r\n\r\nSELECT 1",
    ] {
        let mut stream = engine.connect();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        assert!(!text.contains("\r\nx-injected"), "{text}");
    }
    let body = [b"SELECT '\xff\xfe", &[0][..], b"' AS x"].concat();
    assert_ne!(engine.post(&[], &body).status, 0);
    assert_eq!(engine.post(&[("a'b", "1")], b"SELECT 1").code(), 115);
    assert_eq!(engine.ok("SELECT 1"), "1\n");
}
