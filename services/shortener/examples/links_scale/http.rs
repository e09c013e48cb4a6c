//! The same of a shortener as its callers meet it: over HTTP, on connections that are kept.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::measure::{CREATED, CREATORS, Times};

struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("nobody is at {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request and reads its answer, whose body has a length; the status.
    async fn ask(&mut self, request: &str) -> Result<u16> {
        self.0.write_all(request.as_bytes()).await?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line).await? > 0, "the connection ended");
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some(rest) = header.strip_prefix("HTTP/1.1 ") {
                status = rest.get(..3).context("no status")?.parse()?;
            } else if let Some(rest) = header.strip_prefix("content-length: ") {
                length = rest.parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(status)
    }
}

/// Redirects one after the other.
pub(crate) async fn redirects(address: &str, codes: &[String]) -> Result<Times> {
    let mut connection = Connection::open(address).await?;
    let mut times = Vec::with_capacity(codes.len());
    for code in codes {
        let request = format!("GET /{code} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let started = Instant::now();
        let status = connection.ask(&request).await?;
        times.push(started.elapsed());
        ensure!(status == 302, "{code}: {status}");
    }
    Ok(Times(times))
}

/// Creations of links with codes that the shortener chooses.
pub(crate) async fn creations(address: &str, key: &str) -> Result<Times> {
    let creators = (0..CREATORS).map(|creator| {
        let (address, key) = (address.to_owned(), key.to_owned());
        tokio::spawn(async move {
            let mut connection = Connection::open(&address).await?;
            let mut times = Vec::with_capacity(CREATED);
            for at in 0..CREATED {
                let body = format!(
                    r#"{{"longUrl":"https://www.example.com/{creator}/{at}","tags":["tag-{}"]}}"#,
                    at + 1
                );
                let request = format!(
                    "POST /rest/v3/short-urls HTTP/1.1\r\nHost: {address}\r\nX-Api-Key: {key}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let started = Instant::now();
                let status = connection.ask(&request).await?;
                times.push(started.elapsed());
                ensure!(status == 201, "a creation was answered {status}");
            }
            anyhow::Ok(times)
        })
    });
    let mut times = Vec::new();
    for creator in creators.collect::<Vec<_>>() {
        times.extend(creator.await??);
    }
    Ok(Times(times))
}
