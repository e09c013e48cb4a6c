//! Fields of a JSON object to what the domain knows, collecting every mistake instead of the first.
//! Unknown fields are ignored, as in Shlink.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, macros::format_description};

use super::numbers::{WHOLE_MAX, whole};
use crate::link::{RedirectStatus, UnixSeconds};
use crate::target::is_unprintable;

/// Longest title, in characters; Shlink keeps 512.
const TITLE_CHARS_MAX: usize = 512;

/// Longest tag, in characters.
const TAG_CHARS_MAX: usize = 64;

/// Longest time that clients may keep a redirect: a year, beyond which caches do not look.
const CACHE_LIFETIME_S_MAX: u32 = 31_536_000;

/// Takes fields off an object and remembers which were wrong.
pub(super) struct Fields {
    object: Map<String, Value>,
    pub(super) wrong: Vec<(&'static str, String)>,
}

impl Fields {
    pub(super) fn new(object: Map<String, Value>) -> Self {
        Self { object, wrong: Vec::new() }
    }

    pub(super) fn is_wrong(&self, name: &str) -> bool {
        self.wrong.iter().any(|(wrong, _)| *wrong == name)
    }

    pub(super) fn refuse(&mut self, name: &'static str, why: impl ToString) {
        self.wrong.push((name, why.to_string()));
    }

    /// `None` when the field is not there, `Some(None)` when it is null or wrong.
    pub(super) fn nullable<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(Value) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        match self.object.remove(name)? {
            Value::Null => Some(None),
            value => match parse(value) {
                Ok(value) => Some(Some(value)),
                Err(why) => {
                    self.refuse(name, why);
                    Some(None)
                }
            },
        }
    }

    /// As [`Fields::nullable`], where null means the same as absence.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(Value) -> Result<T, &'static str>,
    ) -> Option<T> {
        self.nullable(name, parse).flatten()
    }
}

pub(super) fn text(value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("is not a string"),
    }
}

pub(super) fn boolean(value: Value) -> Result<bool, &'static str> {
    value.as_bool().ok_or("is not a boolean")
}

pub(super) fn positive(value: Value) -> Result<i64, &'static str> {
    let number = whole(&value).filter(|number| (1..=WHOLE_MAX).contains(number));
    number.ok_or("is not a whole number from 1 to 9007199254740991")
}

pub(super) fn redirect_status(value: Value) -> Result<RedirectStatus, &'static str> {
    let status = whole(&value).and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
    RedirectStatus::try_from(status)
}

pub(super) fn cache_lifetime(value: Value) -> Result<u32, &'static str> {
    let seconds = whole(&value).and_then(|seconds| u32::try_from(seconds).ok());
    let seconds = seconds.filter(|seconds| *seconds <= CACHE_LIFETIME_S_MAX);
    seconds.ok_or("is not a whole number of seconds from 0 to 31536000")
}

pub(super) fn title(value: Value) -> Result<String, &'static str> {
    let title = text(value)?.trim().to_owned();
    if title.chars().count() > TITLE_CHARS_MAX {
        return Err("is longer than 512 characters");
    }
    if title.chars().any(|character| character != ' ' && is_unprintable(character)) {
        return Err("holds control characters");
    }
    Ok(title)
}

pub(super) fn date(value: Value) -> Result<UnixSeconds, &'static str> {
    parse_date(&text(value)?, false)
}

/// An RFC 3339 time, or a date, which is its first second or its last.
pub(super) fn parse_date(text: &str, end_of_day: bool) -> Result<UnixSeconds, &'static str> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time.unix_timestamp());
    }
    let date = Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map_err(|_| "is not a date in RFC 3339 format")?;
    let midnight = date.midnight().assume_utc().unix_timestamp();
    Ok(if end_of_day { midnight + 86_399 } else { midnight })
}

/// Tags as Shlink keeps them: lower case, `-` for spaces, each once.
pub(super) fn tags(value: Value, count_max: usize) -> Result<BTreeSet<String>, &'static str> {
    let Value::Array(values) = value else { return Err("is not an array of strings") };
    let mut tags = BTreeSet::new();
    for value in values {
        let Value::String(name) = value else { return Err("is not an array of strings") };
        let name = tag(&name);
        if !name.is_empty() {
            tags.insert(checked_tag(name)?);
        }
    }
    if tags.len() > count_max { Err("holds too many tags") } else { Ok(tags) }
}

/// One tag, as [`tags`] has them.
pub(super) fn tag_name(value: Value) -> Result<String, &'static str> {
    match tag(&text(value)?) {
        name if name.is_empty() => Err("is empty"),
        name => checked_tag(name),
    }
}

fn checked_tag(name: String) -> Result<String, &'static str> {
    if name.chars().count() > TAG_CHARS_MAX {
        return Err("holds a tag of more than 64 characters");
    }
    if name.chars().any(|character| character == ',' || is_unprintable(character)) {
        return Err("holds a tag with a comma or control characters");
    }
    Ok(name)
}

/// A tag's name as it is stored.
pub(super) fn tag(name: &str) -> String {
    name.trim().to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dates_are_read() {
        let cases = [
            ("1970-01-01T00:00:10+00:00", Ok(10)),
            ("1970-01-01T01:00:10+01:00", Ok(10)),
            ("1970-01-01T00:00:10Z", Ok(10)),
            ("1970-01-01T00:00:10.9Z", Ok(10)),
            ("1970-01-02", Ok(86_400)),
            ("tomorrow", Err("is not a date in RFC 3339 format")),
            ("", Err("is not a date in RFC 3339 format")),
            ("2024-13-01", Err("is not a date in RFC 3339 format")),
            ("2024-02-30T00:00:00Z", Err("is not a date in RFC 3339 format")),
            ("99999-01-01", Err("is not a date in RFC 3339 format")),
        ];
        for (text, answer) in cases {
            assert_eq!(parse_date(text, false), answer, "{text}");
        }
        assert_eq!(parse_date("1970-01-01", true), Ok(86_399));
    }

    #[test]
    fn tags_are_normalised() {
        let read = tags(json!(["Foo Bar", " foo bar ", "", "x"]), 2).unwrap();
        assert_eq!(read.into_iter().collect::<Vec<_>>(), ["foo-bar", "x"]);
        for wrong in [json!("a"), json!([1]), json!(["a,b"]), json!(["a\nb"]), json!(["a", "b", "c"])] {
            assert!(tags(wrong.clone(), 2).is_err(), "{wrong}");
        }
    }
}
