//! From a dead letter and its repaired bytes to lines that can be appended: each has to be readable now, and is sent so
//! that no number is counted twice. Pure: nothing is read or appended here.

use event_log::Schema;
use wide_event::{BootEnd, Event, Timestamp, codec};

/// Reasons of events that could be read when they first came: their numbers arrived then.
const NUMBERED: [&str; 3] = ["future_dated", "too_old", "insert_refused"];
/// The reason of letters for lines that were announced and not there.
pub(super) const MISSING: &str = "missing_lines";
/// The reason of letters that hold the rest of a message's bad lines, whatever was wrong with each.
const MORE: &str = "more_bad_lines";

/// A dead letter, as far as it decides what can be sent for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Original<'a> {
    /// Line within its message; 0: the letter is about the message.
    pub line: u32,
    /// Why it is a dead letter.
    pub reason: &'a str,
    /// Schema of its message.
    pub schema: &'a str,
    /// The bytes as they came.
    pub raw: &'a [u8],
}

/// One line to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// What it is sent as.
    pub schema: Schema,
    /// Its bytes, without a newline.
    pub bytes: &'a [u8],
}

/// What to append for a letter: its own bytes, or the `repaired` ones.
///
/// # Errors
/// What is wrong with them, for people; never a value.
pub(super) fn lines<'a>(
    original: Original<'a>,
    repaired: Option<&'a [u8]>,
    now: Timestamp,
) -> Result<Vec<Line<'a>>, String> {
    if original.reason == MISSING && repaired.is_none() {
        return Err("its lines never came; give those that you have with --with".to_owned());
    }
    let bytes = repaired.unwrap_or(original.raw);
    let found: Vec<&[u8]> = codec::lines(bytes).collect();
    match (found.len(), original.line) {
        (0, _) => return Err("there is nothing in it".to_owned()),
        (2.., 1..) => return Err(format!("it was one line and is {} now", found.len())),
        _ => {}
    }
    let mut lines = Vec::with_capacity(found.len());
    for (number, bytes) in (1..).zip(found) {
        let wrong =
            |problem: String| if original.line > 0 { problem } else { format!("line {number}: {problem}") };
        let schema = if original.schema == Schema::Producer.as_str() {
            codec::decode_record::<BootEnd<'_>>(bytes).map_err(|error| wrong(error.to_string()))?;
            Schema::Producer
        } else {
            let event = codec::decode(bytes).map_err(|error| wrong(error.to_string()))?;
            refused_again(original, &event, now).map_err(wrong)?;
            if is_numbered(original, &event) { Schema::Replay } else { Schema::Events }
        };
        lines.push(Line { schema, bytes });
    }
    Ok(lines)
}

/// Whether the event's number arrived when it first came.
fn is_numbered(original: Original<'_>, event: &Event<'_>) -> bool {
    NUMBERED.contains(&original.reason)
        || original.schema == Schema::Replay.as_str()
        || original.reason == MORE
            && codec::lines(original.raw).filter_map(|line| codec::decode(line).ok()).any(|first| {
                (first.seq, &first.boot_id, &first.instance, &first.service)
                    == (event.seq, &event.boot_id, &event.instance, &event.service)
            })
}

/// Whether the time that it was refused for is still as wrong.
fn refused_again(original: Original<'_>, event: &Event<'_>, now: Timestamp) -> Result<(), String> {
    match original.reason {
        "future_dated" if event.ts > now => Err("`ts` is still ahead".to_owned()),
        "too_old" if codec::decode(original.raw).is_ok_and(|first| first.ts == event.ts) => {
            Err("`ts` is as old as it was: it would be refused again".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-02T00:00:00.000000Z";

    fn event(ts: &str, seq: u64) -> String {
        format!(r#"{{"ts":"{ts}","instance":"i","boot_id":"b","seq":{seq},"status":200,"outcome":"ok"}}"#)
    }

    #[test]
    fn a_letter_is_sent_as_what_it_is_or_it_is_said_why_not() {
        let good = event("2026-01-01T00:00:00.000000Z", 1);
        let other = event("2026-01-01T00:00:00.000000Z", 2);
        let ahead = event("2026-01-03T00:00:00.000000Z", 1);
        let boot = r#"{"ts":"2026-01-01T00:00:00.000000Z","service":"s","instance":"i","boot_id":"b","issued":7,"clean":true}"#;
        let events = Schema::Events.as_str();
        let (two, rest) = (format!("{good}\n{other}\n"), format!("{good}\n{{\n"));
        let cases = [
            // line, reason, schema, raw, repaired: sent as, or the problem.
            (1, "syntax", events, "{", None, Err("cut short")),
            (1, "syntax", events, "{", Some(&*good), Ok(vec![Schema::Events])),
            (1, "syntax", events, "{", Some("\n"), Err("nothing in it")),
            (1, "syntax", events, "{", Some(&two), Err("one line and is 2")),
            (1, "syntax", Schema::Producer.as_str(), "{", Some(boot), Ok(vec![Schema::Producer])),
            (1, "syntax", Schema::Producer.as_str(), "{", Some(&*good), Err("missing field")),
            (1, "insert_refused", events, &good, None, Ok(vec![Schema::Replay])),
            (1, "syntax", Schema::Replay.as_str(), "{", Some(&*good), Ok(vec![Schema::Replay])),
            (1, "future_dated", events, &good, None, Ok(vec![Schema::Replay])),
            (1, "future_dated", events, &ahead, None, Err("still ahead")),
            (1, "too_old", events, &good, None, Err("refused again")),
            (1, "too_old", events, &good, Some(&*ahead), Ok(vec![Schema::Replay])),
            (0, "unknown_schema", "hoplog.event.v9", &two, None, Ok(vec![Schema::Events, Schema::Events])),
            (0, "unknown_schema", "hoplog.event.v9", "x", None, Err("line 1: not JSON")),
            (0, "missing_lines", events, &two, None, Err("never came")),
            (0, "missing_lines", events, &two, Some(&*good), Ok(vec![Schema::Events])),
            (0, "more_bad_lines", events, &rest, None, Err("line 2: cut short")),
            (0, "more_bad_lines", events, &rest, Some(&*two), Ok(vec![Schema::Replay, Schema::Events])),
        ];
        for (line, reason, schema, raw, repaired, expected) in cases {
            let original = Original { line, reason, schema, raw: raw.as_bytes() };
            let sent = lines(original, repaired.map(str::as_bytes), Timestamp::parse(NOW).unwrap());
            let case = format!("{reason} {raw} {repaired:?}: {sent:?}");
            match expected {
                Ok(schemas) => {
                    let sent: Vec<_> = sent.expect(&case).into_iter().map(|line| line.schema).collect();
                    assert_eq!(sent, schemas, "{case}");
                }
                Err(problem) => assert!(sent.is_err_and(|wrong| wrong.contains(problem)), "{case}"),
            }
        }
    }
}
