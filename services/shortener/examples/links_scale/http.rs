//! The same of a shortener as its callers meet it: over HTTP, on connections that are kept.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bench::connection::Connection;

use crate::measure::{CREATED, CREATORS, Times};

/// Sends a request and reads its answer; the status.
async fn ask(connection: &mut Connection, request: &str) -> Result<u16> {
    connection.send(request.as_bytes()).await?;
    let answer = connection.receive(false).await?;
    ensure!(!answer.closes, "the connection ended");
    Ok(answer.status)
}

/// Redirects one after the other.
pub(crate) async fn redirects(address: &str, codes: &[String]) -> Result<Times> {
    let mut connection = Connection::open(address).await?;
    let mut times = Vec::with_capacity(codes.len());
    for code in codes {
        let request = format!("GET /{code} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let started = Instant::now();
        let status = ask(&mut connection, &request).await?;
        times.push(started.elapsed());
        ensure!(status == 302, "{code}: {status}");
    }
    Ok(Times(times))
}

/// Creations of links with codes that the shortener chooses: each creator's one after the other, or so many a second by all
/// of them together. Those take from when they were due, so that one that had to wait for another is seen to have waited.
pub(crate) async fn creations(address: &str, key: &str, rate_per_s: Option<u32>) -> Result<Times> {
    let started = Instant::now();
    let creators = (0..CREATORS).map(|creator| {
        let (address, key) = (address.to_owned(), key.to_owned());
        tokio::spawn(async move {
            let mut connection = Connection::open(&address).await?;
            let mut times = Vec::with_capacity(CREATED);
            for at in 0..CREATED {
                let body = format!(
                    r#"{{"longUrl":"https://www.example.com/{creator}/{at}","tags":["tag-{}"]}}"#,
                    1 + at % 1000
                );
                let request = format!(
                    "POST /rest/v3/short-urls HTTP/1.1\r\nHost: {address}\r\nX-Api-Key: {key}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let due = rate_per_s.map(|rate| {
                    let before = at * CREATORS + creator;
                    started + Duration::from_secs_f64(before as f64 / f64::from(rate))
                });
                let now = Instant::now();
                let begun = match due {
                    Some(due) if due > now => {
                        tokio::time::sleep_until(due.into()).await;
                        // A sleep ends up to a millisecond late, which is nobody's waiting.
                        Instant::now()
                    }
                    Some(due) => due,
                    None => now,
                };
                let status = ask(&mut connection, &request).await?;
                times.push(begun.elapsed());
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
