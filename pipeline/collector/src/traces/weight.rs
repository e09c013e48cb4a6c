//! What an export would take as messages, before one is made: a span of nothing is two bytes on the wire and hundreds in memory.
//! Looks at tags and lengths, of JSON at its punctuation; whether it is an export at all is for who reads it.

use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::receive::Format;

/// Lists double when they grow, so up to half of one is room for more.
const ROOM: usize = 2;

/// The least that a text or an id takes beside its place in its message: what allocators hand out.
const TEXT_BYTES: usize = 32;

/// What serde holds of a value of JSON that it reads twice, as those of attributes: a name and a value, 32 bytes each.
const JSON_VALUE_BYTES: usize = 64;

/// Messages within each other: as many as prost reads.
const DEPTH_MAX: usize = 100;

/// Why there is no weight.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unweighed {
    /// More than it may be.
    TooHeavy,
    /// No tags and lengths.
    Malformed,
}

/// Says whether an export takes at most so many bytes as messages; texts count as little as they can be, as they are bounded by
/// the body.
pub(super) fn check(format: Format, body: &[u8], bytes_max: usize) -> Result<(), Unweighed> {
    let mut scale = Scale { left: bytes_max };
    match format {
        Format::Protobuf => scale.message(body, Kind::Export, 0),
        Format::Json => scale.json(body),
    }
}

/// What a message is, as far as it has others in it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Export,
    ResourceSpans,
    Resource,
    Entity,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    Attribute,
    Value,
    List,
    Map,
    /// No message, or one without others.
    Leaf,
}

impl Kind {
    /// What a field of it is, and what each takes where it is one of a list; others are part of their message.
    const fn field(self, number: u64) -> (Self, usize) {
        match (self, number) {
            (Self::Export, 1) => (Self::ResourceSpans, ROOM * size_of::<ResourceSpans>()),
            (Self::ResourceSpans, 1) => (Self::Resource, 0),
            (Self::ResourceSpans, 2) => (Self::ScopeSpans, ROOM * size_of::<ScopeSpans>()),
            (Self::Resource, 3) => (Self::Entity, ROOM * size_of::<EntityRef>()),
            (Self::Entity, 3 | 4) => (Self::Leaf, ROOM * size_of::<String>() + TEXT_BYTES),
            (Self::ScopeSpans, 1) => (Self::Scope, 0),
            (Self::ScopeSpans, 2) => (Self::Span, ROOM * size_of::<Span>()),
            (Self::Span, 11) => (Self::Event, ROOM * size_of::<Event>()),
            (Self::Span, 13) => (Self::Link, ROOM * size_of::<Link>()),
            (Self::Resource | Self::Map, 1)
            | (Self::Scope | Self::Event, 3)
            | (Self::Span, 9)
            | (Self::Link, 4) => (Self::Attribute, ROOM * size_of::<KeyValue>()),
            (Self::Attribute, 2) => (Self::Value, 0),
            (Self::Value, 5) => (Self::List, 0),
            (Self::Value, 6) => (Self::Map, 0),
            (Self::List, 1) => (Self::Value, ROOM * size_of::<AnyValue>()),
            _ => (Self::Leaf, TEXT_BYTES),
        }
    }
}

struct Scale {
    left: usize,
}

impl Scale {
    fn add(&mut self, bytes: usize) -> Result<(), Unweighed> {
        self.left = self.left.checked_sub(bytes).ok_or(Unweighed::TooHeavy)?;
        Ok(())
    }

    fn message(&mut self, mut rest: &[u8], kind: Kind, depth: usize) -> Result<(), Unweighed> {
        if depth > DEPTH_MAX {
            return Err(Unweighed::Malformed);
        }
        while !rest.is_empty() {
            let tag = varint(&mut rest)?;
            match tag & 7 {
                0 => {
                    varint(&mut rest)?;
                }
                1 => {
                    take(&mut rest, 8)?;
                }
                2 => {
                    let length = varint(&mut rest)?;
                    let inner = take(&mut rest, usize::try_from(length).unwrap_or(usize::MAX))?;
                    let (of, bytes) = kind.field(tag >> 3);
                    self.add(bytes)?;
                    if !matches!(of, Kind::Leaf) {
                        self.message(inner, of, depth + 1)?;
                    }
                }
                // A group's fields are skipped by who reads it. To count them as this message's is too much at the most.
                3 | 4 => {}
                5 => {
                    take(&mut rest, 4)?;
                }
                _ => return Err(Unweighed::Malformed),
            }
        }
        Ok(())
    }

    /// Every object and list as if it were the largest message, since a list can be any of them, too.
    fn json(&mut self, body: &[u8]) -> Result<(), Unweighed> {
        let (mut text, mut escaped) = (false, false);
        for byte in body {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if text => escaped = true,
                b'"' => text = !text,
                b'{' | b'[' if !text => self.add(size_of::<Span>())?,
                b',' if !text => self.add(JSON_VALUE_BYTES)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A number as the wire has them: seven bits a byte, the lowest first.
fn varint(rest: &mut &[u8]) -> Result<u64, Unweighed> {
    let mut number = 0;
    // Ten bytes hold 64 bits.
    for shift in (0..70).step_by(7) {
        let (&byte, behind) = rest.split_first().ok_or(Unweighed::Malformed)?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Unweighed::Malformed)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Unweighed> {
    let (taken, behind) = rest.split_at_checked(length).ok_or(Unweighed::Malformed)?;
    *rest = behind;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, any_value};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message as _;

    use super::*;

    /// The default body, and what it may become.
    const BODY: usize = 4 << 20;
    const BYTES_MAX: usize = 16 * BODY;

    /// A field with so many bytes in it, within others.
    fn within(fields: &[u8], mut body: Vec<u8>) -> Vec<u8> {
        for number in fields.iter().rev() {
            let mut outer = vec![number << 3 | 2];
            prost::encode_length_delimiter(body.len(), &mut outer).unwrap();
            outer.append(&mut body);
            body = outer;
        }
        body
    }

    fn attribute() -> KeyValue {
        let value = Some(AnyValue { value: Some(any_value::Value::StringValue("GET".to_owned())) });
        KeyValue { key: "http.request.method".to_owned(), value, ..KeyValue::default() }
    }

    fn full_of(span: &Span) -> ExportTraceServiceRequest {
        let count = BODY / (span.encoded_len() + 4);
        let scope_spans = vec![ScopeSpans { spans: vec![span.clone(); count], ..ScopeSpans::default() }];
        let resource = Some(Resource { attributes: vec![attribute(); 10], ..Resource::default() });
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }
    }

    #[test]
    fn lists_of_nothing_are_too_heavy_wherever_they_are() {
        for (what, fields, nothing) in [
            ("resources", &[][..], [0x0a, 0]),
            ("scopes", &[1], [0x12, 0]),
            ("spans", &[1, 2], [0x12, 0]),
            ("events", &[1, 2, 2], [0x5a, 0]),
            ("links", &[1, 2, 2], [0x6a, 0]),
            ("attributes", &[1, 2, 2], [0x4a, 0]),
            ("attributes of a resource", &[1, 1], [0x0a, 0]),
            ("values of a list", &[1, 2, 2, 9, 2, 5], [0x0a, 0]),
            ("values of a map", &[1, 2, 2, 11, 3, 2, 6], [0x0a, 0]),
            ("names of an entity", &[1, 1, 3], [0x1a, 0]),
        ] {
            let body = within(fields, nothing.repeat(BODY / 2 - 40));
            assert_eq!(check(Format::Protobuf, &body, BYTES_MAX), Err(Unweighed::TooHeavy), "{what}");
            let few = within(fields, nothing.repeat(100));
            assert_eq!(check(Format::Protobuf, &few, BYTES_MAX), Ok(()), "{what}");
        }
        for (what, nothing) in [("objects", "{},"), ("lists", "[],"), ("numbers", "1,")] {
            let body = format!("[{}", nothing.repeat(BODY / nothing.len()));
            assert_eq!(check(Format::Json, body.as_bytes(), BYTES_MAX), Err(Unweighed::TooHeavy), "{what}");
        }
    }

    #[test]
    fn a_full_body_of_real_spans_is_not_too_heavy() {
        let bare = Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() };
        let bare = Span { start_time_unix_nano: 1, end_time_unix_nano: 2, ..bare };
        let event = Event { time_unix_nano: 1, name: "e".to_owned(), ..Event::default() };
        let link = Link { trace_id: vec![1; 16], span_id: vec![2; 8], ..Link::default() };
        for (what, span) in [
            ("bare", bare.clone()),
            ("with attributes", Span { attributes: vec![attribute(); 10], ..bare.clone() }),
            ("with events", Span { events: vec![event; 10], ..bare.clone() }),
            ("with links", Span { links: vec![link; 10], ..bare }),
        ] {
            let body = full_of(&span).encode_to_vec();
            assert!(body.len() > BODY * 9 / 10, "{what}: {}", body.len());
            assert_eq!(check(Format::Protobuf, &body, BYTES_MAX), Ok(()), "{what}");
            let mut json = serde_json::to_vec(&full_of(&span)).unwrap();
            json.truncate(BODY);
            assert_eq!(check(Format::Json, &json, BYTES_MAX), Ok(()), "{what}");
        }
    }

    #[test]
    fn texts_are_not_taken_for_structure_and_nonsense_is_refused() {
        let text = format!(r#"{{"name":"\"{}"}}"#, "{[,".repeat(1000));
        assert_eq!(check(Format::Json, text.as_bytes(), 1000), Ok(()));
        let deep = (0..200).fold(AnyValue::default(), |inner, _| AnyValue {
            value: Some(any_value::Value::ArrayValue(ArrayValue { values: vec![inner] })),
        });
        let deep = within(&[1, 2, 2, 9, 2], deep.encode_to_vec());
        for body in [&deep[..], b"\xff\xff\xff\xff", b"\x0a\x05\x00", b"\x0f", &[0x80; 11]] {
            assert_eq!(check(Format::Protobuf, body, BYTES_MAX), Err(Unweighed::Malformed));
        }
        // A number, eight bytes, a group with four bytes in it, a field that nobody knows.
        let unknown =
            b"\x18\x96\x01\x19\x01\x02\x03\x04\x05\x06\x07\x08\x23\x2d\x01\x02\x03\x04\x24\xfa\x7f\x01\x00";
        assert_eq!(check(Format::Protobuf, unknown, BYTES_MAX), Ok(()));
    }
}
