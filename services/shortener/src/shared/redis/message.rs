//! What instances tell each other over Redis, as JSON. Names are for ever: instances of two versions run side by side.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::shared::Change;

/// A change and who made it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) from: Cow<'a, str>,
    #[serde(borrow)]
    what: What<'a>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What<'a> {
    Link {
        #[serde(borrow)]
        domain: Cow<'a, str>,
        #[serde(borrow)]
        code: Cow<'a, str>,
    },
    Domains,
    Keys,
    Unknown,
}

impl<'a> Message<'a> {
    pub(super) fn new(from: &'a str, change: &'a Change) -> Self {
        let what = match change {
            Change::Link { domain, code } => What::Link { domain: domain.into(), code: code.into() },
            Change::Domains => What::Domains,
            Change::Keys => What::Keys,
            Change::Unknown => What::Unknown,
        };
        Self { from: from.into(), what }
    }

    /// Nothing when it is none.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Texts alone: nothing in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn change(self) -> Change {
        match self.what {
            What::Link { domain, code } => {
                Change::Link { domain: domain.into_owned(), code: code.into_owned() }
            }
            What::Domains => Change::Domains,
            What::Keys => Change::Keys,
            What::Unknown => Change::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let link = Change::Link { domain: "s.example".to_owned(), code: "ü\"\n".to_owned() };
        for change in [link, Change::Domains, Change::Keys, Change::Unknown] {
            let bytes = Message::new("me", &change).to_bytes();
            let message = Message::parse(&bytes).unwrap();
            assert_eq!(message.from, "me");
            assert_eq!(message.change(), change);
        }
        for garbage in ["", "{}", "[]", "\u{0}", r#"{"from":"x","what":"later"}"#] {
            assert_eq!(Message::parse(garbage.as_bytes()), None);
        }
    }
}
