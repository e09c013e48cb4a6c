//! Messages to events: reads every line of a range once, hands what can be read to whoever counts, and what can't to
//! the dead letters. Strings are borrowed from the messages; nothing is stored here.

use event_log::{ContentType, Record, Schema};
use wide_event::{BootEnd, Event, codec};

use crate::dead_letter::DeadLetters;
use crate::intent::Place;

/// How far an event's clock may be ahead of the log's: clocks that are synchronised at all are within seconds.
const AHEAD_US_MAX: i64 = 5 * 60 * 1_000_000;
/// How much older than its message an event may be: a producer that kept events for longer than a week has lost them for
/// every purpose of on-call, and each day of age is one more partition to write to.
const BEHIND_US_MAX: i64 = 7 * 86_400 * 1_000_000;

/// The place of a line within a range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'r> {
    /// Number of the message within the range.
    pub(crate) record: u32,
    /// Number of the line within the message, from 1.
    pub(crate) line: u32,
    /// Its bytes.
    pub(crate) bytes: &'r [u8],
}

/// Who is told of what was read.
pub(crate) trait Sink<'r> {
    /// The number of an event has arrived, whether the event counts or not. Those of replays did when they first came.
    fn arrived(&mut self, event: &Event<'r>);
    /// An event that counts.
    fn event(&mut self, line: Line<'r>, event: &Event<'r>);
    /// The end of a boot.
    fn boot(&mut self, record: &Record, boot: &BootEnd<'r>);
}

/// What was seen, beside what the sink was told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) messages: u64,
    pub(crate) events: u64,
    pub(crate) announced: u64,
    /// Events in messages of replays.
    pub(crate) replayed: u64,
}

/// Reads a range. `refused` are the places of events that ClickHouse did not take, sorted; `now_us` stands in where a
/// message has no time.
pub(crate) fn decode<'r>(
    records: &'r [Record],
    refused: &[Place],
    now_us: i64,
    letters: &mut DeadLetters,
    sink: &mut impl Sink<'r>,
) -> Seen {
    let mut seen = Seen::default();
    for (number, record) in (0u32..).zip(records) {
        seen.messages += 1;
        match (&record.schema, &record.content_type) {
            (schema @ (Schema::Other(_) | Schema::DeadLetter), _) => {
                whole(record, "unknown_schema", &format!("schema `{schema}`"), &mut seen, letters);
            }
            (_, other @ (ContentType::Other(_) | ContentType::NdjsonLz4)) => {
                whole(record, "unknown_content_type", &format!("content type `{other}`"), &mut seen, letters);
            }
            (Schema::Producer, ContentType::Ndjson) => boots(record, letters, sink),
            (Schema::Events | Schema::Replay, ContentType::Ndjson) => {
                let lines = events(number, record, refused, now_us, letters, sink);
                let announced = record.events.map_or(lines, u64::from);
                if announced > lines {
                    let detail = format!("{announced} events announced, {lines} lines found");
                    letters.message(record, announced - lines, "missing_lines", &detail);
                }
                seen.announced += announced;
                seen.events += lines.max(announced);
                if record.schema == Schema::Replay {
                    seen.replayed += lines.max(announced);
                }
            }
        }
        letters.end(record);
    }
    seen
}

fn whole(record: &Record, reason: &'static str, detail: &str, seen: &mut Seen, letters: &mut DeadLetters) {
    let events = u64::from(record.events.unwrap_or(1));
    seen.announced += events;
    seen.events += events;
    letters.message(record, events, reason, detail);
}

fn boots<'r>(record: &'r Record, letters: &mut DeadLetters, sink: &mut impl Sink<'r>) {
    for (line, bytes) in (1u32..).zip(codec::lines(&record.payload)) {
        match codec::decode_record::<BootEnd<'r>>(bytes) {
            Ok(boot) => sink.boot(record, &boot),
            Err(error) => letters.line(record, line, 0, error.reason(), &error.to_string(), bytes),
        }
    }
}

/// Reads the events of a message and returns how many lines it has.
fn events<'r>(
    number: u32,
    record: &'r Record,
    refused: &[Place],
    now_us: i64,
    letters: &mut DeadLetters,
    sink: &mut impl Sink<'r>,
) -> u64 {
    let mut lines = 0;
    // Some logs have no time for a message.
    let appended = if record.appended_at_us > 0 { record.appended_at_us } else { now_us };
    for (line, bytes) in (1u32..).zip(codec::lines(&record.payload)) {
        lines += 1;
        let event = match codec::decode(bytes) {
            Ok(event) => event,
            Err(error) => {
                letters.line(record, line, 1, error.reason(), &error.to_string(), bytes);
                continue;
            }
        };
        if record.schema != Schema::Replay {
            sink.arrived(&event);
        }
        let mut refuse = |reason, detail: &str| letters.line(record, line, 1, reason, detail, bytes);
        if event.ts.0 > appended.saturating_add(AHEAD_US_MAX) {
            refuse("future_dated", &format!("`ts` {} is ahead of the message", event.ts));
        } else if event.ts.0 < appended.saturating_sub(BEHIND_US_MAX) {
            refuse("too_old", &format!("`ts` {} is more than a week before the message", event.ts));
        } else if refused.binary_search(&(record.offset, line)).is_ok() {
            refuse("insert_refused", "ClickHouse did not take the row");
        } else {
            sink.event(Line { record: number, line, bytes }, &event);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const NOW_US: i64 = 1_763_764_620_000_000;

    #[derive(Default)]
    struct Count {
        arrived: usize,
        counted: usize,
        boots: usize,
    }

    impl<'r> Sink<'r> for Count {
        fn arrived(&mut self, _: &Event<'r>) {
            self.arrived += 1;
        }
        fn event(&mut self, _: Line<'r>, _: &Event<'r>) {
            self.counted += 1;
        }
        fn boot(&mut self, _: &Record, _: &BootEnd<'r>) {
            self.boots += 1;
        }
    }

    fn record(payload: impl Into<Bytes>, events: Option<u32>, schema: &str, content_type: &str) -> Record {
        Record {
            offset: 7,
            appended_at_us: NOW_US,
            payload: payload.into(),
            events,
            schema: schema.into(),
            content_type: content_type.into(),
        }
    }

    fn line(ts: &str) -> String {
        format!(
            r#"{{"ts":"{ts}","instance":"i","boot_id":"b","seq":1,"status":200,"outcome":"ok","of_tomorrow":[1]}}"#
        ) + "\n"
    }

    #[test]
    fn each_kind_of_bad_input_has_its_reason_and_leaves_its_neighbours() {
        let good = line("2025-11-21T22:37:00.000000Z");
        let ndjson = "application/x-ndjson";
        for (bad, reason) in [
            ("{\"ts\":".to_owned(), "truncated"),
            ("hello".to_owned(), "syntax"),
            (good.replace("\"seq\":1,", "").trim().to_owned(), "missing_field"),
            (good.replace(":200", ":\"ok\"").trim().to_owned(), "wrong_type"),
            (good.replace("\"ok\"", "\"fine\"").trim().to_owned(), "bad_value"),
            (line("2025-11-21T22:43:00.000000Z").trim().to_owned(), "future_dated"),
            (line("2025-11-14T22:36:00.000000Z").trim().to_owned(), "too_old"),
            (format!("\"{}\"", "x".repeat(codec::LINE_BYTES_MAX)), "too_long"),
        ] {
            let mut letters = DeadLetters::default();
            let mut count = Count::default();
            let payload = format!("{good}{bad}\n{good}");
            let records = [record(payload, Some(3), "hoplog.event.v1", ndjson)];
            let seen = decode(&records, &[], NOW_US, &mut letters, &mut count);
            assert_eq!(letters.reasons, [(reason, 1)]);
            assert_eq!(count.counted, 2, "{reason}");
            assert_eq!(seen, Seen { messages: 1, events: 3, announced: 3, replayed: 0 });
        }
    }

    #[test]
    fn what_a_message_is_decides_how_it_is_read() {
        let ndjson = "application/x-ndjson";
        let good = line("2025-11-21T22:37:00.000000Z");
        let boot = r#"{"ts":"2025-11-21T22:37:00.000000Z","service":"s","instance":"i","boot_id":"b","issued":9,"clean":true}"#;
        let records = [
            record(good.clone(), None, "hoplog.event.v1", ndjson),
            record(good.clone(), Some(5), "hoplog.event.v1", ndjson),
            record(good.clone(), Some(0), "hoplog.event.v1", ndjson),
            record(good.clone(), Some(4), "hoplog.event.v2", ndjson),
            record(good.clone(), None, "hoplog.event.v1", "application/protobuf"),
            record(boot, Some(0), "hoplog.producer.v1", ndjson),
            record("{}\n", Some(0), "hoplog.producer.v1", ndjson),
            record(good.repeat(2), Some(2), "hoplog.replay.v1", ndjson),
            record("{}\n", Some(0), "hoplog.dead-letter.v1", ndjson),
        ];
        let (mut letters, mut count) = (DeadLetters::default(), Count::default());
        let seen = decode(&records, &[], NOW_US, &mut letters, &mut count);
        // The numbers of replays have arrived before.
        assert_eq!((count.arrived, count.counted, count.boots), (3, 3 + 2, 1));
        let (events, announced) = (1 + 5 + 1 + 4 + 1 + 2, 1 + 5 + 4 + 1 + 2);
        assert_eq!(seen, Seen { messages: 9, events, announced, replayed: 2 });
        let reasons =
            [("missing_lines", 4), ("unknown_schema", 4), ("unknown_content_type", 1), ("missing_field", 0)];
        assert_eq!(letters.reasons, reasons);
    }

    #[test]
    fn what_was_refused_is_a_dead_letter() {
        let good = line("2025-11-21T22:37:00.000000Z");
        let records = [record(good.repeat(3), Some(3), "hoplog.event.v1", "application/x-ndjson")];
        let (mut letters, mut count) = (DeadLetters::default(), Count::default());
        decode(&records, &[(7, 2)], NOW_US, &mut letters, &mut count);
        assert_eq!((count.counted, count.arrived, letters.reasons), (2, 3, vec![("insert_refused", 1)]));
    }
}
