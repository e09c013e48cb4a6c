//! Requests that hyper refuses, or that never become whole: which of them are hops, and what was answered.
//! What hyper 1.12 does in each case is settled by the raw tests in `tests/it`.

use std::net::SocketAddr;

use http::StatusCode;

/// A request that no service saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The peer of the connection.
    pub peer: SocketAddr,
    /// What was wrong.
    pub kind: MalformedKind,
    /// What hyper answered; nothing when it closed the connection without an answer.
    pub status: Option<StatusCode>,
}

/// What is wrong with a request that no service saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MalformedKind {
    /// Request line or header fields are no HTTP.
    Syntax,
    /// The request target is too long.
    UriTooLong,
    /// The header fields are too many or too large.
    HeadersTooLarge,
    /// HTTP/2 without having agreed on it.
    Http2,
    /// The client closed the connection within the head.
    Truncated,
    /// The client did not send the head in time.
    TooSlow,
}

impl MalformedKind {
    /// The name in events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::UriTooLong => "uri_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::Http2 => "http2",
            Self::Truncated => "truncated",
            Self::TooSlow => "too_slow",
        }
    }
}

/// Is told of each request that no service saw, once. Called on the connection's task: must neither block nor wait.
pub trait OnMalformed: Send + Sync + 'static {
    /// Takes one.
    fn malformed(&self, request: Malformed);
}

impl<F: Fn(Malformed) + Send + Sync + 'static> OnMalformed for F {
    fn malformed(&self, request: Malformed) {
        self(request);
    }
}

/// What the end of a connection says of a last request. `busy`: a service has it. `unread`: bytes of it that came.
/// A connection that closes or idles between requests is no hop.
pub(super) fn judge(peer: SocketAddr, error: &hyper::Error, busy: bool, unread: usize) -> Option<Malformed> {
    if busy {
        return None;
    }
    let (kind, status) = if error.is_parse_version_h2() {
        (MalformedKind::Http2, None)
    } else if error.is_parse_too_large() {
        // hyper has no question that tells the two apart, only their texts.
        if error.to_string() == "URI too long" {
            (MalformedKind::UriTooLong, Some(StatusCode::URI_TOO_LONG))
        } else {
            (MalformedKind::HeadersTooLarge, Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE))
        }
    } else if error.is_parse() {
        (MalformedKind::Syntax, Some(StatusCode::BAD_REQUEST))
    } else if unread == 0 {
        return None;
    } else if error.is_timeout() {
        (MalformedKind::TooSlow, None)
    } else {
        // Also a reset within the head: it is not whole, whichever way the connection ended.
        (MalformedKind::Truncated, None)
    };
    Some(Malformed { peer, kind, status })
}
