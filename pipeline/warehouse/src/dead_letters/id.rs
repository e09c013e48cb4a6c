//! What a dead letter is called: where it came from.

use std::fmt;
use std::str::FromStr;

/// `topic:partition:offset:line`, as `hoplog dlq` and the dead-letter topic write it. Line 0 is the message as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetterId {
    /// Topic of the event log.
    pub topic: String,
    /// Partition of the event log.
    pub partition: u32,
    /// Offset of the message.
    pub offset: u64,
    /// Line within the message, from 1; 0: all of it.
    pub line: u32,
}

/// Not the name of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no id of a dead letter: they look like topic:partition:offset:line")]
pub struct ParseLetterIdError(String);

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset, line } = self;
        write!(f, "{topic}:{partition}:{offset}:{line}")
    }
}

impl FromStr for LetterId {
    type Err = ParseLetterIdError;

    fn from_str(text: &str) -> Result<Self, ParseLetterIdError> {
        let parse = || {
            let mut fields = text.rsplitn(4, ':');
            let line = fields.next()?.parse().ok()?;
            let offset = fields.next()?.parse().ok()?;
            let partition = fields.next()?.parse().ok()?;
            let topic = fields.next().filter(|topic| !topic.is_empty())?.to_owned();
            Some(Self { topic, partition, offset, line })
        };
        parse().ok_or_else(|| ParseLetterIdError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = LetterId { topic: "hoplog.events.v1".to_owned(), partition: 3, offset: u64::MAX, line: 0 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "t:1:2", ":1:2:3", "t:1:2:x", "t:-1:2:3", "t:1:2:4294967296"] {
            assert_eq!(text.parse::<LetterId>(), Err(ParseLetterIdError(text.to_owned())));
        }
    }
}
