//! What can go wrong with ClickHouse, sorted by who said so. What follows from it is decided elsewhere: the
//! collector has one place for that.

use clickhouse::error::Error;
use thiserror::Error as ThisError;

/// Longest part of an answer that is kept, in bytes: enough for ClickHouse's own explanation, and bounded where a
/// proxy answers with a page.
const ANSWER_BYTES_MAX: usize = 600;

/// A failed insert, query or migration.
#[derive(Debug, ThisError)]
pub enum WarehouseError {
    /// ClickHouse refused, with a code of its own.
    #[error("ClickHouse answered with code {code}: {message}")]
    Exception {
        /// As in ClickHouse's `system.errors`.
        code: u32,
        /// Its words, cut to some hundred bytes.
        message: String,
    },
    /// An answer without a code of ClickHouse: a proxy's, or an engine's that is starting or stopping.
    #[error("HTTP status {status}: {message}")]
    Http {
        /// The status; 0 where the answer does not say.
        status: u16,
        /// The answer, cut to some hundred bytes.
        message: String,
    },
    /// Nobody answered: refused, reset, unreachable.
    #[error("ClickHouse can't be reached")]
    Network(#[source] Error),
    /// The answer did not come in time. Whether the work was done is not known.
    #[error("ClickHouse did not answer in time")]
    TimedOut,
    /// The answer can't be understood, or the request can't be made: versions that don't fit, or a bug.
    #[error("unexpected answer from ClickHouse")]
    Unexpected(#[source] Error),
    /// The tables are not as this version needs them.
    #[error("the tables don't fit this version, run `hoplog migrate`: {0}")]
    Schema(String),
    /// A block whose columns have different lengths.
    #[error("a block for `{table}` can't be built")]
    Block {
        /// Where it was meant to go.
        table: &'static str,
        /// What is wrong.
        #[source]
        source: crate::UnevenColumns,
    },
}

impl WarehouseError {
    /// ClickHouse's exception code, if it gave one.
    #[must_use]
    pub const fn code(&self) -> Option<u32> {
        match self {
            Self::Exception { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl From<Error> for WarehouseError {
    fn from(error: Error) -> Self {
        match error {
            Error::BadResponse(answer) => classify(&answer),
            Error::TimedOut => Self::TimedOut,
            Error::Network(_) => Self::Network(error),
            other => Self::Unexpected(other),
        }
    }
}

/// Reads the code out of `Code: 60. DB::Exception: …`, or the status out of `503 Service Unavailable`.
fn classify(answer: &str) -> WarehouseError {
    let message = answer[..answer.floor_char_boundary(ANSWER_BYTES_MAX)].to_owned();
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok());
    if let Some(code) = answer.split_once("Code: ").and_then(|(_, rest)| number(rest)) {
        return WarehouseError::Exception { code, message };
    }
    let status = number(answer).and_then(|status| u16::try_from(status).ok()).unwrap_or(0);
    WarehouseError::Http { status, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        for (answer, code, status) in [
            ("Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE)", Some(60), None),
            ("Code: 241", Some(241), None),
            ("503 Service Unavailable", None, Some(503)),
            ("<html>Bad Gateway</html>", None, Some(0)),
            ("", None, Some(0)),
        ] {
            let error = WarehouseError::from(Error::BadResponse(answer.to_owned()));
            assert_eq!(error.code(), code, "{answer}");
            let found = if let WarehouseError::Http { status, .. } = error { Some(status) } else { None };
            assert_eq!(found, status, "{answer}");
        }
    }

    #[test]
    fn endless_answers_are_cut() {
        let error = WarehouseError::from(Error::BadResponse("ä".repeat(10_000)));
        assert!(error.to_string().len() < 2 * ANSWER_BYTES_MAX);
    }
}
