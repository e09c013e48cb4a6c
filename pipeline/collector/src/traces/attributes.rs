//! Values of attributes as text, as OpenTelemetry's exporter writes them: numbers in decimal, bytes in Base64, lists and maps as
//! JSON. What may be stored of them is `privacy`'s.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::privacy;
use super::row::Attributes;

/// Lists and maps within each other: far more than anything that people read. Deeper values are cut off.
const DEPTH_MAX: usize = 8;

/// What may be stored of attributes.
pub(super) fn of(attributes: Vec<KeyValue>) -> Attributes {
    let kept = attributes.into_iter().filter(|attribute| privacy::may_be_stored(&attribute.key));
    kept.map(|KeyValue { key, value, .. }| {
        let text = text(&key, value);
        (privacy::cut_text(key).into(), text)
    })
    .collect()
}

/// What may be stored of a value.
fn text(key: &str, value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        None => String::new(),
        Some(Value::StringValue(text)) => privacy::cut(key, text),
        Some(other) => match json(key, Some(AnyValue { value: Some(other) }), 0) {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        },
    }
}

/// Maps without the entries that must not be stored: a name within a map says as much as one of its own. Texts are cut here, as
/// escapes hide what they are once they are JSON.
fn json(key: &str, value: Option<AnyValue>, depth: usize) -> serde_json::Value {
    use serde_json::Value as Json;
    let Some(value) = value.and_then(|value| value.value) else { return Json::Null };
    match value {
        Value::StringValue(text) => Json::String(privacy::cut(key, text)),
        Value::BoolValue(flag) => Json::Bool(flag),
        Value::IntValue(number) => Json::from(number),
        // What JSON has no number for is a text.
        Value::DoubleValue(number) => serde_json::Number::from_f64(number)
            .map_or_else(|| Json::String(number.to_string()), Json::Number),
        Value::BytesValue(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::ArrayValue(_) | Value::KvlistValue(_) if depth == DEPTH_MAX => Json::String("…".to_owned()),
        Value::ArrayValue(list) => {
            list.values.into_iter().map(|value| json(key, Some(value), depth + 1)).collect()
        }
        Value::KvlistValue(map) => {
            let kept = map.values.into_iter().filter(|entry| privacy::may_be_stored(&entry.key));
            let named = kept.map(|KeyValue { key, value, .. }| {
                let value = json(&key, value, depth + 1);
                (privacy::cut_text(key), value)
            });
            Json::Object(named.collect())
        }
        // An index into a dictionary that only profiles have.
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};

    use super::*;

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn named(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() }
    }

    #[test]
    fn values_are_text() {
        let text_of = |text: &str| Value::StringValue(text.to_owned());
        let list = Value::ArrayValue(ArrayValue { values: vec![any(Value::IntValue(1)), any(text_of("x"))] });
        let map = Value::KvlistValue(KeyValueList {
            values: vec![named("a", Value::BoolValue(true)), named("password", text_of("hunter2"))],
        });
        for (value, expected) in [
            (text_of("a \"b\""), "a \"b\""),
            (Value::BoolValue(true), "true"),
            (Value::IntValue(-7), "-7"),
            (Value::DoubleValue(0.25), "0.25"),
            (Value::DoubleValue(f64::NAN), "NaN"),
            (Value::BytesValue(vec![1, 2]), "AQI="),
            (list, r#"[1,"x"]"#),
            (map, r#"{"a":true}"#),
        ] {
            assert_eq!(of(vec![named("k", value)]), [("k".into(), expected.to_owned())]);
        }
        assert_eq!(text("k", None), "");
    }

    #[test]
    fn texts_are_cut_before_they_are_escaped_and_names_are_cut() {
        let text_of = |text: &str| Value::StringValue(text.to_owned());
        let list = |text: &str| Value::ArrayValue(ArrayValue { values: vec![any(text_of(text))] });
        let map = |key: &str, text: &str| {
            Value::KvlistValue(KeyValueList { values: vec![named(key, text_of(text))] })
        };
        for (key, value, expected_key, expected) in [
            ("k", list("\"203.0.113.77\""), "k", r#"["\"<ip>\""]"#),
            ("k", list("a\n203.0.113.77"), "k", r#"["a\n<ip>"]"#),
            ("k", list("203.0.113.77"), "k", r#"["203.0.113.0/24"]"#),
            ("k", map("a", "\n203.0.113.77 x"), "k", r#"{"a":"\n<ip> x"}"#),
            ("k", map("of=203.0.113.77", "x"), "k", r#"{"of=<ip>":"x"}"#),
            ("k", map("refreshToken", "x"), "k", "{}"),
            ("host.ip", list("10.0.0.5"), "host.ip", r#"["10.0.0.5"]"#),
            ("by /a?token=1", text_of("x"), "by /a?…", "x"),
        ] {
            let expected = (expected_key.into(), expected.to_owned());
            assert_eq!(of(vec![named(key, value)]), [expected]);
        }
    }

    #[test]
    fn nesting_ends() {
        let deep = (0..50)
            .fold(Value::IntValue(1), |inner, _| Value::ArrayValue(ArrayValue { values: vec![any(inner)] }));
        assert_eq!(
            text("k", Some(any(deep))),
            format!("{}\"…\"{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX))
        );
    }
}
