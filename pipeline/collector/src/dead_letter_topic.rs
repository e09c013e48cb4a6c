//! Dead letters for other readers than ClickHouse's: each as a JSON object, newline-delimited, sent to a topic of their
//! own before their range is committed. At least once; who reads them knows repetitions by their `id`. What became one,
//! and why, is decided where lines are read.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use event_log::{AppendError, Message, Producer};
use serde::Serialize;
use wide_event::Timestamp;

use crate::dead_letter::Letter;
use crate::range::Range;

/// Largest message, bytes: brokers take 1 MiB by default, record headers included.
const MESSAGE_BYTES_MAX: usize = 1_000_000;
/// A topic that takes no message of this size is set up wrongly.
const MESSAGE_BYTES_MIN: usize = 4096;
/// Part of a message that a raw text may have when it is cut: escaped, a byte may become six.
const CUT: usize = 8;
/// Bytes of the other texts where the raw one is cut: a header may be as large as a message.
const TEXT_BYTES_MAX: usize = 256;

/// Sends dead letters. Clones share the producer.
#[derive(Clone)]
pub(crate) struct DeadLetterTopic(pub(crate) Arc<dyn Producer>);

/// A dead letter as it is sent.
#[derive(Serialize)]
struct Envelope<'a> {
    id: String,
    topic: &'a str,
    partition: u32,
    offset: u64,
    line: u32,
    events: u64,
    reason: &'a str,
    detail: &'a str,
    schema: &'a str,
    content_type: &'a str,
    appended_at: String,
    collected_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
    /// The whole of it is in the table.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    raw_truncated: bool,
}

impl DeadLetterTopic {
    /// Sends the letters of a range from `sent` on, which says how many are in the topic by now, also after an error.
    pub(crate) async fn send(
        &self,
        range: &Range,
        letters: &[Letter],
        sent: &mut usize,
    ) -> Result<(), AppendError> {
        let mut bytes_max = MESSAGE_BYTES_MAX;
        while *sent < letters.len() {
            let (payload, count) = pack(range, &letters[*sent..], bytes_max);
            match self.0.append(vec![Message::dead_letters(payload)]).await {
                Ok(()) => *sent += count,
                // The topic takes less than is usual: smaller messages, if need be with less of what is in them.
                Err(AppendError::TooLarge { .. }) if bytes_max / 2 >= MESSAGE_BYTES_MIN => bytes_max /= 2,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A message of the first letters, as many as fit, one at least; and how many these are.
fn pack(range: &Range, letters: &[Letter], bytes_max: usize) -> (Vec<u8>, usize) {
    let (mut payload, mut count) = (Vec::new(), 0);
    for letter in letters {
        let mut line = encode(range, letter, usize::MAX);
        if line.len() > bytes_max {
            line = encode(range, letter, bytes_max / CUT);
        }
        if count > 0 && payload.len() + line.len() > bytes_max {
            break;
        }
        payload.extend_from_slice(&line);
        count += 1;
    }
    (payload, count)
}

/// One line. Where `raw_max` is less than the raw text has, it and all others are cut.
fn encode(range: &Range, letter: &Letter, raw_max: usize) -> Vec<u8> {
    let cut = raw_max < usize::MAX;
    let text = |text: &'_ str| if cut { text.floor_char_boundary(TEXT_BYTES_MAX) } else { text.len() };
    let (schema, content_type) = (letter.schema.as_str(), letter.content_type.as_str());
    let (raw, raw_base64) = match std::str::from_utf8(&letter.raw) {
        Ok(raw) => (Some(&raw[..raw.floor_char_boundary(raw_max)]), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(&letter.raw[..letter.raw.len().min(raw_max)]))),
    };
    let envelope = Envelope {
        id: format!("{}:{}:{}:{}", range.topic, range.partition, letter.offset, letter.line),
        topic: &range.topic,
        partition: range.partition,
        offset: letter.offset,
        line: letter.line,
        events: letter.events,
        reason: letter.reason,
        detail: &letter.detail[..text(&letter.detail)],
        schema: &schema[..text(schema)],
        content_type: &content_type[..text(content_type)],
        appended_at: Timestamp(letter.appended_at_us).to_string(),
        collected_at: Timestamp(range.intent.at).to_string(),
        raw,
        raw_base64,
        raw_truncated: letter.raw.len() > raw_max,
    };
    // Numbers and strings: nothing that JSON can't hold.
    let mut line = sonic_rs::to_vec(&envelope).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests;
