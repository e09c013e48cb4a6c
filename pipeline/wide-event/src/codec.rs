//! Events to messages and back: one JSON object a line, UTF-8.
//!
//! Events are written by `json`, other records by serde_json. What `json` writes is read by `canonical`, any other JSON
//! by sonic-rs; property tests hold all to the same language. No message headers and no offsets here: see `event-log`.

use serde::{Deserialize, Serialize};

use crate::event::Event;
pub use crate::json::Encoder;
use crate::producer::BootEnd;

/// The longest line that is read, in bytes, without its newline. All bounded strings full of characters that JSON
/// escapes sixfold stay below 32 KiB; what is longer was not written by an encoder of ours.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Content type of a message.
pub const CONTENT_TYPE: &str = "application/x-ndjson";

/// Why a line could not be read. The names are stable: they are the reasons of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The line is longer than [`LINE_BYTES_MAX`].
    #[error("line of {0} bytes, more than {LINE_BYTES_MAX}")]
    TooLong(usize),
    /// The line is not UTF-8.
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// The line ends before its object does.
    #[error("cut short: {0}")]
    Truncated(String),
    /// The line is not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// A required field is not there.
    #[error("{0}")]
    MissingField(String),
    /// A field has a value of another type, or one outside its range.
    #[error("{0}")]
    WrongType(String),
    /// A field's value has the right type and no meaning.
    #[error("{0}")]
    BadValue(String),
}

impl DecodeError {
    /// The reason as a symbol.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::NotUtf8(_) => "not_utf8",
            Self::Truncated(_) => "truncated",
            Self::Syntax(_) => "syntax",
            Self::MissingField(_) => "missing_field",
            Self::WrongType(_) => "wrong_type",
            Self::BadValue(_) => "bad_value",
        }
    }
}

/// What a message holds.
pub trait Record {
    /// Appends it as one line, newline included.
    fn encode(&self, message: &mut Vec<u8>);
}

impl Record for Event<'_> {
    fn encode(&self, message: &mut Vec<u8>) {
        Encoder::default().encode(self, message);
    }
}

impl Record for BootEnd<'_> {
    fn encode(&self, message: &mut Vec<u8>) {
        write_json(self, message);
        message.push(b'\n');
    }
}

/// Appends a record as one line, newline included. Many events are better given to one [`Encoder`].
pub fn encode<T: Record>(record: &T, message: &mut Vec<u8>) {
    record.encode(message);
}

/// Appends JSON.
///
/// # Panics
/// Never: what is written here holds nothing that JSON can't, and a vector takes every write.
#[allow(clippy::expect_used)]
pub(crate) fn write_json<T: Serialize + ?Sized>(value: &T, message: &mut Vec<u8>) {
    serde_json::to_writer(message, value).expect("keys are strings and a vector takes every write");
}

/// The lines of a message that hold something.
pub fn lines(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let line = move |end| {
        let line = &message[start..end];
        start = end + 1;
        line
    };
    let ends = memchr::memchr_iter(b'\n', message).chain([message.len()]);
    ends.map(line).filter(|line| !line.trim_ascii().is_empty())
}

/// Reads one event; fields that are not in the registry are passed over.
///
/// # Errors
/// See [`DecodeError`]. The texts name the place, never the value.
pub fn decode(line: &[u8]) -> Result<Event<'_>, DecodeError> {
    let text = text(line)?;
    let event = match Event::from_canonical(text) {
        Some(event) => event,
        None => parse(text)?,
    };
    let required = [
        (event.instance.is_empty(), "instance"),
        (event.boot_id.is_empty(), "boot_id"),
        (event.seq == 0, "seq"),
        (!(100..600).contains(&event.status), "status"),
    ];
    match required.into_iter().find(|(bad, _)| *bad) {
        Some((_, name)) => Err(DecodeError::BadValue(format!("`{name}` is empty or out of range"))),
        None => Ok(event),
    }
}

/// Reads one record of any type.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_record<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, DecodeError> {
    parse(text(line)?)
}

fn text(line: &[u8]) -> Result<&str, DecodeError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(DecodeError::TooLong(line.len()));
    }
    std::str::from_utf8(line).map_err(|error| DecodeError::NotUtf8(error.valid_up_to()))
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DecodeError> {
    sonic_rs::from_str(text).map_err(|error| classify(&error))
}

/// What kind of failure it was. sonic-rs shows a piece of the input on the lines after the first, and serde the value
/// on the first one: either may be anything, so both are cut off.
fn classify(error: &sonic_rs::Error) -> DecodeError {
    let message = error.to_string();
    let message = shape(message.lines().next().unwrap_or_default().trim_end_matches(':'));
    if error.is_eof() {
        DecodeError::Truncated(message)
    } else if message.starts_with("missing field") {
        DecodeError::MissingField(message)
    } else if message.starts_with("invalid value, expected") {
        DecodeError::BadValue(message)
    } else if error.is_syntax() {
        DecodeError::Syntax(message)
    } else {
        DecodeError::WrongType(message)
    }
}

/// A message of serde without the value: of ``invalid type: string "Ann", expected u64 at …`` and
/// ``invalid value: integer `7`, expected …`` the kind of the value stays. The last `, expected` is serde's own, whatever
/// the value says.
fn shape(message: &str) -> String {
    let Some(rest) =
        message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))
    else {
        return message.to_owned();
    };
    let kind = rest.split(['"', '`', ',']).next().unwrap_or_default().trim_end();
    let what = &message[..message.len() - rest.len()];
    match rest.rfind(", expected ") {
        Some(expected) => format!("{what}{kind}{}", &rest[expected..]),
        None => format!("{what}{kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cache, Host, Network, Orphan, Outcome, SpanId, Text, Timestamp, TraceId, Visitor};
    use proptest::prelude::*;

    const LINE: &str = r#"{"ts":"2025-11-21T22:37:00.123456Z","instance":"web-1","boot_id":"b","seq":7,"status":302,"outcome":"ok"}"#;

    fn event() -> impl Strategy<Value = Event<'static>> {
        let required = (0..4_000_000_000_000_000i64, "\\PC{1,20}", 1..u64::MAX, 100..600u16);
        let texts = ("\\PC{0,200}", ".{0,40}", "[a-z.\\[\\]:-]{0,30}", any::<u128>(), any::<u64>());
        let rest =
            (any::<bool>(), any::<[u8; 6]>(), any::<u32>(), 0..Outcome::ALL.len(), 0..Cache::ALL.len());
        let orphan = (0..Orphan::ALL.len(), any::<u8>());
        (required, texts, rest, orphan).prop_map(
            |(
                (ts, instance, seq, status),
                (long, short, host, trace, span),
                (flag, net, number, outcome, cache),
                (orphan, rule),
            )| Event {
                ts: Timestamp(ts),
                instance: Text::new(instance),
                boot_id: Text::new("b"),
                seq,
                status,
                outcome: Outcome::ALL[outcome],
                cache: Cache::ALL[cache],
                orphan: Orphan::ALL[orphan],
                rule,
                orphan_path: Text::new(long.clone()),
                request_id: Text::new(long),
                code: Text::new(short),
                host: Host::parse(host).unwrap(),
                trace_id: TraceId(trace),
                span_id: SpanId(span),
                visitor: Visitor(span),
                bot: flag,
                client_net: if flag { Network::V6(net) } else { Network::V4([net[0], net[1], net[2]]) },
                store_us: number,
                ..Event::default()
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(events in proptest::collection::vec(event(), 0..5)) {
            let mut message = Vec::new();
            events.iter().for_each(|event| encode(event, &mut message));
            let read: Result<Vec<_>, _> = lines(&message).map(decode).collect();
            prop_assert_eq!(read.unwrap(), events);
        }

        #[test]
        fn the_two_parsers_agree(event in event(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut line = serde_json::to_vec(&event).unwrap();
            let at = at.index(line.len());
            line[at] = byte;
            let theirs = serde_json::from_slice::<Event<'_>>(&line).ok();
            prop_assert_eq!(decode_record::<Event<'_>>(&line).ok(), theirs);
        }

        #[test]
        fn what_our_encoder_writes_without_escapes_is_read_at_once(event in event()) {
            let line = serde_json::to_string(&event).unwrap();
            let read = Event::from_canonical(&line);
            prop_assert_eq!(read, (!line.contains('\\')).then_some(event));
        }

        #[test]
        fn what_is_read_at_once_is_what_the_parser_reads(
            event in event(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4usize, "[\\PC\\x00-\\x1f]|[\"\\\\{},: 0-9tfe.-]"), 0..3),
        ) {
            let mut line: Vec<char> = serde_json::to_string(&event).unwrap().chars().collect();
            for (at, cut, put) in edits {
                let at = at.index(line.len());
                let end = line.len().min(at + cut);
                line.splice(at..end, put.chars());
            }
            let line: String = line.into_iter().collect();
            if let Some(event) = Event::from_canonical(&line) {
                prop_assert_eq!(&serde_json::from_str::<Event<'_>>(&line).unwrap(), &event);
                prop_assert_eq!(parse::<Event<'_>>(&line).unwrap(), event);
            }
        }

        #[test]
        fn the_order_of_the_keys_does_not_matter(event in event(), order in any::<prop::sample::Index>(), spaces in any::<bool>()) {
            let serde_json::Value::Object(fields) = serde_json::to_value(&event).unwrap() else { unreachable!() };
            let mut fields: Vec<_> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            let middle = order.index(fields.len());
            fields.rotate_left(middle);
            let line = format!("{{{}}}", fields.join(if spaces { " , " } else { "," }));
            prop_assert_eq!(decode(line.as_bytes()).unwrap(), event);
        }

        #[test]
        fn no_input_panics(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(decode(&line));
        }
    }

    #[test]
    fn a_bounded_event_fits_a_line() {
        let worst = "\u{1}".repeat(2_000); // six bytes each in JSON
        let mut event = Event { request_id: Text::new(worst.clone()), ..Event::default() };
        event.error_message = Text::new(worst.clone());
        event.code = Text::new(worst.clone());
        event.domain = Text::new(worst.clone());
        event.orphan_path = Text::new(worst.clone());
        event.stages = Text::new(worst.clone());
        for field in [
            &mut event.instance,
            &mut event.boot_id,
            &mut event.service,
            &mut event.version,
            &mut event.environment,
            &mut event.method,
            &mut event.route,
            &mut event.scheme,
            &mut event.error_type,
            &mut event.breaker,
            &mut event.limiter,
            &mut event.browser,
            &mut event.os,
            &mut event.device,
            &mut event.bot_reason,
            &mut event.api_key_id,
        ] {
            *field = Text::new(worst.clone());
        }
        let mut message = Vec::new();
        encode(&event, &mut message);
        assert!(message.len() < LINE_BYTES_MAX / 2, "{}", message.len());
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let line = LINE.replace(r#""seq""#, r#""from_the_future":{"a":[1,"}"]},"seq""#);
        assert_eq!(decode(line.as_bytes()).unwrap(), decode(LINE.as_bytes()).unwrap());
    }

    #[test]
    fn each_field_is_read_at_once_and_only_once() {
        let with = |key: &str, value: &str| format!("{},\"{key}\":{value}}}", &LINE[..LINE.len() - 1]);
        for field in crate::FIELDS {
            let values =
                ["7", "true", "\"7\"", "\"00f067aa0ba902b7\"", "\"00f067aa0ba902b700f067aa0ba902b7\""];
            let others = ["\"203.0.113.0/24\"", "\"l1\"", "\"base_url\""];
            let mut lines = values.iter().chain(&others).map(|value| with(field.name, value));
            let read = lines.find(|line| Event::from_canonical(line).is_some());
            assert_eq!(read.is_some(), !field.required, "{}", field.name);
            if let Some(line) = read {
                let value = line[LINE.len()..].split_once(':').unwrap().1.trim_end_matches('}');
                let twice = format!("{},\"{}\":{value}}}", &line[..line.len() - 1], field.name);
                assert_eq!(Event::from_canonical(&twice), None);
                assert_eq!(decode(twice.as_bytes()).unwrap_err().reason(), "wrong_type", "{twice}");
            }
        }
    }

    #[test]
    fn other_forms_are_read_as_well() {
        let put = |from: &str, to: &str| LINE.replace(from, to);
        let forms = [
            put("\"seq\"", r#""s\u0065q""#),
            put("web-1", r"web\u002d1"),
            put("\":", "\": "),
            put(",", " ,\t"),
            put("302", "302 "),
            format!(" {LINE}\r"),
        ];
        for line in forms {
            assert_eq!(Event::from_canonical(&line), None, "{line}");
            assert_eq!(decode(line.as_bytes()), decode(LINE.as_bytes()), "{line}");
        }
        assert!(Event::from_canonical(LINE).is_some());
    }

    #[test]
    fn lines_are_what_lies_between_newlines() {
        let cases: [(&str, &[&str]); 6] = [
            ("", &[]),
            ("\n\n", &[]),
            ("a", &["a"]),
            ("a\n", &["a"]),
            ("\na\n \r\nb", &["a", "b"]),
            ("a\r\nb\n\n", &["a\r", "b"]),
        ];
        for (message, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(lines(message.as_bytes()).collect::<Vec<_>>(), expected, "{message:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_has_a_reason() {
        let put = |from: &str, to: &str| LINE.replace(from, to).into_bytes();
        let cases = [
            (b"not json".to_vec(), "syntax"),
            (LINE.as_bytes()[..60].to_vec(), "truncated"),
            (vec![b'{', b'"', 0xff, b'"', b'}'], "not_utf8"),
            (vec![b' '; LINE_BYTES_MAX + 1], "too_long"),
            (put(r#""seq":7,"#, ""), "missing_field"),
            (put(r#""outcome":"ok""#, r#""code":"x""#), "missing_field"),
            (put(r#""seq":7"#, r#""seq":"7""#), "wrong_type"),
            (put(r#""seq":7"#, r#""seq":"secret""#), "wrong_type"),
            (put(r#""seq":7"#, r#""seq":"a\", expected secret \"""#), "wrong_type"),
            (put(r#""status":302"#, r#""status":"x\n203.0.113.9""#), "wrong_type"),
            (put(":7,", ":-4711,"), "wrong_type"),
            (put(":7,", ":4711.5,"), "wrong_type"),
            (put("302", "4711000"), "wrong_type"),
            (put(r#""seq""#, r#""bot":"secret","seq""#), "wrong_type"),
            (put(r#""seq""#, r#""code":4711,"seq""#), "wrong_type"),
            (put(r#""outcome":"ok""#, r#""outcome":"secret""#), "bad_value"),
            (put(":7,", ":-7,"), "wrong_type"),
            (put("302", "70000"), "wrong_type"),
            (put("302", "42"), "bad_value"),
            (put(":7,", ":0,"), "bad_value"),
            (put(r#""seq""#, r#""rule":256,"seq""#), "wrong_type"),
            (put(r#""seq""#, r#""orphan":"secret","seq""#), "bad_value"),
            (put(r#""ok""#, r#""fine""#), "bad_value"),
            (b"{}".to_vec(), "missing_field"),
            (put(r#""ok"}"#, r#""ok",}"#), "syntax"),
            (put(r#""seq":7,"#, r#""seq":7"#), "syntax"),
            (put(":7,", ":07,"), "syntax"),
            (put(":7,", ":7.5,"), "wrong_type"),
            (put(r#""seq":7"#, r#""seq":7,"seq":8"#), "wrong_type"),
            (put("web-1", "web\t1"), "syntax"),
            (put("2025-11-21", "2025-13-21"), "bad_value"),
            (put(r#""seq""#, r#""client_net":"203.0.113.9/32","seq""#), "bad_value"),
            (put(r#""seq""#, r#""referrer_host":"a.example/secret?token=1","seq""#), "bad_value"),
            (b"[]".to_vec(), "wrong_type"),
            (b"null".to_vec(), "wrong_type"),
            ([LINE.as_bytes(), LINE.as_bytes()].concat(), "syntax"),
        ];
        for (line, reason) in cases {
            let error = decode(&line).unwrap_err();
            assert_eq!(error.reason(), reason, "{error:?} for {}", String::from_utf8_lossy(&line));
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(!error.to_string().contains("203.0.113"), "{error}");
            assert!(!error.to_string().contains("4711"), "{error}");
        }
        let numbered = decode(&put(r#""seq":7"#, r#""seq":"secret""#)).unwrap_err().to_string();
        assert!(numbered.starts_with("invalid type: string, expected u64"), "{numbered}");
    }

    #[test]
    fn the_wire_format_is_fixed() {
        insta::assert_snapshot!(serde_json::to_string(&decode(LINE.as_bytes()).unwrap()).unwrap(), @r#"{"ts":"2025-11-21T22:37:00.123456Z","instance":"web-1","boot_id":"b","seq":7,"status":302,"outcome":"ok"}"#);
    }
}
