//! How partitions come and go: follows the group, one rebalance after the other, and joins anew when a membership has
//! ended. Reads no messages.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::consumer::{Held, KafkaConsumer};
use super::fault::{self, Wrong};
use super::lag::Marks;
use super::rebalance::Note;
use super::session::{self, Client};
use super::start::{self, Start};
use crate::{ConsumeError, Delivery};

/// Pause before the group is joined anew.
const JOIN_AGAIN: Duration = Duration::from_millis(500);

/// Whether we are in the group.
pub(super) enum Membership {
    Joined(Arc<Client>),
    Joining(JoinHandle<Result<Arc<Client>, ConsumeError>>),
    /// Not before then.
    Apart(Instant),
    /// Another has our name.
    Fenced,
}

/// What is being done about a rebalance.
pub(super) enum Turn {
    Nothing,
    Taking {
        partitions: Vec<u32>,
        task: JoinHandle<Result<Vec<Start>, ConsumeError>>,
    },
    /// Until the last of `left` is released.
    Revoking {
        left: BTreeSet<u32>,
        all: Vec<u32>,
    },
    Giving(JoinHandle<Result<(), ConsumeError>>),
}

/// How it went.
pub(super) enum Turned {
    Took(Result<Vec<Start>, ConsumeError>),
    Gave(Result<(), ConsumeError>),
}

impl Turn {
    /// Waits for what runs by itself; for ever where nothing does.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Turned> {
        let died = |join| ConsumeError::Unavailable(Box::new(join));
        match self {
            Self::Taking { task, .. } => Pin::new(task)
                .poll(context)
                .map(|done| Turned::Took(done.unwrap_or_else(|join| Err(died(join))))),
            Self::Giving(task) => Pin::new(task)
                .poll(context)
                .map(|done| Turned::Gave(done.unwrap_or_else(|join| Err(died(join))))),
            Self::Nothing | Self::Revoking { .. } => Poll::Pending,
        }
    }
}

impl KafkaConsumer {
    /// Does what the group wants, as far as it can be done now.
    pub(super) fn follow(&mut self) -> Result<(), ConsumeError> {
        let Membership::Joined(client) = &self.state else { return Ok(()) };
        let client = Arc::clone(client);
        while let Some(failure) = client.context().take_failure() {
            self.outage.failed(&failure);
            if let Some((code, reason)) = client.client().fatal_error() {
                return Err(self.fatal(code, &reason));
            }
            if let Some(error) = fault::of_client(&failure) {
                return Err(self.stop(error));
            }
        }
        // Before what else was noted: that is about a membership that has ended.
        if client.context().is_lost() {
            self.lose("the membership ended");
            return Ok(());
        }
        while matches!(self.turn, Turn::Nothing) {
            match client.context().take_note() {
                Some(Note::Assign(partitions)) => self.take(&client, partitions),
                Some(Note::Revoke(partitions)) => self.revoke(partitions),
                Some(Note::Lost) | None => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, client: &Arc<Client>, partitions: Vec<u32>) {
        let orders = partitions.iter().map(|partition| self.owned.order(*partition)).collect();
        let topic = self.kafka.config.topic.clone();
        let task = tokio::spawn(start::start(Arc::clone(client), topic, partitions.clone(), orders));
        self.turn = Turn::Taking { partitions, task };
    }

    fn revoke(&mut self, partitions: Vec<u32>) {
        let mut left = BTreeSet::new();
        for &partition in &partitions {
            let Some(held) = self.held.get_mut(&partition) else { continue };
            held.revoking = true;
            left.insert(partition);
            self.told.push_back(Delivery::Revoking { partition });
        }
        self.turn = Turn::Revoking { left, all: partitions };
        self.give_when_released();
    }

    /// The caller is done with a partition that is being revoked.
    pub(super) fn give_up(&mut self, partition: u32) {
        let Turn::Revoking { left, .. } = &mut self.turn else { return };
        if left.remove(&partition) {
            self.held.remove(&partition);
            self.owned.remove(partition);
            self.give_when_released();
        }
    }

    fn give_when_released(&mut self) {
        let (Turn::Revoking { left, all }, Membership::Joined(client)) = (&self.turn, &self.state) else {
            return;
        };
        if !left.is_empty() {
            return;
        }
        let orders: Vec<_> = all.iter().map(|partition| self.owned.order(*partition)).collect();
        let (client, topic, all) = (Arc::clone(client), self.kafka.config.topic.clone(), all.clone());
        self.turn = Turn::Giving(tokio::spawn(async move {
            // What was sent and is not answered must not arrive after the next owner has begun.
            for order in orders {
                drop(order.lock_owned().await);
            }
            let given = session::give(client, topic, all).await;
            given.map_err(|error| ConsumeError::Unavailable(Box::new(error)))
        }));
    }

    pub(super) fn turned(&mut self, done: Turned) -> Result<(), ConsumeError> {
        let turn = std::mem::replace(&mut self.turn, Turn::Nothing);
        let Membership::Joined(client) = &self.state else { return Ok(()) };
        let client = Arc::clone(client);
        match (turn, done) {
            (Turn::Taking { .. }, Turned::Took(Ok(starts))) => {
                starts.into_iter().for_each(|start| self.hold(start, &client));
                self.outage.over();
            }
            (Turn::Taking { partitions, .. }, Turned::Took(Err(error @ ConsumeError::Broken(_)))) => {
                // Looked at again by the next call, so that it goes on when somebody has mended it.
                client.context().put_back(Note::Assign(partitions));
                return Err(error);
            }
            (_, Turned::Took(Err(error)) | Turned::Gave(Err(error))) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a rebalance failed; joining anew");
                self.lose("a rebalance failed");
            }
            _ => self.outage.over(),
        }
        Ok(())
    }

    fn hold(&mut self, start: Start, client: &Arc<Client>) {
        let Start { partition, position, end, queue } = start;
        let next = position.offset;
        self.owned.insert(partition, next, Arc::downgrade(client));
        self.ends.set(partition, end);
        let marks = Marks::default();
        self.held.insert(partition, Held { queue, next, marks, paused: false, revoking: false, told: false });
        self.told.push_back(Delivery::Assigned { partition, position });
    }

    /// Nothing is ours any more: the caller hears of it, and the group is joined anew.
    pub(super) fn lose(&mut self, why: &str) {
        self.owned.clear();
        self.told.clear();
        for (partition, held) in std::mem::take(&mut self.held) {
            if held.told {
                self.told.push_back(Delivery::Revoked { partition });
            }
        }
        tracing::warn!(group = self.group, partitions = self.told.len(), why, "partitions are lost");
        drop(self.part(Membership::Apart(Instant::now() + JOIN_AGAIN)));
    }

    /// Something only a person mends. The next call joins anew and looks again.
    pub(super) fn stop(&mut self, error: ConsumeError) -> ConsumeError {
        self.lose("the log can't be read on");
        error
    }

    /// librdkafka has given up.
    fn fatal(&mut self, code: Code, reason: &str) -> ConsumeError {
        self.lose(reason);
        if code == Code::FencedInstanceId {
            self.told.clear();
            self.state = Membership::Fenced;
            return ConsumeError::Fenced;
        }
        Wrong::broken(format!("{code}: {reason}"))
    }

    /// Leaves the group in the background, if we are in it; says when that is done.
    pub(super) fn part(&mut self, next: Membership) -> oneshot::Receiver<()> {
        match std::mem::replace(&mut self.turn, Turn::Nothing) {
            Turn::Taking { task, .. } => task.abort(),
            Turn::Giving(task) => task.abort(),
            Turn::Nothing | Turn::Revoking { .. } => {}
        }
        let (done, left) = oneshot::channel();
        if let Membership::Joined(client) = std::mem::replace(&mut self.state, next) {
            let topic = self.kafka.config.topic.clone();
            let leave = move || {
                session::leave(client, &topic);
                // Whoever asked may not wait for it.
                done.send(()).ok();
            };
            // Not a task of the runtime, whose end would have to wait for it.
            if let Err(error) = std::thread::Builder::new().name("kafka-leave".to_owned()).spawn(leave) {
                tracing::error!(error = &error as &dyn std::error::Error, "no thread to leave the group by");
            }
        }
        left
    }

    /// The client, if we are in the group; else tries to join until the deadline.
    pub(super) async fn joined(&mut self, deadline: Instant) -> Result<Option<Arc<Client>>, ConsumeError> {
        loop {
            match &mut self.state {
                Membership::Joined(client) => return Ok(Some(Arc::clone(client))),
                Membership::Fenced => return Err(ConsumeError::Fenced),
                Membership::Apart(until) => {
                    let until = *until;
                    sleep_until(until.min(deadline)).await;
                    if until > deadline {
                        return Ok(None);
                    }
                    let (kafka, group) = (self.kafka.clone(), self.group.clone());
                    let joining = session::blocking(move || session::join(&kafka, &group));
                    self.state =
                        Membership::Joining(tokio::spawn(async { joining.await.map_err(fault::asking) }));
                }
                Membership::Joining(task) => {
                    let Ok(joined) = timeout_at(deadline, task).await else { return Ok(None) };
                    self.state = Membership::Apart(Instant::now() + JOIN_AGAIN);
                    match joined.unwrap_or_else(|join| Err(ConsumeError::Unavailable(Box::new(join)))) {
                        Ok(client) => self.state = Membership::Joined(client),
                        Err(ConsumeError::Unavailable(error)) => self.outage.asked_in_vain(&*error),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}
