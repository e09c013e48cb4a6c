//! From a message of Kafka to a record of the seam. Whatever somebody wrote into the topic becomes a record: what it
//! is worth is decided by whoever reads it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Headers, Message, Timestamp};

use crate::{ContentType, Record, Schema};

/// Header with the name of the payload's schema.
const SCHEMA: &str = "schema";
/// Header with the payload's encoding.
const CONTENT_TYPE: &str = "content-type";
/// Header with the number of events in the payload, decimal.
const EVENTS: &str = "events";

/// Copies a message out of librdkafka. A tombstone has an empty payload.
pub(super) fn record(message: &BorrowedMessage<'_>) -> Record {
    let described = described(message);
    Record {
        offset: u64::try_from(message.offset()).unwrap_or(0),
        appended_at_us: appended_at_us(message.timestamp()),
        payload: message.payload().map_or_else(Bytes::new, Bytes::copy_from_slice),
        events: described.events,
        schema: Schema::from(described.schema.as_str()),
        content_type: ContentType::from(described.content_type.as_str()),
    }
}

/// How many events the collector takes a message to announce; see its `decode`.
pub(super) fn announced(record: &Record) -> u64 {
    match (&record.schema, &record.content_type) {
        (Schema::Events | Schema::Replay, ContentType::Ndjson) => {
            record.events.map_or_else(|| lines(&record.payload), u64::from)
        }
        (Schema::Producer, ContentType::Ndjson) => 0,
        // Of no use to the collector: a dead letter as a whole.
        _ => u64::from(record.events.unwrap_or(1)),
    }
}

/// Lines that hold something.
fn lines(payload: &[u8]) -> u64 {
    payload.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count() as u64
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Described {
    schema: String,
    content_type: String,
    events: Option<u32>,
}

/// What the headers say. Of several with one name the last counts, as with Kafka's own clients.
fn described(message: &BorrowedMessage<'_>) -> Described {
    let Some(headers) = message.headers() else { return Described::default() };
    // rdkafka panics on a name that is not UTF-8; one such message must not end the collector again and again.
    let read = || describe(headers.iter().map(|header| (header.key, header.value.unwrap_or_default())));
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_default()
}

fn describe<'m>(headers: impl Iterator<Item = (&'m str, &'m [u8])>) -> Described {
    let mut described = Described::default();
    for (name, value) in headers {
        match name {
            SCHEMA => described.schema = String::from_utf8_lossy(value).into_owned(),
            CONTENT_TYPE => described.content_type = String::from_utf8_lossy(value).into_owned(),
            EVENTS => described.events = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
            _ => {}
        }
    }
    described
}

/// Kafka counts milliseconds; 0 where a message has no time.
fn appended_at_us(timestamp: Timestamp) -> i64 {
    timestamp.to_millis().map_or(0, |millis| millis.max(0).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_taken_as_far_as_they_make_sense() {
        let all = [
            ("schema", &b"hoplog.event.v1"[..]),
            ("content-type", b"application/x-ndjson"),
            ("events", b"12"),
            ("other", b"\xff"),
        ];
        let expected = Described {
            schema: "hoplog.event.v1".to_owned(),
            content_type: "application/x-ndjson".to_owned(),
            events: Some(12),
        };
        assert_eq!(describe(all.into_iter()), expected);
        for senseless in [&b"-1"[..], b"4294967296", b"\xff", b"", b"1 "] {
            assert_eq!(describe([("events", senseless)].into_iter()).events, None);
        }
        assert_eq!(describe([("schema", &b"a\xffb"[..])].into_iter()).schema, "a\u{fffd}b");
    }

    #[test]
    fn a_message_without_a_time_has_none() {
        assert_eq!(appended_at_us(Timestamp::NotAvailable), 0);
        assert_eq!(appended_at_us(Timestamp::CreateTime(-5)), 0);
        assert_eq!(appended_at_us(Timestamp::CreateTime(i64::MAX)), i64::MAX);
        assert_eq!(appended_at_us(Timestamp::LogAppendTime(1_763_764_620_123)), 1_763_764_620_123_000);
    }

    #[test]
    fn events_are_counted_as_the_collector_counts_them() {
        let cases = [
            ("hoplog.event.v1", "application/x-ndjson", Some(7), "{}\n", 7),
            ("hoplog.event.v1", "application/x-ndjson", None, "{}\n\n  \r\n{}", 2),
            ("hoplog.replay.v1", "application/x-ndjson", None, "{}\n", 1),
            ("hoplog.producer.v1", "application/x-ndjson", Some(3), "{}\n", 0),
            ("hoplog.producer.v1", "", None, "{}\n", 1),
            ("hoplog.dead-letter.v1", "application/x-ndjson", Some(0), "{}\n", 0),
            ("hoplog.event.v9", "application/x-ndjson", None, "{}\n{}\n", 1),
            ("hoplog.event.v9", "application/x-ndjson", Some(4), "", 4),
            ("hoplog.event.v1", "text/plain", Some(0), "x", 0),
            ("", "", None, "", 1),
        ];
        for (schema, content_type, events, payload, expected) in cases {
            let record = Record {
                offset: 0,
                appended_at_us: 0,
                payload: Bytes::from_static(payload.as_bytes()),
                events,
                schema: Schema::from(schema),
                content_type: ContentType::from(content_type),
            };
            assert_eq!(announced(&record), expected, "{record:?}");
        }
    }
}
