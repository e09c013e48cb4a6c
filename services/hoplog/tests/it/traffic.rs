//! A plain HTTP/1.1 client over sockets, so that the tests' counts owe nothing to the project's own load generator.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::PATIENCE;

/// One connection, opened again when the other side closed it.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    pub(crate) fn new(port: u16) -> Self {
        Self { address: ([127, 0, 0, 1], port).into(), stream: None }
    }

    /// Sends bytes and returns the status of the answer, or why there is none.
    pub(crate) fn send(&mut self, request: &[u8]) -> std::io::Result<u16> {
        let answer = self.try_send(request);
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    fn try_send(&mut self, request: &[u8]) -> std::io::Result<u16> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                self.stream.insert(BufReader::new(stream))
            }
        };
        stream.get_mut().write_all(request)?;
        let (mut status, mut length, mut close) = (None, 0, false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            } else if line == "connection: close" {
                close = true;
            } else if line.is_empty() {
                break;
            }
        }
        if !request.starts_with(b"HEAD ") {
            std::io::copy(&mut stream.take(length), &mut std::io::sink())?;
        }
        if close {
            self.stream = None;
        }
        status.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
    }
}

/// A GET as bytes.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\nUser-Agent: test\r\n\r\n").into_bytes()
}

/// Sends each request `times` times on each of some connections at once; the answers by request and status.
pub(crate) fn send_all(port: u16, requests: &[Vec<u8>], times: usize) -> BTreeMap<(usize, u16), u64> {
    const CONNECTIONS: usize = 8;
    let counts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|thread| {
                scope.spawn(move || {
                    let mut connection = Connection::new(port);
                    let mut counts = BTreeMap::new();
                    for turn in 0..times * requests.len() {
                        let which = (turn + thread) % requests.len();
                        let status = connection.send(&requests[which]).unwrap();
                        *counts.entry((which, status)).or_insert(0) += 1;
                    }
                    counts
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<BTreeMap<_, u64>>>()
    });
    counts.into_iter().flatten().fold(BTreeMap::new(), |mut sum, (key, count)| {
        *sum.entry(key).or_insert(0) += count;
        sum
    })
}
