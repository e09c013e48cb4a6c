//! The encoder of events: what serde_json would write of one, byte for byte, at a third of its instructions.
//!
//! serde_json looks at each byte for what must be escaped and formats ids and times by `Display`; here keys are made
//! once, text and ids are worked on eight bytes at a time, and the date is kept for a second. Which fields there are
//! and their order come from the registry. What is rare (text with escapes, IPv6) is left to those who know it.

use std::io::Write as _;
use std::sync::LazyLock;

use crate::codec;
use crate::event::{Event, FIELDS, Value};
use crate::registry::{Field, Kind};
use crate::timestamp::Timestamp;
use crate::value::{Network, TraceId};

const US_PER_S: i64 = 1_000_000;
/// Room for a key, in bytes: a fixed number of bytes is copied by a few instructions, any other by a call. The longest
/// is `"referrer_host"`, and a longer one would fail a test.
const KEY_BYTES: usize = 32;

/// Encodes events; remembers the date of the last one, so one for many events costs less than one for each.
#[derive(Debug)]
pub struct Encoder {
    keys: &'static [Key],
    /// A second, and how a time within it begins, up to the point.
    second: (i64, Vec<u8>),
}

#[derive(Debug)]
struct Key {
    /// The name as it is written, with what comes before and behind it; and how long that is.
    text: [u8; KEY_BYTES],
    bytes: usize,
    is_required: bool,
    is_hash: bool,
    /// The text that is not written; the default of everything else is zero.
    default: &'static str,
}

impl Default for Encoder {
    fn default() -> Self {
        static DEFAULT: LazyLock<Event<'static>> = LazyLock::new(Event::default);
        static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
            let fields = FIELDS.iter().zip(DEFAULT.values()).enumerate();
            fields.map(|(at, (field, default))| Key::new(at, field, default)).collect()
        });
        Self { keys: &KEYS, second: (i64::MIN, Vec::new()) }
    }
}

impl Encoder {
    /// Appends an event as one line, newline included.
    pub fn encode(&mut self, event: &Event<'_>, message: &mut Vec<u8>) {
        for (key, value) in self.keys.iter().zip(&event.values()) {
            if !key.is_required && key.is_default(*value) {
                continue;
            }
            message.extend_from_slice(&key.text);
            message.truncate(message.len() + key.bytes - KEY_BYTES);
            match *value {
                Value::Time(us) => time(&mut self.second, us, message),
                Value::U64(hash) if key.is_hash => quoted(&hex(hash), message),
                Value::U64(value) => number(value, message),
                Value::U32(value) => number(value.into(), message),
                Value::U16(value) => number(value.into(), message),
                Value::U8(value) => number(value.into(), message),
                Value::Flag(flag) => message.extend_from_slice(if flag { b"true" } else { b"false" }),
                Value::Text(value) => text(value, message),
                Value::Trace(id) => quoted(trace(id).as_flattened(), message),
                Value::Span(id) => quoted(&hex(id.0), message),
                Value::Network(value) => network(value, message),
            }
        }
        message.extend_from_slice(b"}\n");
    }
}

impl Key {
    fn new(at: usize, field: &Field, default: Value<'static>) -> Self {
        // The first field is a required one, so a comma never comes first.
        let name = format!("{}\"{}\":", if at == 0 { '{' } else { ',' }, field.name);
        let mut text = [0; KEY_BYTES];
        text[..name.len()].copy_from_slice(name.as_bytes());
        Self {
            text,
            bytes: name.len(),
            is_required: field.required,
            is_hash: field.kind == Kind::Hash,
            default: if let Value::Text(text) = default { text } else { "" },
        }
    }

    fn is_default(&self, value: Value<'_>) -> bool {
        match value {
            Value::Time(value) => value == 0,
            Value::U64(value) => value == 0,
            Value::U32(value) => value == 0,
            Value::U16(value) => value == 0,
            Value::U8(value) => value == 0,
            Value::Flag(flag) => !flag,
            // Nothing is compared with nothing: on processors with AVX-512, `memcmp` of no bytes at the address that an
            // empty string has takes some hundred cycles.
            Value::Text("") => self.default.is_empty(),
            Value::Text(text) => text == self.default,
            Value::Trace(id) => id.0 == 0,
            Value::Span(id) => id.0 == 0,
            Value::Network(network) => network == Network::Unknown,
        }
    }
}

fn quoted(bytes: &[u8], message: &mut Vec<u8>) {
    message.reserve(bytes.len() + 2);
    message.push(b'"');
    message.extend_from_slice(bytes);
    message.push(b'"');
}

fn text(text: &str, message: &mut Vec<u8>) {
    if needs_escape(text.as_bytes()) {
        codec::write_json(text, message);
    } else {
        quoted(text.as_bytes(), message);
    }
}

/// Whether a byte of a text is a control character, a quote or a backslash.
fn needs_escape(text: &[u8]) -> bool {
    let (words, _) = text.as_chunks::<8>();
    let last = match text.last_chunk::<8>() {
        // Some bytes are looked at twice.
        Some(last) => *last,
        None => {
            let mut padded = [b' '; 8];
            padded[..text.len()].copy_from_slice(text);
            padded
        }
    };
    has_special(last) || words.iter().any(|word| has_special(*word))
}

/// The same of eight bytes at once. Formulas: Sean Eron Anderson, "Bit Twiddling Hacks", `hasless` and `haszero`.
fn has_special(word: [u8; 8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    let word = u64::from_ne_bytes(word);
    let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word;
    let is = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    (less(word, b' ') | is(b'"') | is(b'\\')) & (ONES << 7) != 0
}

/// The sixteen digits of a number: each half is spread, a nibble to a byte, and all nibbles become digits at once.
fn hex(value: u64) -> [u8; 16] {
    const ONES: u64 = u64::MAX / 255;
    let digits = |half: u64| {
        let mut nibbles = (half | half << 16) & 0x0000_ffff_0000_ffff;
        nibbles = (nibbles | nibbles << 8) & 0x00ff_00ff_00ff_00ff;
        nibbles = (nibbles | nibbles << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = (nibbles + 6 * ONES) >> 4 & ONES;
        (nibbles + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
    };
    let mut both = [0; 16];
    both[..8].copy_from_slice(&digits(value >> 32));
    both[8..].copy_from_slice(&digits(value & u64::from(u32::MAX)));
    both
}

fn trace(id: TraceId) -> [[u8; 16]; 2] {
    let mut halves = [[0; 8]; 2];
    halves.as_flattened_mut().copy_from_slice(&id.0.to_be_bytes());
    halves.map(|half| hex(u64::from_be_bytes(half)))
}

fn number(mut value: u64, message: &mut Vec<u8>) {
    // 2^64 has 20 digits.
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while at == digits.len() || value > 0 {
        at -= 1;
        digits[at] += u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
    message.extend_from_slice(&digits[at..]);
}

fn time(second: &mut (i64, Vec<u8>), us: i64, message: &mut Vec<u8>) {
    let now = us.div_euclid(US_PER_S);
    if second.0 != now {
        let text = Timestamp(now * US_PER_S).to_string();
        let point = text.find('.').map_or(text.len(), |point| point + 1);
        *second = (now, text.as_bytes()[..point].to_vec());
    }
    let mut digits = *b"000000Z\"";
    let mut left = us.rem_euclid(US_PER_S);
    for digit in digits[..6].iter_mut().rev() {
        *digit += u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
    }
    message.push(b'"');
    message.extend_from_slice(&second.1);
    message.extend_from_slice(&digits);
}

fn network(network: Network, message: &mut Vec<u8>) {
    message.push(b'"');
    match network {
        Network::V4([a, b, c]) => {
            for part in [a, b, c] {
                number(part.into(), message);
                message.push(b'.');
            }
            message.extend_from_slice(b"0/24");
        }
        // A vector takes every write.
        other => drop(write!(message, "{other}")),
    }
    message.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cache, Orphan, Outcome};
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
    fn what_must_be_escaped_is_found_wherever_it_is() {
        for length in 0..40 {
            for byte in 0..=255 {
                let mut text = vec![b'x'; length];
                assert!(!needs_escape(&text));
                for at in 0..length {
                    text[at] = byte;
                    assert_eq!(needs_escape(&text), byte < b' ' || byte == b'"' || byte == b'\\');
                    text[at] = b'x';
                }
            }
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
