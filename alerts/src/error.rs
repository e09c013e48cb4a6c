//! What can be wrong with a definition. Mistakes are collected: who corrects a file wants to know all of them.

use std::fmt;

/// Why nothing can be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlertsError {
    /// The file is no YAML, or not of the right shape.
    #[error("can't read {file}")]
    Syntax {
        /// The file.
        file: &'static str,
        /// Where, and why.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// It can be read, and makes no sense.
    #[error("{file}: {mistakes}")]
    Mistakes {
        /// The file.
        file: &'static str,
        /// All of them.
        mistakes: Mistakes,
    },
    /// Rules can't be written as YAML.
    #[error("can't write {file}")]
    Write {
        /// What was to be written.
        file: &'static str,
        /// Why not.
        #[source]
        source: Box<serde_saphyr::ser_error::Error>,
    },
}

/// Mistakes, each with its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// Notes one where something does not hold.
    pub(crate) fn unless(&mut self, holds: bool, place: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(format!("{place}: {}", what()));
        }
    }

    /// The value, if there were none.
    pub(crate) fn or<T>(self, file: &'static str, value: T) -> Result<T, AlertsError> {
        if self.0.is_empty() { Ok(value) } else { Err(AlertsError::Mistakes { file, mistakes: self }) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// Reads a definition.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    file: &'static str,
    text: &str,
) -> Result<T, AlertsError> {
    serde_saphyr::from_str(text).map_err(|source| AlertsError::Syntax { file, source: Box::new(source) })
}
