//! Who a hop is: request id, trace and span, taken over from the caller where valid and made here where not.
//!
//! Random numbers come from a generator of the thread, seeded by the operating system: no system call and no lock
//! a request. They tell hops apart; they are no secrets.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

use http::{HeaderName, HeaderValue};
use uuid::Uuid;
use wide_event::{SpanId, Timestamp, TraceId, span_ids};

/// The header that carries a request's id, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is kept, in bytes: what the event's field holds.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Where a hop is in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Trace {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// The caller's span; none where the trace begins here.
    pub(crate) parent_span_id: SpanId,
    pub(crate) flags: u8,
}

impl Trace {
    /// Continues the caller's trace under a new span, or starts one.
    pub(crate) fn of(traceparent: Option<&HeaderValue>) -> Self {
        let parent = traceparent.and_then(|value| parse_traceparent(value.as_bytes()));
        let (trace_id, parent_span_id, flags) =
            parent.unwrap_or_else(|| (TraceId(random_u128()), SpanId::default(), 0));
        Self { trace_id, span_id: SpanId(random_u64()), parent_span_id, flags }
    }

    /// The header of a message that the hop's event is in. What is certain to be kept is sampled.
    pub(crate) fn published(self, certain: bool) -> String {
        let span_id = span_ids::publish(self.trace_id, self.span_id);
        Self { span_id, flags: self.flags | u8::from(certain), ..self }.parent()
    }

    /// The header that makes a further call part of this trace.
    pub(crate) fn parent(self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// The caller's request id where it is valid, else a new one.
pub(crate) fn request_id(given: Option<&HeaderValue>, ts: Timestamp) -> HeaderValue {
    let valid = |value: &&HeaderValue| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&value.len())
            && value.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte))
    };
    given.filter(valid).cloned().unwrap_or_else(|| {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = new_uuid(ts).hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
    })
}

/// A UUIDv7 of that time. `Uuid::now_v7` would take a lock that all threads share, and ask the kernel for bytes.
pub(crate) fn new_uuid(ts: Timestamp) -> Uuid {
    let mut random = [0; 10];
    random.copy_from_slice(&random_u128().to_ne_bytes()[..10]);
    let ms = u64::try_from(ts.0 / 1000).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
}

/// Trace id, span id and flags of a `traceparent`, as W3C Trace Context level 2 has it: lower-case hex, no id all zero, a
/// version other than `ff`; what a later version appends is passed over.
fn parse_traceparent(text: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let text = std::str::from_utf8(text).ok()?;
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.splitn(5, '-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || flags.len() != 2 || !hex(version) || !hex(flags) || version == "ff" {
        return None;
    }
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let trace = TraceId::parse(trace).filter(|id| id.0 != 0)?;
    let span = SpanId::parse(span).filter(|id| id.0 != 0)?;
    // Only the sampled flag has a meaning that may be handed on.
    Some((trace, span, u8::from_str_radix(flags, 16).ok()? & 1))
}

thread_local! {
    /// Two generators, since one has 64 bits of state, and trace ids from it would repeat after some billions.
    static RANDOM: RefCell<[fastrand::Rng; 2]> = RefCell::new(std::array::from_fn(|_| {
        fastrand::Rng::with_seed(RandomState::new().hash_one(std::thread::current().id()))
    }));
}

fn random_u128() -> u128 {
    RANDOM.with_borrow_mut(|[high, low]| u128::from(high.u64(..)) << 64 | u128::from(low.u64(1..)))
}

fn random_u64() -> u64 {
    RANDOM.with_borrow_mut(|[rng, _]| rng.u64(1..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Head;
    use http::HeaderMap;

    fn headers(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn request_ids_are_kept_or_replaced() {
        let longest = [b'x'; REQUEST_ID_BYTES_MAX];
        let kept: &[&[u8]] = &[b"a", b"!~", b"0190-abc/def?x=1", &longest];
        for value in kept {
            let headers = headers("x-request-id", &[value]);
            let given = Head::of(&headers).request_id.get();
            assert_eq!(request_id(given, Timestamp(0)).as_bytes(), *value);
        }
        let too_long = [b'x'; REQUEST_ID_BYTES_MAX + 1];
        let replaced: &[&[&[u8]]] =
            &[&[], &[b""], &[b"a b"], &[b"tab\t"], &[b"\xff"], &[&too_long], &[b"a", b"a"], &[b"a", b"b"]];
        for values in replaced {
            let headers = headers("x-request-id", values);
            let given = Head::of(&headers).request_id.get();
            let id = request_id(given, Timestamp(1_763_764_620_000_000));
            let uuid = Uuid::parse_str(id.to_str().unwrap()).unwrap();
            assert_eq!(uuid.get_version_num(), 7, "{values:?}");
            assert_eq!(uuid.get_timestamp().unwrap().to_unix().0, 1_763_764_620);
        }
    }

    #[test]
    fn traceparents_are_continued_or_replaced() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let cases = [
            (format!("00-{TRACE}-00f067aa0ba902b7-01"), Some(1)),
            (format!("00-{TRACE}-00f067aa0ba902b7-00"), Some(0)),
            (format!("00-{TRACE}-00f067aa0ba902b7-03"), Some(1)),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01-what-comes-later"), Some(1)),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01"), Some(1)),
            (format!("00-{TRACE}-00f067aa0ba902b7-01-more"), None),
            (format!("ff-{TRACE}-00f067aa0ba902b7-01"), None),
            (format!("00-{TRACE}-0000000000000000-01"), None),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01".to_owned(), None),
            (format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()), None),
            (format!("00-{TRACE}-00f067aa0ba902b7-1"), None),
            (format!("00-{TRACE}-00f067aa0ba902b7-0g"), None),
            (format!("0-{TRACE}-00f067aa0ba902b7-01"), None),
            (format!("00-{TRACE}-00f067aa0ba902b7"), None),
            (String::new(), None),
        ];
        for (text, flags) in cases {
            let headers = headers("traceparent", &[text.as_bytes()]);
            let trace = Trace::of(Head::of(&headers).traceparent.get());
            assert_eq!(trace.trace_id.to_string() == TRACE, flags.is_some(), "{text}");
            assert_eq!(trace.flags, flags.unwrap_or(0), "{text}");
            assert_ne!(trace.span_id.to_string(), "00f067aa0ba902b7");
            let parent = if flags.is_some() { SpanId(0x00f0_67aa_0ba9_02b7) } else { SpanId(0) };
            assert_eq!(trace.parent_span_id, parent, "{text}");
            let handed_on = parse_traceparent(trace.parent().as_bytes());
            assert_eq!(handed_on, Some((trace.trace_id, trace.span_id, trace.flags)));
        }
        let valid = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let headers = headers("traceparent", &[valid.as_bytes(), valid.as_bytes()]);
        let twice = Trace::of(Head::of(&headers).traceparent.get());
        assert_ne!(twice.trace_id.to_string(), TRACE);
    }

    #[test]
    fn threads_make_different_ids() {
        let make = || (0..1000).map(|_| random_u128()).collect::<Vec<_>>();
        let mut all: Vec<u128> = (0..4)
            .map(|_| std::thread::spawn(make))
            .collect::<Vec<_>>()
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4000);
    }
}
