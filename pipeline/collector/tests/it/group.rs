//! A consumer that does as the test says, in the place of a group's: assigns, delivers, revokes, and answers commits. It
//! keeps what was committed, as a group does, so that another may take over from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use event_log::{
    CommitError, Committer, ConsumeError, Consumer, ContentType, Delivery, Lag, Position, Record, Schema,
};
use tokio::sync::Notify;
use wide_event::{Event, codec};

pub(crate) const TOPIC: &str = "hoplog.events.v1";

/// How commits are answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    #[default]
    Yes,
    Fenced,
    Unavailable,
    /// Not at all.
    Never,
}

#[derive(Default)]
pub(crate) struct State {
    deliveries: VecDeque<Delivery>,
    pub(crate) answer: Answer,
    pub(crate) positions: BTreeMap<u32, Position>,
    /// Commits that were asked for.
    pub(crate) asked: usize,
    pub(crate) polls: usize,
    pub(crate) paused: BTreeSet<u32>,
    pub(crate) released: Vec<u32>,
    pub(crate) closed: bool,
}

/// The group; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Group {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

/// Messages of one event each, from an offset on.
pub(crate) fn records(first: u64, events: &[Event<'_>]) -> Vec<Record> {
    let record = |(offset, event): (u64, &Event<'_>)| {
        let mut payload = Vec::new();
        codec::encode(event, &mut payload);
        Record {
            offset,
            appended_at_us: event.ts.0,
            payload: payload.into(),
            events: Some(1),
            schema: Schema::Events,
            content_type: ContentType::Ndjson,
        }
    };
    (first..).zip(events).map(record).collect()
}

impl Group {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.state().answer = answer;
    }

    pub(crate) fn tell(&self, delivery: Delivery) {
        self.state().deliveries.push_back(delivery);
        self.news.notify_one();
    }

    /// The partition is the consumer's, from what is committed on; these messages follow.
    pub(crate) fn assign(&self, partition: u32, records: Vec<Record>) {
        let position = self.position(partition);
        let follow = records.into_iter().filter(|record| record.offset >= position.offset).collect();
        self.tell(Delivery::Assigned { partition, position });
        self.tell(Delivery::Records { partition, records: follow });
    }

    pub(crate) fn position(&self, partition: u32) -> Position {
        self.state().positions.get(&partition).cloned().unwrap_or_default()
    }

    /// How many deliveries have not been taken.
    pub(crate) fn undelivered(&self) -> usize {
        self.state().deliveries.len()
    }
}

#[async_trait]
impl Consumer for Group {
    fn topic(&self) -> &'static str {
        TOPIC
    }
    fn system(&self) -> &'static str {
        "test"
    }
    async fn next(&mut self, wait: Duration) -> Result<Delivery, ConsumeError> {
        let take = || {
            let mut state = self.state();
            let may = |delivery: &Delivery| match delivery {
                Delivery::Records { partition, .. } => !state.paused.contains(partition),
                _ => true,
            };
            let index = state.deliveries.iter().position(may)?;
            state.deliveries.remove(index)
        };
        self.state().polls += 1;
        if let Some(delivery) = take() {
            return Ok(delivery);
        }
        let _ = tokio::time::timeout(wait, self.news.notified()).await;
        Ok(take().unwrap_or(Delivery::Idle))
    }
    fn committer(&self) -> Arc<dyn Committer> {
        Arc::new(self.clone())
    }
    fn pause(&mut self, partition: u32) {
        self.state().paused.insert(partition);
    }
    fn resume(&mut self, partition: u32) {
        self.state().paused.remove(&partition);
        self.news.notify_one();
    }
    fn release(&mut self, partition: u32) {
        self.state().released.push(partition);
    }
    async fn lag(&mut self) -> Result<Vec<Lag>, ConsumeError> {
        Ok(Vec::new())
    }
    async fn close(self: Box<Self>) {
        self.state().closed = true;
    }
}

#[async_trait]
impl Committer for Group {
    async fn commit(&self, partition: u32, position: Position) -> Result<(), CommitError> {
        let answer = {
            let mut state = self.state();
            state.asked += 1;
            state.answer
        };
        match answer {
            Answer::Yes => {
                self.state().positions.insert(partition, position);
                Ok(())
            }
            Answer::Fenced => Err(CommitError::Fenced),
            Answer::Unavailable => Err(CommitError::Unavailable("the test says so".into())),
            Answer::Never => std::future::pending().await,
        }
    }
}
