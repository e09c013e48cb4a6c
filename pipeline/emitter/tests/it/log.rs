//! A log that takes what it is given, or does not, as the test says; and what is needed around it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use emitter::{Emitter, EmitterConfig, PublisherHandle};
use event_log::{AppendError, Message, Producer, Schema};
use serde_json::Value;
use tokio::sync::Notify;
use wide_event::Resource;

/// What the next call of `append` does. Without any, it takes the messages.
pub(crate) enum Fault {
    Fail(AppendError),
    Panic,
    /// Waits until [`FakeLog::release`].
    Hang,
}

#[derive(Default)]
pub(crate) struct FakeLog {
    faults: Mutex<VecDeque<Fault>>,
    /// While set, every call fails.
    down: Mutex<bool>,
    too_large: Mutex<Option<&'static str>>,
    pub(crate) appended: Mutex<Vec<Message>>,
    pub(crate) calls: Mutex<Vec<usize>>,
    changed: Notify,
    release: Notify,
}

impl FakeLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn then(self: Arc<Self>, fault: Fault) -> Arc<Self> {
        self.faults.lock().unwrap().push_back(fault);
        self
    }

    pub(crate) fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    /// Refuses messages in which this text occurs.
    pub(crate) fn refuse(&self, text: &'static str) {
        *self.too_large.lock().unwrap() = Some(text);
    }

    pub(crate) fn release(&self) {
        self.release.notify_one();
    }

    /// Payloads of one kind, as lines of JSON.
    pub(crate) fn lines(&self, schema: Schema) -> Vec<Value> {
        let appended = self.appended.lock().unwrap();
        let payloads = appended.iter().filter(|message| message.schema == schema);
        let lines = payloads.flat_map(|message| wide_event::codec::lines(&message.payload));
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.lines(Schema::Events)
    }

    /// Waits until there are this many events.
    pub(crate) async fn wait_for_events(&self, count: usize) -> Vec<Value> {
        self.wait_until(|log| log.events().len() >= count).await;
        self.events()
    }

    pub(crate) async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if condition(self) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the condition within 30 s");
    }
}

#[async_trait]
impl Producer for FakeLog {
    async fn append(&self, messages: Vec<Message>) -> Result<(), AppendError> {
        self.calls.lock().unwrap().push(messages.len());
        self.changed.notify_one();
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            Some(Fault::Fail(error)) => return Err(error),
            Some(Fault::Panic) => panic!("the log panics"),
            Some(Fault::Hang) => self.release.notified().await,
            None => {}
        }
        if *self.down.lock().unwrap() {
            return Err(unavailable());
        }
        if let Some(text) = *self.too_large.lock().unwrap()
            && messages.iter().any(|m| String::from_utf8_lossy(&m.payload).contains(text))
        {
            return Err(AppendError::TooLarge { bytes: 1, bytes_max: 0 });
        }
        self.appended.lock().unwrap().extend(messages);
        self.changed.notify_one();
        Ok(())
    }
}

pub(crate) fn unavailable() -> AppendError {
    AppendError::Unavailable("down for the test".into())
}

pub(crate) fn resource() -> Resource {
    Resource {
        service: "shop".into(),
        version: "1.2.3".into(),
        instance: "shop-1".into(),
        environment: "test".into(),
        ..Resource::default()
    }
}

/// Batches that do not wait long.
pub(crate) fn quick() -> EmitterConfig {
    EmitterConfig { batch_ms_max: 5, ..EmitterConfig::default() }
}

pub(crate) fn start(config: EmitterConfig, log: Arc<dyn Producer>) -> (Emitter, PublisherHandle) {
    Emitter::start(config, resource(), [7; 32], log).unwrap()
}

/// Long enough for any flush that can succeed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
