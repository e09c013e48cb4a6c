//! Raw bytes on the wire: what hyper answers, and that each request that reaches no service is reported once.

use std::time::Duration;

use serde_json::json;
use shortener::listener::MalformedKind::{self, *};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, until};

/// Sends, half-closes when asked to, and reads to the end. Statuses of the answers, in order.
async fn exchange(server: &Server, bytes: &[u8], close: bool) -> Vec<u16> {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    // A server that answers early resets what it did not read: what it wrote before is still there to be read.
    let _ = stream.write_all(bytes).await;
    if close {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        match tokio::time::timeout(Duration::from_secs(30), stream.read(&mut buffer)).await.expect("an end") {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.match_indices("HTTP/1.1 ").map(|(at, _)| text[at + 9..at + 12].parse().unwrap()).collect()
}

/// Name, bytes, whether the client half-closes, statuses answered, what is reported.
type Case<'a> = (&'a str, &'a [u8], bool, &'a [u16], Option<MalformedKind>);

const TABLE: &[Case<'_>] = &[
    ("nothing", b"", true, &[], None),
    ("an empty line", b"\r\n", true, &[], None),
    ("idle", b"", false, &[], None),
    ("no HTTP", b"hello\r\n\r\n", false, &[400], Some(Syntax)),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", false, &[400], Some(Syntax)),
    ("no version", b"GET /\r\n\r\n", false, &[400], Some(Syntax)),
    ("a wrong version", b"GET / HTTP/9.9\r\n\r\n", false, &[400], Some(Syntax)),
    ("a space in the path", b"GET /a b HTTP/1.1\r\n\r\n", false, &[400], Some(Syntax)),
    ("a control in the path", b"GET /a\x01 HTTP/1.1\r\n\r\n", false, &[400], Some(Syntax)),
    ("a wrong method", b"G<T / HTTP/1.1\r\n\r\n", false, &[400], Some(Syntax)),
    ("a header without colon", b"GET / HTTP/1.1\r\nfoo\r\n\r\n", false, &[400], Some(Syntax)),
    ("a space before the colon", b"GET / HTTP/1.1\r\nfoo : b\r\n\r\n", false, &[400], Some(Syntax)),
    ("a NUL in a header", b"GET / HTTP/1.1\r\nfoo: a\0b\r\n\r\n", false, &[400], Some(Syntax)),
    ("a folded header", b"GET / HTTP/1.1\r\nfoo: a\r\n b\r\n\r\n", false, &[400], Some(Syntax)),
    (
        "two lengths",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        false,
        &[400],
        Some(Syntax),
    ),
    ("a negative length", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", false, &[400], Some(Syntax)),
    ("an unknown encoding", b"POST / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", false, &[400], Some(Syntax)),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false, &[], Some(Http2)),
    ("half a head", b"GET / HTTP/1.1\r\nHo", true, &[], Some(Truncated)),
    ("half a head and idle", b"GET / HTTP/1.1\r\nHo", false, &[], Some(TooSlow)),
    ("two hosts", b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", false, &[400], None),
    ("no host", b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n", false, &[400], None),
    ("invalid UTF-8 in the path", b"GET /\xff\xfe HTTP/1.1\r\n\r\n", false, &[400], Some(Syntax)),
    (
        "invalid UTF-8 in a header",
        b"GET /x HTTP/1.1\r\nHost: h\r\nA: \xff\r\nConnection: close\r\n\r\n",
        false,
        &[404],
        None,
    ),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", true, &[404], None),
    ("a tunnel", b"CONNECT a.example:443 HTTP/1.1\r\nHost: h\r\n\r\n", true, &[404], None),
    ("a proxy request", b"GET http://a.example/x HTTP/1.1\r\nHost: h\r\n\r\n", true, &[404], None),
    ("an unknown method", b"FOO /x HTTP/1.1\r\nHost: h\r\n\r\n", true, &[405], None),
];

#[tokio::test]
async fn each_refused_request_is_reported_once_with_its_answer() {
    let server = Server::with(|config| config.http.header_read_ms_max = 300).await;
    let code = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    let good = format!("GET /{code} HTTP/1.1\r\nHost: h\r\n\r\n");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200));
    let large = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(20_000));
    let line = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(8_192));
    let uri = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000));
    let second = format!("{good}BAD\u{1} request\r\n\r\n");
    let second_truncated = format!("{good}GET /x HT");
    let made: Vec<Case<'_>> = vec![
        ("a request", good.as_bytes(), true, &[302], None),
        ("idle after a request", good.as_bytes(), false, &[302], None),
        ("many headers", many.as_bytes(), false, &[431], Some(HeadersTooLarge)),
        ("large headers", large.as_bytes(), false, &[431], Some(HeadersTooLarge)),
        ("a line of 8 KB", line.as_bytes(), true, &[404], None),
        ("a path of 70 KB", uri.as_bytes(), false, &[431], Some(HeadersTooLarge)),
        ("a bad second request", second.as_bytes(), false, &[302, 400], Some(Syntax)),
        ("half a second request", second_truncated.as_bytes(), true, &[302], Some(Truncated)),
        ("half a second request and idle", second_truncated.as_bytes(), false, &[302], Some(TooSlow)),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, close, statuses, kind) in TABLE.iter().copied().chain(made) {
        server.malformed.lock().unwrap().clear();
        let answered = exchange(&server, bytes, close).await;
        until("closed", || server.shortener.metrics().connections.get() <= 1).await;
        let reported: Vec<_> =
            server.malformed.lock().unwrap().iter().map(|request| (request.kind, request.status)).collect();
        // What is reported as answered is what was answered.
        let status = kind.and_then(|kind| match kind {
            Syntax | UriTooLong | HeadersTooLarge => answered.last().copied(),
            Http2 | Truncated | TooSlow => None,
        });
        let expected: Vec<_> = kind
            .iter()
            .map(|kind| (*kind, status.map(|code| http::StatusCode::from_u16(code).unwrap())))
            .collect();
        if answered != statuses || reported != expected {
            wrong.push(format!("{name}: {answered:?} {reported:?} instead of {statuses:?} {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_dropped() {
    let server = Server::with(|config| config.http.write_stall_ms_max = 100).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let requests = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1_000);
    // It asks and never reads: the buffers fill on both sides, then the server gives up.
    let asking = async { while stream.write_all(&requests).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("an end");
    until("dropped", || server.shortener.metrics().connections.get() == 0).await;
    assert_eq!(server.get("/").await.status, 200);
}

#[tokio::test]
async fn broken_bodies_belong_to_the_request_that_has_them() {
    let server = Server::with(|config| config.limits.body_read_ms_max = 200).await;
    let head = |more: &str| {
        format!("POST /rest/v3/short-urls HTTP/1.1\r\nHost: h\r\nX-Api-Key: {}\r\n{more}\r\n", server.key)
    };
    let cases = [
        ("a short body and the end", head("Content-Length: 100\r\n") + "{", true, vec![400]),
        ("a short body and silence", head("Content-Length: 100\r\n") + "{", false, vec![408]),
        ("a chunk that is none", head("Transfer-Encoding: chunked\r\n") + "zz\r\n", false, vec![400]),
        ("a chunk too short", head("Transfer-Encoding: chunked\r\n") + "5\r\n{\r\n", true, vec![400]),
        (
            "a body nobody reads",
            "GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{".to_owned(),
            true,
            vec![404],
        ),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, close, statuses) in cases {
        server.malformed.lock().unwrap().clear();
        let answered = exchange(&server, bytes.as_bytes(), close).await;
        until("closed", || server.shortener.metrics().connections.get() == 0).await;
        let reported = server.malformed.lock().unwrap().clone();
        // The service may not get to answer a client that is gone; the request is the service's all the same.
        let right = answered == statuses || (close && answered.is_empty());
        if !right || !reported.is_empty() {
            wrong.push(format!("{name}: {answered:?} {reported:?} instead of {statuses:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_body_of_a_redirected_request_is_nobodys() {
    let server = Server::start().await;
    let kept = json!({ "longUrl": "https://example.com/", "customSlug": "kept", "redirectStatus": 307 });
    server.link(&kept).await;
    server.events().await;
    let post = |more: &str| format!("POST /kept HTTP/1.1\r\nHost: h\r\n{more}");
    let get = "GET /kept HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for (bytes, statuses) in [
        (post(&format!("Content-Length: 5\r\n\r\nhello{get}")), &[307, 307][..]),
        (post(&format!("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{get}")), &[307, 307]),
        // Nobody waits for the rest, or asks for it.
        (post("Content-Length: 1000000000\r\n\r\nhello"), &[307]),
        (post("Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"), &[307]),
        (post("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), &[307]),
    ] {
        assert_eq!(exchange(&server, bytes.as_bytes(), false).await, statuses, "{bytes}");
        let events = server.events().await;
        assert_eq!(events.len(), statuses.len(), "{bytes}");
        assert!(events.iter().all(|event| event.click && event.status == 307), "{bytes}");
    }
    assert!(server.malformed.lock().unwrap().is_empty());
}
