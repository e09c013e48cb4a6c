//! One HTTP/1.1 connection: writes prepared bytes, reads just enough of the answer to know where it ends.
//! No redirects, no TLS, no retries: a retried request would be counted twice by the service and once by us.

use std::io::{Error, ErrorKind};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::LoadError;

/// Largest answer that is read: far above any answer to a redirect, and a bound for a service that goes mad.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Where to send requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `host:port` to connect to; also sent as `Host`.
    pub address: String,
    /// Key for creating links, sent as `X-Api-Key`.
    pub api_key: String,
}

impl Target {
    /// From `http://host[:port][/]` and a key.
    ///
    /// # Errors
    /// When the address is not of that form.
    pub fn parse(url: &str, api_key: &str) -> Result<Self, LoadError> {
        let wrong = || LoadError::Target(url.to_owned());
        let authority = url.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(plain) {
            return Err(wrong());
        }
        let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
        let address = if after_host.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        if !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(LoadError::Target("the API key holds characters that no header takes".to_owned()));
        }
        Ok(Self { address, api_key: api_key.to_owned() })
    }
}

/// A connection and what has been read from it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What we look at of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Whether the service closes the connection after it.
    pub closes: bool,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        // A request is one write; waiting for more of it would only add latency.
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Whether the service closed it while it was idle (or sent what nobody asked for).
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let mut byte = [0];
        !matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Writes a request.
    ///
    /// # Errors
    /// What the system says.
    pub async fn send(&mut self, request: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(request).await
    }

    /// Reads one answer; `head` says that it has no body whatever its headers claim.
    ///
    /// # Errors
    /// When the connection ends before the answer does, or it is no HTTP.
    pub async fn receive(&mut self, head: bool) -> std::io::Result<Answer> {
        self.buffer.clear();
        let (parsed, body_at) = loop {
            if let Some(end) = end_of_head(&self.buffer) {
                break (Head::parse(&self.buffer[..end])?, end);
            }
            self.read_more().await?;
        };
        let bodiless = head || parsed.status == 204 || parsed.status == 304;
        let mut closes = parsed.closes;
        match parsed.body {
            _ if bodiless => {}
            Body::Length(length) => {
                while self.buffer.len() < body_at.saturating_add(length) {
                    self.read_more().await?;
                }
            }
            Body::Chunked => {
                while !chunks_are_complete(&self.buffer[body_at..])? {
                    self.read_more().await?;
                }
            }
            Body::UntilClose => {
                closes = true;
                while self.buffer.len() < ANSWER_BYTES_MAX
                    && self.stream.read_buf(&mut self.buffer).await? > 0
                {}
            }
        }
        Ok(Answer { status: parsed.status, closes })
    }

    /// The bytes after the head of the answer read last.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.buffer[end_of_head(&self.buffer).unwrap_or(self.buffer.len())..]
    }

    async fn read_more(&mut self) -> std::io::Result<()> {
        if self.buffer.len() >= ANSWER_BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidData, "the answer is too large"));
        }
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    closes: bool,
    body: Body,
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

impl Head {
    fn parse(bytes: &[u8]) -> std::io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("the head is not text"))?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
        let status = status.and_then(|rest| rest.get(2..5)).and_then(|digits| digits.parse().ok());
        let mut head = Self {
            status: status.ok_or_else(|| invalid("no status line"))?,
            closes: text.starts_with("HTTP/1.0"),
            body: Body::UntilClose,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.body = Body::Length(value.parse().map_err(|_| invalid("no length"))?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked")
            {
                head.body = Body::Chunked;
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(head)
    }
}

/// Whether the last chunk and the trailers after it are there.
fn chunks_are_complete(mut bytes: &[u8]) -> std::io::Result<bool> {
    loop {
        let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else { return Ok(false) };
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|line| line.split(';').next());
        let size = size.and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
        let size = size.ok_or_else(|| invalid("no chunk size"))?;
        if size == 0 {
            let rest = &bytes[end..];
            return Ok(rest.starts_with(b"\r\n\r\n") || end_of_head(rest).is_some());
        }
        let next = end.saturating_add(size).saturating_add(4);
        if bytes.len() < next {
            return Ok(false);
        }
        bytes = &bytes[next..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn targets() {
        let address = |url| Target::parse(url, "key").map(|target| target.address).ok();
        assert_eq!(address("http://127.0.0.1:8080/").unwrap(), "127.0.0.1:8080");
        assert_eq!(address("http://[::1]:8080").unwrap(), "[::1]:8080");
        assert_eq!(address("http://[::1]").unwrap(), "[::1]:80");
        assert_eq!(address("http://short.example").unwrap(), "short.example:80");
        for wrong in
            ["https://a", "a:1", "http://", "http://a/b", "http://a b", "http://u@h", "http://a\r\nX: y"]
        {
            assert!(address(wrong).is_none(), "{wrong}");
        }
        assert!(Target::parse("http://a", "k\r\nX: y").is_err());
    }

    #[test]
    fn heads() {
        let parse = |text: &str| Head::parse(text.as_bytes()).ok();
        let head = parse("HTTP/1.1 302 Found\r\nLocation: x\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert_eq!(head, Head { status: 302, closes: false, body: Body::Length(0) });
        let head = parse("HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
            .unwrap();
        assert_eq!(head, Head { status: 404, closes: true, body: Body::Chunked });
        for wrong in [
            "",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 2x0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn chunks() {
        let cases = [
            ("0\r\n\r\n", Some(true)),
            ("3\r\nabc\r\n0\r\n\r\n", Some(true)),
            ("3;x=y\r\nabc\r\n0\r\nTrailer: x\r\n\r\n", Some(true)),
            ("3\r\nabc\r\n0\r\n", Some(false)),
            ("3\r\nab", Some(false)),
            ("", Some(false)),
            ("zz\r\n", None),
            ("ffffffffffffffff\r\n", Some(false)),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(chunks_are_complete(bytes.as_bytes()).ok(), wanted, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parser_panic(bytes: Vec<u8>) {
            let _ = Head::parse(&bytes);
            let _ = chunks_are_complete(&bytes);
            let _ = Head::parse(&[b"HTTP/1.1 200 OK\r\n", bytes.as_slice()].concat());
        }
    }
}
