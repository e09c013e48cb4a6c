//! What a request's head says that an event, or its identity, is made of: found in one pass over the headers.
//!
//! A look-up by name hashes the name and probes; five of them cost more than looking at each header once, and
//! servers bound the number of headers. Nothing is copied or checked here.

use http::{HeaderMap, HeaderValue};

/// The headers that matter, as they came.
#[derive(Debug, Default)]
pub(crate) struct Head<'r> {
    pub(crate) host: &'r [u8],
    pub(crate) user_agent: &'r [u8],
    pub(crate) referrer: &'r [u8],
    pub(crate) request_id: Once<'r>,
    pub(crate) traceparent: Once<'r>,
}

/// A header that means something only where it is there exactly once.
#[derive(Debug, Default)]
pub(crate) enum Once<'r> {
    #[default]
    Absent,
    One(&'r HeaderValue),
    More,
}

impl<'r> Head<'r> {
    pub(crate) fn of(headers: &'r HeaderMap) -> Self {
        let mut head = Self::default();
        let mut seen = [false; 3];
        // Of a repeated header, the first counts.
        let mut first = |at: usize, part: &mut &'r [u8], value: &'r HeaderValue| {
            if !std::mem::replace(&mut seen[at], true) {
                *part = value.as_bytes();
            }
        };
        for (name, value) in headers {
            match name.as_str() {
                "host" => first(0, &mut head.host, value),
                "user-agent" => first(1, &mut head.user_agent, value),
                "referer" => first(2, &mut head.referrer, value),
                "x-request-id" => head.request_id.add(value),
                "traceparent" => head.traceparent.add(value),
                _ => {}
            }
        }
        head
    }
}

impl<'r> Once<'r> {
    fn add(&mut self, value: &'r HeaderValue) {
        *self = if matches!(self, Self::Absent) { Self::One(value) } else { Self::More };
    }

    /// The one value.
    pub(crate) fn get(&self) -> Option<&'r HeaderValue> {
        if let Self::One(value) = self { Some(value) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_counts_and_ids_count_alone() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", ""),
            ("host", "b"),
            ("accept", "*/*"),
            ("user-agent", "agent"),
            ("user-agent", "other"),
            ("referer", "from"),
            ("x-request-id", "one"),
            ("traceparent", "a"),
            ("traceparent", "a"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let head = Head::of(&headers);
        assert_eq!((head.host, head.user_agent, head.referrer), (&b""[..], &b"agent"[..], &b"from"[..]));
        assert_eq!(head.request_id.get().map(HeaderValue::as_bytes), Some(&b"one"[..]));
        assert_eq!(head.traceparent.get(), None);
        assert_eq!(Head::of(&HeaderMap::new()).request_id.get(), None);
    }
}
