//! A shutdown drains: what is under way is answered, what comes after is refused by the system.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, until};

#[tokio::test]
async fn requests_under_way_are_answered() {
    let mut server = Server::start().await;
    server.store.hold_finds(true);
    let idle = TcpStream::connect(server.addr).await.unwrap();
    let mut raw = TcpStream::connect(server.addr).await.unwrap();
    raw.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    until("under way", || server.store.find_count() == 1).await;
    server.stop();
    let addr = server.addr;
    let store = Arc::clone(&server.store);
    // Refused: the socket is closed while the request is still under way.
    until("closed", || std::net::TcpStream::connect(addr).is_err()).await;
    store.hold_finds(false);
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut raw, &mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(server.drained().await.cut, 0);
    drop(idle);
}

#[tokio::test]
async fn the_deadline_ends_what_does_not_end() {
    let mut server = Server::with(|config| config.http.drain_ms_max = 50).await;
    server.store.hold_finds(true);
    let mut raw = TcpStream::connect(server.addr).await.unwrap();
    raw.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    until("under way", || server.store.find_count() == 1).await;
    server.stop();
    assert_eq!(server.drained().await.cut, 1);
}

#[tokio::test]
async fn kept_connections_are_told_to_go_before_the_socket_closes() {
    // Longer than the test.
    let mut server = Server::with(|config| config.http.drain_delay_ms = 3_600_000).await;
    let mut kept = TcpStream::connect(server.addr).await.unwrap();
    assert!(!asks_and_is_told_to_go(&mut kept).await);
    server.stop();
    while !asks_and_is_told_to_go(&mut kept).await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(kept.read(&mut [0; 1]).await.unwrap(), 0, "closed, and not reset");
    let mut new = TcpStream::connect(server.addr).await.unwrap();
    assert!(asks_and_is_told_to_go(&mut new).await, "who comes now is answered, once");
}

#[tokio::test]
async fn idle_connections_are_closed_in_the_end() {
    let mut server = Server::with(|config| config.http.drain_delay_ms = 50).await;
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    assert!(!asks_and_is_told_to_go(&mut idle).await);
    server.stop();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0, "closed, and not reset");
    assert_eq!(server.drained().await.cut, 0);
}

/// Whether the answer to a request says that it is the last.
async fn asks_and_is_told_to_go(stream: &mut TcpStream) -> bool {
    stream.write_all(b"GET /robots.txt HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"Disallow: /\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "an answer");
    }
    String::from_utf8(answer).unwrap().to_lowercase().contains("connection: close")
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_a_place() {
    let server = Server::with(|config| config.http.connections_max = 1).await;
    let first = TcpStream::connect(server.addr).await.unwrap();
    until("one", || server.shortener.metrics().connections.get() == 1).await;
    let mut second = TcpStream::connect(server.addr).await.unwrap();
    second.write_all(b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(server.shortener.metrics().connections_accepted.get(), 1);
    drop(first);
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut second, &mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
