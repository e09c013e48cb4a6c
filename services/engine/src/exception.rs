//! ClickHouse's exceptions: the text a client sees, its code, and the HTTP status that goes with the code.
//!
//! The codes are ClickHouse's (`ErrorCodes.cpp`), the statuses those of its `exceptionCodeToHTTPStatus`,
//! with one deliberate difference: 202 answers 503 and not 500, because clients retry on 503.

use http::StatusCode;

/// An exception as it goes over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    /// ClickHouse's error code.
    pub(crate) code: u16,
    /// `Code: N. DB::Exception: … (NAME) (version …)`, without a line end.
    pub(crate) text: String,
}

/// The codes that the HTTP layer itself raises.
pub(crate) mod code {
    pub(crate) const CANNOT_READ_ALL_DATA: (u16, &str) = (33, "CANNOT_READ_ALL_DATA");
    pub(crate) const BAD_ARGUMENTS: (u16, &str) = (36, "BAD_ARGUMENTS");
    pub(crate) const SYNTAX_ERROR: (u16, &str) = (62, "SYNTAX_ERROR");
    pub(crate) const UNKNOWN_COMPRESSION_METHOD: (u16, &str) = (89, "UNKNOWN_COMPRESSION_METHOD");
    pub(crate) const UNKNOWN_SETTING: (u16, &str) = (115, "UNKNOWN_SETTING");
    pub(crate) const READONLY: (u16, &str) = (164, "READONLY");
    pub(crate) const TOO_MANY_SIMULTANEOUS_QUERIES: (u16, &str) = (202, "TOO_MANY_SIMULTANEOUS_QUERIES");
    pub(crate) const SOCKET_TIMEOUT: (u16, &str) = (209, "SOCKET_TIMEOUT");
    pub(crate) const QUERY_IS_TOO_LARGE: (u16, &str) = (229, "QUERY_IS_TOO_LARGE");
    pub(crate) const ABORTED: (u16, &str) = (236, "ABORTED");
    pub(crate) const MEMORY_LIMIT_EXCEEDED: (u16, &str) = (241, "MEMORY_LIMIT_EXCEEDED");
    pub(crate) const SESSION_NOT_FOUND: (u16, &str) = (372, "SESSION_NOT_FOUND");
    pub(crate) const SESSION_IS_LOCKED: (u16, &str) = (373, "SESSION_IS_LOCKED");
    pub(crate) const INVALID_SESSION_TIMEOUT: (u16, &str) = (374, "INVALID_SESSION_TIMEOUT");
    pub(crate) const QUERY_WAS_CANCELLED: (u16, &str) = (394, "QUERY_WAS_CANCELLED");
    pub(crate) const CANNOT_SCHEDULE_TASK: (u16, &str) = (439, "CANNOT_SCHEDULE_TASK");
    pub(crate) const ACCESS_DENIED: (u16, &str) = (497, "ACCESS_DENIED");
    pub(crate) const AUTHENTICATION_FAILED: (u16, &str) = (516, "AUTHENTICATION_FAILED");
    pub(crate) const REQUIRED_PASSWORD: (u16, &str) = (194, "REQUIRED_PASSWORD");
    pub(crate) const NOT_IMPLEMENTED: (u16, &str) = (48, "NOT_IMPLEMENTED");
    /// What is known to have gone wrong without a code.
    pub(crate) const STD_EXCEPTION: (u16, &str) = (1001, "STD_EXCEPTION");
}

impl Exception {
    /// An exception of the HTTP layer.
    pub(crate) fn new((code, name): (u16, &str), message: impl std::fmt::Display) -> Self {
        Self { code, text: format!("Code: {code}. DB::Exception: {message}. ({name})") }
    }

    /// The engine's own text. A nested exception repeats its prefix and suffix; the outer one is dropped.
    pub(crate) fn from_engine(text: &str) -> Self {
        let mut text = text.trim();
        let code = leading_code(text).unwrap_or(code::STD_EXCEPTION.0);
        let prefix = format!("Code: {code}. DB::Exception: ");
        if let Some(inner) = text.strip_prefix(&prefix).filter(|inner| inner.starts_with(&prefix)) {
            text = inner.rsplit_once(" (version ").map_or(inner, |(before, _)| before);
        }
        let text = match leading_code(text) {
            Some(_) => text.to_owned(),
            None => format!("{prefix}{text}. ({})", code::STD_EXCEPTION.1),
        };
        Self { code, text }
    }

    /// With ` (version …)` at the end, as a server says it.
    pub(crate) fn versioned(mut self, version: &str) -> Self {
        if let Some((before, _)) = self.text.rsplit_once(" (version ") {
            self.text.truncate(before.len());
        }
        self.text.push_str(&format!(" (version {version} (official build))"));
        self
    }

    /// The status of a response that is nothing but this exception.
    pub(crate) fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            192 | 193 | 497 | 512 | 516 => StatusCode::FORBIDDEN,
            6
            | 8
            | 15
            | 25..=27
            | 36..=38
            | 41
            | 44
            | 53
            | 62
            | 72
            | 117
            | 123
            | 167
            | 168
            | 223
            | 321
            | 376
            | 427
            | 441
            | 675
            | 676 => StatusCode::BAD_REQUEST,
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => StatusCode::NOT_FOUND,
            229 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            76 | 202 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            381 => StatusCode::LENGTH_REQUIRED,
            159 => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The block that marks a failure after the headers have gone out, as ClickHouse since 25.11 writes it.
    pub(crate) fn mid_stream(&self, tag: &str) -> Vec<u8> {
        let length = self.text.len() + 1;
        let text = &self.text;
        format!("\r\n__exception__\r\n{tag}\r\n{text}\n{length} {tag}\r\n__exception__\r\n").into_bytes()
    }
}

fn leading_code(text: &str) -> Option<u16> {
    text.strip_prefix("Code: ")?.split_once('.')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_engines_texts() {
        let nested = "Code: 115. DB::Exception: Code: 115. DB::Exception: Unknown setting 'nope'. \
                      (UNKNOWN_SETTING) (version 26.7.2.1). (UNKNOWN_SETTING)";
        let simple = "Code: 115. DB::Exception: Unknown setting 'nope'. (UNKNOWN_SETTING)";
        for (text, code, want) in [
            (nested, 115, simple),
            (simple, 115, simple),
            ("odd", 1001, "Code: 1001. DB::Exception: odd. (STD_EXCEPTION)"),
        ] {
            let exception = Exception::from_engine(text);
            assert_eq!((exception.code, exception.text.as_str()), (code, want));
        }
        let text = Exception::from_engine(&format!("{simple} (version 26.7.2.1)")).versioned("26.7.2.1").text;
        assert_eq!(text, format!("{simple} (version 26.7.2.1 (official build))"));
    }

    #[test]
    fn the_mid_stream_block_counts_its_message_and_line_end() {
        let text = "Code: 1. DB::Exception: x. (Y)".to_owned();
        let block = String::from_utf8(Exception { code: 1, text }.mid_stream("tag")).unwrap();
        assert_eq!(
            block,
            "\r\n__exception__\r\ntag\r\nCode: 1. DB::Exception: x. (Y)\n31 tag\r\n__exception__\r\n"
        );
    }
}
