//! Packs lines into messages of bounded size, a schema each, in the order they come. Appends nothing.

use event_log::{ContentType, Message, Schema};

use super::repair::Line;

/// Bytes of a message's payload: below Kafka's default limit of 1 MiB with headers, as the emitter keeps it.
const MESSAGE_BYTES_MAX: usize = 900_000;
/// Events of a message: beyond some dozens it gets hardly cheaper for those who read it.
const MESSAGE_EVENTS_MAX: u32 = 500;

/// Collects messages. A line is never split; a single one is far below the limit, since it was readable.
#[derive(Debug, Default)]
pub(super) struct Messages {
    done: Vec<Message>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    schema: Schema,
    payload: Vec<u8>,
    lines: u32,
}

impl Messages {
    pub(super) fn push(&mut self, line: &Line<'_>) {
        let fits = |open: &Open| {
            open.schema == line.schema
                && open.lines < MESSAGE_EVENTS_MAX
                && open.payload.len() + line.bytes.len() < MESSAGE_BYTES_MAX
        };
        if !self.open.as_ref().is_some_and(fits) {
            self.end();
        }
        let open = self.open.get_or_insert_with(|| Open {
            schema: line.schema.clone(),
            payload: Vec::new(),
            lines: 0,
        });
        open.payload.extend_from_slice(line.bytes);
        open.payload.push(b'\n');
        open.lines += 1;
    }

    /// All of them.
    pub(super) fn finish(mut self) -> Vec<Message> {
        self.end();
        self.done
    }

    fn end(&mut self) {
        let Some(Open { schema, payload, lines }) = self.open.take() else { return };
        // Notes on producers are no events.
        let events = if schema == Schema::Producer { 0 } else { lines };
        self.done.push(Message {
            payload: payload.into(),
            events,
            schema,
            content_type: ContentType::Ndjson,
            traceparent: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded_and_of_one_schema() {
        let line = |schema: Schema, bytes| Line { schema, bytes };
        let (small, large) = (vec![b'x'; 10], vec![b'y'; 400_000]);
        let mut messages = Messages::default();
        (0..501).for_each(|_| messages.push(&line(Schema::Events, &small)));
        messages.push(&line(Schema::Replay, &small));
        (0..3).for_each(|_| messages.push(&line(Schema::Replay, &large)));
        messages.push(&line(Schema::Producer, &small));
        let found: Vec<_> = messages
            .finish()
            .into_iter()
            .map(|message| (message.schema, message.events, message.payload.len()))
            .collect();
        let expected = [
            (Schema::Events, 500, 5_500),
            (Schema::Events, 1, 11),
            (Schema::Replay, 3, 800_013),
            (Schema::Replay, 1, 400_001),
            (Schema::Producer, 0, 11),
        ];
        assert_eq!(found, expected);
        assert_eq!(Messages::default().finish(), []);
    }
}
