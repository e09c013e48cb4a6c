//! What goes into the log and what comes out of it: messages, records, positions.
//! Payloads are opaque bytes: this crate never looks into one, but for packing it.

use std::fmt;

use bytes::Bytes;

use crate::pack::unpacked_bytes;

/// What a producer appends: usually some newline-delimited events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Opaque; at most [`PAYLOAD_BYTES_MAX`](crate::PAYLOAD_BYTES_MAX).
    pub payload: Bytes,
    /// How many hop events are in the payload: the number the ledger must account for.
    /// 0 for what is not an event ([`Schema::Producer`]).
    pub events: u32,
    /// What the payload's objects are.
    pub schema: Schema,
    /// How the payload is encoded.
    pub content_type: ContentType,
    /// W3C trace context of what the message came of, for other readers of Kafka's topic, where it is the header
    /// `traceparent`. A spool does not keep it, and so an outbox does not hand it on: what we read says it itself.
    pub traceparent: Option<Box<str>>,
}

impl Message {
    /// `events` newline-delimited events.
    pub fn events(payload: impl Into<Bytes>, events: u32) -> Self {
        Self::ndjson(payload.into(), events, Schema::Events)
    }

    /// Newline-delimited dead letters; counts no event, since the ledger already has.
    pub fn dead_letters(payload: impl Into<Bytes>) -> Self {
        Self::ndjson(payload.into(), 0, Schema::DeadLetter)
    }

    /// Newline-delimited notes on the life of a producer; counts no event.
    pub fn producer(payload: impl Into<Bytes>) -> Self {
        Self::ndjson(payload.into(), 0, Schema::Producer)
    }

    /// `events` newline-delimited events as a [`Packer`](crate::Packer) has packed them, for a producer that
    /// [takes that](crate::Producer::takes_packed).
    pub fn packed_events(packed: Bytes, events: u32) -> Self {
        Self { content_type: ContentType::NdjsonLz4, ..Self::events(packed, events) }
    }

    /// Length of the payload in bytes, before it was packed.
    pub fn payload_bytes(&self) -> usize {
        match self.content_type {
            ContentType::NdjsonLz4 => unpacked_bytes(&self.payload),
            ContentType::Ndjson | ContentType::Other(_) => self.payload.len(),
        }
    }

    fn ndjson(payload: Bytes, events: u32, schema: Schema) -> Self {
        Self { payload, events, schema, content_type: ContentType::Ndjson, traceparent: None }
    }
}

/// What a consumer reads: an appended message, immutable, at its place in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Place in the partition; ascending, without gaps in the spool. Kafka may have gaps
    /// (transaction markers), so only the order is promised by the seam.
    pub offset: u64,
    /// Wall clock of the append, microseconds since the Unix epoch. Not monotonic: clocks get set.
    pub appended_at_us: i64,
    /// As appended.
    pub payload: Bytes,
    /// As counted by the producer, where it said so.
    pub events: Option<u32>,
    /// As appended; [`Schema::Other`] when unknown here or absent.
    pub schema: Schema,
    /// As appended; [`ContentType::Other`] when unknown here or absent.
    pub content_type: ContentType,
}

/// How far a group is in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// Next offset to consume; everything below is done.
    pub offset: u64,
    /// Opaque note of the consumer, stored atomically with the offset; the collector's intent lives here.
    /// At most [`METADATA_BYTES_MAX`](crate::METADATA_BYTES_MAX).
    pub metadata: String,
}

/// Header `schema` of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Schema {
    /// `hoplog.event.v1`: an event a hop.
    Events,
    /// `hoplog.producer.v1`: start, drops and end of a producer.
    Producer,
    /// `hoplog.replay.v1`: events that were dead letters, sent once more; their numbers arrived when they first came.
    Replay,
    /// `hoplog.dead-letter.v1`: what could not be stored, with its reason; on a topic of its own.
    DeadLetter,
    /// Written by someone else, or by a newer version. Empty if the header is absent.
    Other(Box<str>),
}

impl Schema {
    /// The header's value.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Events => "hoplog.event.v1",
            Self::Producer => "hoplog.producer.v1",
            Self::Replay => "hoplog.replay.v1",
            Self::DeadLetter => "hoplog.dead-letter.v1",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for Schema {
    fn from(name: &str) -> Self {
        match name {
            "hoplog.event.v1" => Self::Events,
            "hoplog.producer.v1" => Self::Producer,
            "hoplog.replay.v1" => Self::Replay,
            "hoplog.dead-letter.v1" => Self::DeadLetter,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Header `content-type` of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// `application/x-ndjson`: one JSON object a line.
    Ndjson,
    /// `application/x-ndjson+lz4`: the same, packed: their length in four bytes, the lowest first, and a block of LZ4. Only on the
    /// way into a spool and within it; what comes out of it so can't be unpacked.
    NdjsonLz4,
    /// Anything else. Empty if the header is absent.
    Other(Box<str>),
}

impl ContentType {
    /// The header's value.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::NdjsonLz4 => "application/x-ndjson+lz4",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for ContentType {
    fn from(name: &str) -> Self {
        match name {
            "application/x-ndjson" => Self::Ndjson,
            "application/x-ndjson+lz4" => Self::NdjsonLz4,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_round_trip() {
        for name in [
            "hoplog.event.v1",
            "hoplog.producer.v1",
            "hoplog.replay.v1",
            "hoplog.dead-letter.v1",
            "hoplog.event.v2",
            "",
        ] {
            assert_eq!(Schema::from(name).as_str(), name);
        }
        for name in ["application/x-ndjson", "application/x-ndjson+lz4", "application/json", ""] {
            assert_eq!(ContentType::from(name).as_str(), name);
        }
        assert_eq!(Schema::from("hoplog.event.v1"), Schema::Events);
        assert_eq!(Schema::from("hoplog.producer.v1"), Schema::Producer);
        assert_eq!(ContentType::from("application/x-ndjson"), ContentType::Ndjson);
    }
}
