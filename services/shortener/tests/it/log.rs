//! An event log that keeps what it is given, and gives it back decoded.

use std::sync::Mutex;

use async_trait::async_trait;
use event_log::{AppendError, Message, Producer, Schema};
use wide_event::{Event, codec};

#[derive(Default)]
pub(crate) struct KeptLog(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    messages: Vec<Message>,
    /// Events ever appended.
    events: u64,
}

impl KeptLog {
    pub(crate) fn events(&self) -> u64 {
        self.0.lock().unwrap().events
    }

    /// The events since it was asked last, by their number.
    pub(crate) fn take(&self) -> Vec<Event<'static>> {
        let messages = std::mem::take(&mut self.0.lock().unwrap().messages);
        let mut events = Vec::new();
        for message in messages {
            // Events borrow from their message; a test is over soon.
            let payload: &'static [u8] = Vec::from(message.payload).leak();
            events.extend(codec::lines(payload).map(|line| codec::decode(line).unwrap()));
        }
        events.sort_by_key(|event: &Event<'_>| event.seq);
        events
    }
}

#[async_trait]
impl Producer for KeptLog {
    async fn append(&self, messages: Vec<Message>) -> Result<(), AppendError> {
        let mut kept = self.0.lock().unwrap();
        kept.events += messages.iter().map(|message| u64::from(message.events)).sum::<u64>();
        kept.messages.extend(messages.into_iter().filter(|message| message.schema == Schema::Events));
        Ok(())
    }
}
