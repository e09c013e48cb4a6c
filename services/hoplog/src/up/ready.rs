//! Waits until a child answers over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Between two questions: below what a person notices.
const POLL: Duration = Duration::from_millis(50);
/// One question; a child that is alive answers at once.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Returns when `GET path` is answered with 200.
pub(crate) async fn wait_until_ready(address: SocketAddr, path: &str) {
    while !matches!(timeout(ANSWER_WITHIN, is_ok(address, path)).await, Ok(Ok(true))) {
        sleep(POLL).await;
    }
}

async fn is_ok(address: SocketAddr, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut status_line = [0; 12];
    stream.read_exact(&mut status_line).await?;
    Ok(status_line.ends_with(b" 200"))
}
