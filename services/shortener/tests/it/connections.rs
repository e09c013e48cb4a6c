//! What one client can do to a listener with its connections: hold many, and hold them for long.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::server::{Server, until};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Whether a request is answered on a new connection, which is kept.
async fn connect(server: &Server) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let asked = stream.write_all(REQUEST).await;
    let answered = stream.read(&mut [0; 1]).await;
    (asked.is_ok() && answered.is_ok_and(|bytes| bytes > 0)).then_some(stream)
}

#[tokio::test]
async fn a_client_has_so_many_and_others_go_on() {
    let server = Server::with(|config| {
        config.http.connections_per_client_max = 2;
        // Nobody is excepted.
        config.limits.allow = Vec::new();
    })
    .await;
    let first = connect(&server).await.unwrap();
    let second = connect(&server).await.unwrap();
    assert!(connect(&server).await.is_none(), "one too many");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(server.addr).await.unwrap();
    other.write_all(REQUEST).await.unwrap();
    assert_eq!(other.read(&mut [0; 12]).await.unwrap(), 12, "another client");
    drop(first);
    until("closed", || server.shortener.metrics().connections.get() == 2).await;
    assert!(connect(&server).await.is_some(), "a place that was given back");
    drop(second);
    let mut text = String::new();
    let mut registry = prometheus_client::registry::Registry::default();
    server.shortener.metrics().register(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("connections_refused_total{reason=\"client\"} 1"), "{text}");
}

#[tokio::test]
async fn who_takes_a_little_now_and_then_is_dropped_all_the_same() {
    let server = Server::with(|config| {
        config.http.write_stall_ms_max = 1_000;
        config.http.write_bytes_per_s_min = u32::MAX;
    })
    .await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let (mut answers, mut requests) = socket.connect(server.addr).await.unwrap().into_split();
    let many = REQUEST.repeat(1_000);
    let asking = async { while requests.write_all(&many).await.is_ok() {} };
    // Every write gets on long before it has waited for too long.
    let trickling = async {
        let mut bytes = vec![0; 65_536];
        while answers.read(&mut bytes).await.is_ok_and(|bytes| bytes > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let both = async { tokio::join!(asking, trickling) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("an end");
    until("dropped", || server.shortener.metrics().connections.get() == 0).await;
    assert_eq!(server.get("/").await.status, 200);
}
