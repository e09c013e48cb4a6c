//! Events to messages and back: one JSON object a line, UTF-8.
//!
//! Writing is serde_json, reading is sonic-rs, which borrows strings and is faster than the network can be; a
//! property test holds them to the same language. No message headers and no offsets here: see `event-log`.

use serde::{Deserialize, Serialize};

use crate::event::Event;

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

/// Appends a record as one line, newline included.
///
/// # Panics
/// Never: records hold nothing that JSON can't, and a vector takes every write.
#[allow(clippy::expect_used)]
pub fn encode<T: Serialize>(record: &T, message: &mut Vec<u8>) {
    serde_json::to_writer(&mut *message, record)
        .expect("records have string keys and a vector takes every write");
    message.push(b'\n');
}

/// The lines of a message that hold something.
pub fn lines(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    message.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}

/// Reads one event; fields that are not in the registry are passed over.
///
/// # Errors
/// See [`DecodeError`]. The texts name the place, never the value.
pub fn decode(line: &[u8]) -> Result<Event<'_>, DecodeError> {
    let event: Event<'_> = decode_record(line)?;
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
    if line.len() > LINE_BYTES_MAX {
        return Err(DecodeError::TooLong(line.len()));
    }
    let text = std::str::from_utf8(line).map_err(|error| DecodeError::NotUtf8(error.valid_up_to()))?;
    sonic_rs::from_str(text).map_err(|error| classify(&error))
}

/// What kind of failure it was. sonic-rs shows a piece of the input in its message: that may be anything, so it
/// is cut off.
fn classify(error: &sonic_rs::Error) -> DecodeError {
    let message = error.to_string();
    let message = message.lines().next().unwrap_or_default().trim_end_matches(':').to_owned();
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
