//! What could not be stored, with reason, origin and its bytes, whole. The rest of its message goes through.
//! Why a line is bad is decided where it is read; nothing here judges.

use bytes::Bytes;
use event_log::{ContentType, Record, Schema};
use warehouse::{Column, TextColumn};

use crate::rollup::symbols;

/// Lines of one message that get a row of their own. A message may have millions of bad lines; the rest of them go into
/// one row together, so nothing is lost and the table does not grow by millions.
const LINES_MAX: u32 = 1000;

/// Reason of the row that holds the rest of a message's bad lines.
const MORE_LINES: &str = "more_bad_lines";

/// What could not be stored: a line, or a message as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) offset: u64,
    /// Line within the message, from 1; 0 where it is about the message as a whole.
    pub(crate) line: u32,
    /// How many events it stands for.
    pub(crate) events: u64,
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
    pub(crate) schema: Schema,
    pub(crate) content_type: ContentType,
    /// Shares the message's memory.
    pub(crate) raw: Bytes,
    pub(crate) appended_at_us: i64,
}

/// The dead letters of a range.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    /// Events that the letters stand for.
    pub(crate) events: u64,
    /// Events by reason, in the order of first sight.
    pub(crate) reasons: Vec<(&'static str, u64)>,
    pub(crate) letters: Vec<Letter>,
    /// Letters of the current message.
    lines: u32,
    rest: Vec<u8>,
    rest_events: u64,
    /// The first line that is in `rest`.
    rest_line: u32,
}

impl DeadLetters {
    /// A line of a message that stands for one event, or for none.
    pub(crate) fn line(
        &mut self,
        record: &Record,
        line: u32,
        events: u64,
        reason: &'static str,
        detail: &str,
        raw: &[u8],
    ) {
        self.count(reason, events);
        if self.lines == LINES_MAX {
            if self.rest.is_empty() {
                self.rest_line = line;
            }
            self.rest.extend_from_slice(raw);
            self.rest.push(b'\n');
            self.rest_events += events;
            return;
        }
        self.lines += 1;
        self.push(record, line, events, reason, detail.to_owned(), record.payload.slice_ref(raw));
    }

    /// A message as a whole.
    pub(crate) fn message(&mut self, record: &Record, events: u64, reason: &'static str, detail: &str) {
        self.count(reason, events);
        self.push(record, 0, events, reason, detail.to_owned(), record.payload.clone());
    }

    /// The message is done: writes down what its limit left over.
    pub(crate) fn end(&mut self, record: &Record) {
        self.lines = 0;
        if !self.rest.is_empty() {
            let (rest, events) = (std::mem::take(&mut self.rest), std::mem::take(&mut self.rest_events));
            let detail =
                format!("all bad lines after the first {LINES_MAX} of this message, from this one on");
            self.push(record, self.rest_line, events, MORE_LINES, detail, rest.into());
        }
    }

    fn count(&mut self, reason: &'static str, events: u64) {
        self.events += events;
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += events,
            None => self.reasons.push((reason, events)),
        }
    }

    fn push(
        &mut self,
        record: &Record,
        line: u32,
        events: u64,
        reason: &'static str,
        detail: String,
        raw: Bytes,
    ) {
        self.letters.push(Letter {
            offset: record.offset,
            line,
            events,
            reason,
            detail,
            schema: record.schema.clone(),
            content_type: record.content_type.clone(),
            raw,
            appended_at_us: record.appended_at_us,
        });
    }
}

/// The rows of `dead_letters`, without topic, partition and time of collection.
pub(crate) fn columns(letters: &[Letter]) -> Vec<(&'static str, Column)> {
    let (mut detail, mut raw) = (TextColumn::default(), TextColumn::default());
    for letter in letters {
        detail.push(&letter.detail);
        raw.push(&letter.raw);
    }
    let number = |number: fn(&Letter) -> u64| Column::U64(letters.iter().map(number).collect());
    vec![
        ("log_offset", number(|letter| letter.offset)),
        ("line", Column::U32(letters.iter().map(|letter| letter.line).collect())),
        ("events", number(|letter| letter.events)),
        ("reason", symbols(letters.iter().map(|letter| letter.reason))),
        ("detail", Column::Text(detail)),
        ("schema", symbols(letters.iter().map(|letter| letter.schema.as_str()))),
        ("content_type", symbols(letters.iter().map(|letter| letter.content_type.as_str()))),
        ("raw", Column::Text(raw)),
        ("appended_at", Column::Time(letters.iter().map(|letter| letter.appended_at_us).collect())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_bad_lines_is_bounded_in_rows_and_loses_none() {
        let record = Record {
            offset: 7,
            appended_at_us: 1,
            payload: Bytes::from_static(b"{"),
            events: Some(1),
            schema: Schema::Events,
            content_type: ContentType::Ndjson,
        };
        let mut letters = DeadLetters::default();
        for line in 1..=LINES_MAX + 3 {
            letters.line(&record, line, 1, "syntax", "", &record.payload);
        }
        letters.end(&record);
        letters.line(&record, 1, 1, "syntax", "", &record.payload);
        letters.end(&record);
        assert_eq!(letters.events, u64::from(LINES_MAX) + 4);
        assert_eq!(letters.reasons, [("syntax", letters.events)]);
        assert_eq!(letters.letters.len(), LINES_MAX as usize + 2);
        assert_eq!(letters.letters.iter().map(|letter| letter.events).sum::<u64>(), letters.events);
        let rest = &letters.letters[LINES_MAX as usize];
        assert_eq!((rest.line, rest.events, &rest.raw[..]), (LINES_MAX + 1, 3, &b"{\n{\n{\n"[..]));
    }
}
