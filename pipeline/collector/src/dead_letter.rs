//! What could not be stored, with reason, origin and its bytes, whole. The rest of its message goes through.
//! Why a line is bad is decided where it is read; nothing here judges.

use event_log::Record;
use warehouse::{Column, SymbolColumn, TextColumn};

/// Lines of one message that get a row of their own. A message may have millions of bad lines; the rest of them go into
/// one row together, so nothing is lost and the table does not grow by millions.
const LINES_MAX: u32 = 1000;

/// Reason of the row that holds the rest of a message's bad lines.
const MORE_LINES: &str = "more_bad_lines";

/// The dead letters of a range.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    /// Events that the rows stand for.
    pub(crate) events: u64,
    /// Events by reason, in the order of first sight.
    pub(crate) reasons: Vec<(&'static str, u64)>,
    offset: Vec<u64>,
    line: Vec<u32>,
    count: Vec<u64>,
    reason: SymbolColumn,
    detail: TextColumn,
    schema: SymbolColumn,
    content_type: SymbolColumn,
    raw: TextColumn,
    appended_at: Vec<i64>,
    /// Rows of the current message.
    lines: u32,
    rest: Vec<u8>,
    rest_events: u64,
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
            self.rest.extend_from_slice(raw);
            self.rest.push(b'\n');
            self.rest_events += events;
            return;
        }
        self.lines += 1;
        self.push(record, line, events, reason, detail, raw);
    }

    /// A message as a whole.
    pub(crate) fn message(&mut self, record: &Record, events: u64, reason: &'static str, detail: &str) {
        self.count(reason, events);
        self.push(record, 0, events, reason, detail, &record.payload);
    }

    /// The message is done: writes down what its limit left over.
    pub(crate) fn end(&mut self, record: &Record) {
        self.lines = 0;
        if !self.rest.is_empty() {
            let (rest, events) = (std::mem::take(&mut self.rest), std::mem::take(&mut self.rest_events));
            let detail = format!("all bad lines after the first {LINES_MAX} of this message");
            self.push(record, 0, events, MORE_LINES, &detail, &rest);
        }
    }

    fn count(&mut self, reason: &'static str, events: u64) {
        self.events += events;
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += events,
            None => self.reasons.push((reason, events)),
        }
    }

    fn push(&mut self, record: &Record, line: u32, events: u64, reason: &str, detail: &str, raw: &[u8]) {
        self.offset.push(record.offset);
        self.line.push(line);
        self.count.push(events);
        self.reason.push(reason);
        self.detail.push(detail);
        self.schema.push(record.schema.as_str());
        self.content_type.push(record.content_type.as_str());
        self.raw.push(raw);
        self.appended_at.push(record.appended_at_us);
    }

    /// The rows of `dead_letters`, without topic, partition and time of collection.
    pub(crate) fn into_columns(self) -> Vec<(&'static str, Column)> {
        vec![
            ("log_offset", Column::U64(self.offset)),
            ("line", Column::U32(self.line)),
            ("events", Column::U64(self.count)),
            ("reason", Column::Symbol(self.reason)),
            ("detail", Column::Text(self.detail)),
            ("schema", Column::Symbol(self.schema)),
            ("content_type", Column::Symbol(self.content_type)),
            ("raw", Column::Text(self.raw)),
            ("appended_at", Column::Time(self.appended_at)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event_log::{ContentType, Schema};

    #[test]
    fn a_message_of_bad_lines_is_bounded_in_rows_and_loses_none() {
        let record = Record {
            offset: 7,
            appended_at_us: 1,
            payload: bytes::Bytes::new(),
            events: Some(1),
            schema: Schema::Events,
            content_type: ContentType::Ndjson,
        };
        let mut letters = DeadLetters::default();
        for line in 1..=LINES_MAX + 3 {
            letters.line(&record, line, 1, "syntax", "", b"{");
        }
        letters.end(&record);
        letters.line(&record, 1, 1, "syntax", "", b"{");
        letters.end(&record);
        assert_eq!(letters.events, u64::from(LINES_MAX) + 4);
        assert_eq!(letters.reasons, [("syntax", letters.events)]);
        assert_eq!(letters.offset.len(), LINES_MAX as usize + 2);
        assert_eq!(letters.count.iter().sum::<u64>(), letters.events);
        assert_eq!(letters.count[LINES_MAX as usize], 3);
    }
}
