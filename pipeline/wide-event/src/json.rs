//! The encoder of events: what serde_json would write of one, byte for byte, at a fraction of its instructions.
//!
//! An event is written field by field, by code that the registry makes for each, into a line's room of memory and from
//! there, at one stroke, into the message. Which fields there are and their order come from the registry; how bytes
//! get into the line is [`line`]'s. What is rare (text with escapes, IPv6) is left to those who know it.

mod line;

use crate::event::Event;
use crate::timestamp::Timestamp;
use crate::value::{Cache, Host, Network, Orphan, Outcome, SpanId, Text, TraceId, Visitor};

pub(crate) use line::Line;

const US_PER_S: i64 = 1_000_000;
/// `2026-11-21T22:37:00.`, in years of four digits.
const SECOND_BYTES: usize = 20;

/// Encodes events; remembers the date of the last one, so one for many events costs less than one for each.
#[derive(Debug, Default)]
pub struct Encoder {
    line: Line,
    second: Second,
}

/// A second, and how a time within it begins, up to the point.
#[derive(Debug)]
struct Second {
    number: i64,
    text: [u8; SECOND_BYTES],
}

impl Default for Second {
    fn default() -> Self {
        // The first event's second is another one: this is long before the oldest that is written with four digits.
        Self { number: i64::MIN, text: [0; SECOND_BYTES] }
    }
}

impl Encoder {
    /// Appends an event as one line, newline included.
    pub fn encode(&mut self, event: &Event<'_>, message: &mut Vec<u8>) {
        self.line.begin();
        event.write(self);
        self.line.bytes(b"}\n");
        message.extend_from_slice(self.line.object());
    }

    /// Writes a field, whose key comes with a comma, its quotes and its colon. Inlined, so that the key's length is
    /// known and copying takes a few instructions instead of a call.
    #[inline(always)]
    pub(crate) fn field<T: Json>(&mut self, key: &'static str, value: &T) {
        self.line.bytes(key.as_bytes());
        value.write(self);
    }
}

/// A value that can be written.
pub(crate) trait Json {
    /// Whether it is the default, which a reader fills in.
    fn is_default(&self) -> bool;
    /// Writes it.
    fn write(&self, encoder: &mut Encoder);
}

macro_rules! written {
    ($($type:ty: $value:ident => $is_default:expr, $encoder:ident => $write:expr;)*) => {
        $(impl Json for $type {
            #[inline]
            fn is_default(&self) -> bool {
                let $value = self;
                $is_default
            }
            #[inline]
            fn write(&self, $encoder: &mut Encoder) {
                let $value = self;
                $write
            }
        })*
    };
}
written! {
    u64: it => *it == 0, encoder => encoder.line.number(*it);
    u32: it => *it == 0, encoder => encoder.line.number((*it).into());
    u16: it => *it == 0, encoder => encoder.line.number((*it).into());
    u8: it => *it == 0, encoder => encoder.line.number((*it).into());
    bool: it => !*it, encoder => encoder.line.bytes(if *it { b"true" } else { b"false" });
    Timestamp: it => it.0 == 0, encoder => time(it.0, encoder);
    TraceId: it => it.0 == 0, encoder => {
        // Halves of 64 bits each.
        let halves = [it.0 >> 64, it.0 & u128::from(u64::MAX)];
        let [high, low] = halves.map(|half| u64::try_from(half).unwrap_or_default());
        encoder.line.bytes(b"\"");
        encoder.line.hex(high);
        encoder.line.hex(low);
        encoder.line.bytes(b"\"");
    };
    SpanId: it => it.0 == 0, encoder => encoder.line.quoted_hex(it.0);
    Visitor: it => it.0 == 0, encoder => encoder.line.quoted_hex(it.0);
    Network: it => *it == Network::Unknown, encoder => network(*it, encoder);
    Host<'_>: it => it.as_str().is_empty(), encoder => encoder.line.text(it.as_str());
    Outcome: it => *it == Self::default(), encoder => encoder.line.text(it.as_str());
    Cache: it => *it == Self::default(), encoder => encoder.line.text(it.as_str());
    Orphan: it => *it == Self::default(), encoder => encoder.line.text(it.as_str());
}
impl<const MAX: usize> Json for Text<'_, MAX> {
    #[inline]
    fn is_default(&self) -> bool {
        self.is_empty()
    }
    #[inline]
    fn write(&self, encoder: &mut Encoder) {
        encoder.line.text(self.as_str());
    }
}

fn time(us: i64, encoder: &mut Encoder) {
    let Encoder { line, second } = encoder;
    let now = us.div_euclid(US_PER_S);
    if second.number != now {
        let text = Timestamp(us).to_string();
        match text.as_bytes().first_chunk() {
            // A year of more digits, or before the first, is written as it is, each time.
            Some(start) if start.ends_with(b".") => *second = Second { number: now, text: *start },
            _ => return line.text(&text),
        }
    }
    line.bytes(b"\"");
    line.bytes(&second.text);
    line.six_digits(us.rem_euclid(US_PER_S).unsigned_abs());
    line.bytes(b"Z\"");
}

fn network(network: Network, encoder: &mut Encoder) {
    let line = &mut encoder.line;
    match network {
        Network::V4([a, b, c]) => {
            line.bytes(b"\"");
            for part in [a, b, c] {
                line.number(part.into());
                line.bytes(b".");
            }
            line.bytes(b"0/24\"");
        }
        other => line.text(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::event::FIELDS;
    use crate::registry::Kind;
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json, json};

    /// Any value of a field, as JSON.
    fn value(name: &'static str, kind: Kind) -> BoxedStrategy<Json> {
        let symbols = |all: Vec<&'static str>| prop::sample::select(all).prop_map(Json::from).boxed();
        match (name, kind) {
            ("outcome", _) => symbols(Outcome::ALL.iter().map(|it| it.as_str()).collect()),
            ("cache", _) => symbols(Cache::ALL.iter().map(|it| it.as_str()).collect()),
            ("orphan", _) => symbols(Orphan::ALL.iter().map(|it| it.as_str()).collect()),
            ("client_net", _) => any::<std::net::IpAddr>().prop_map(|it| json!(Network::of(it))).boxed(),
            (name, _) if name.ends_with("host") => "[a-z0-9.:\"é-]{0,80}".prop_map(Json::from).boxed(),
            (_, Kind::Time) => (-1i64 << 50..1 << 53).prop_map(|us| json!(Timestamp(us))).boxed(),
            (_, Kind::U64) => any::<u64>().prop_map(Json::from).boxed(),
            (_, Kind::U32) => any::<u32>().prop_map(Json::from).boxed(),
            (_, Kind::U16) => any::<u16>().prop_map(Json::from).boxed(),
            (_, Kind::U8) => any::<u8>().prop_map(Json::from).boxed(),
            (_, Kind::Flag) => any::<bool>().prop_map(Json::from).boxed(),
            (_, Kind::Symbol | Kind::Text) => {
                prop_oneof!["[ -~]{0,150}", ".{0,80}"].prop_map(Json::from).boxed()
            }
            (_, Kind::Trace) => any::<u128>().prop_map(|id| json!(format!("{id:032x}"))).boxed(),
            (_, Kind::Span | Kind::Hash) => any::<u64>().prop_map(|id| json!(format!("{id:016x}"))).boxed(),
        }
    }

    /// Events of the registry's fields, as lines: required fields always, others at times.
    fn line() -> impl Strategy<Value = String> {
        let fields: Vec<_> = FIELDS
            .iter()
            .map(|field| {
                let there = if field.required { Just(true).boxed() } else { any::<bool>().boxed() };
                (Just(field.name), there, value(field.name, field.kind))
            })
            .collect();
        fields.prop_map(|fields| {
            let fields = fields.into_iter().filter(|(_, there, _)| *there);
            let object: Map<_, _> = fields.map(|(name, _, value)| (name.to_owned(), value)).collect();
            Json::Object(object).to_string()
        })
    }

    proptest! {
        /// One encoder for all, so that dates are kept and given up.
        #[test]
        fn writes_what_serde_json_writes(lines in prop::collection::vec(line(), 1..4)) {
            let mut encoder = Encoder::default();
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for line in &lines {
                let event: Event<'_> = codec::decode_record(line.as_bytes()).unwrap();
                for _ in 0..2 {
                    encoder.encode(&event, &mut ours);
                    codec::write_json(&event, &mut theirs);
                    theirs.push(b'\n');
                }
            }
            prop_assert_eq!(String::from_utf8(ours).unwrap(), String::from_utf8(theirs).unwrap());
        }
    }

    #[test]
    fn defaults_are_left_out_and_a_required_field_comes_first() {
        let mut ours = Vec::new();
        Encoder::default().encode(&Event::default(), &mut ours);
        let theirs = format!("{}\n", serde_json::to_string(&Event::default()).unwrap());
        assert_eq!((ours, FIELDS[0].required), (theirs.into_bytes(), true));
    }
}
