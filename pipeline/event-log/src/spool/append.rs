//! The producer's handle: checks what a call brings, hands it to the one task that writes, and groups the calls
//! that wait into one transaction. What is written how is the writer's.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::Spool;
use super::stored::Stored;
use super::writer::Writer;
use crate::{AppendError, ContentType, EventLogMetrics, Message, PAYLOAD_BYTES_MAX, Packer, Producer};

/// Calls that wait for the writer; more wait in their own `append`. Twice what one transaction takes.
const CALLS_QUEUED_MAX: usize = 128;
/// Calls in a transaction. Beyond some tens the fsync is already shared well.
const CALLS_GROUPED_MAX: usize = 64;
/// Bytes in a transaction, exceeded by at most one call: bounds memory and the WAL, and fsync of 32 MiB stays
/// well below a second on a slow disk.
const BYTES_GROUPED_MAX: usize = 32 << 20;
/// How often retention and gauges are looked after.
const UPKEEP_INTERVAL: Duration = Duration::from_millis(500);

pub(super) struct Call {
    pub(super) messages: Vec<Stored>,
    pub(super) bytes: usize,
    done: oneshot::Sender<Result<(), AppendError>>,
}

impl Call {
    fn new(messages: Vec<Message>, done: oneshot::Sender<Result<(), AppendError>>) -> Self {
        let mut packer = Packer::default();
        let messages: Vec<_> = messages.into_iter().map(|message| Stored::of(message, &mut packer)).collect();
        let bytes = messages.iter().map(Stored::bytes).sum();
        Self { messages, bytes, done }
    }
}

enum Command {
    Append(Call),
    Close(oneshot::Sender<()>),
}

/// Appends to a spool. Clones share one writer task; when the last is dropped it finishes what was called.
#[derive(Debug, Clone)]
pub struct SpoolProducer {
    commands: mpsc::Sender<Command>,
    metrics: EventLogMetrics,
}

impl SpoolProducer {
    pub(super) fn start(spool: Spool, metrics: EventLogMetrics) -> Self {
        let (commands, queue) = mpsc::channel(CALLS_QUEUED_MAX);
        tokio::spawn(run(queue, Writer::new(spool, metrics.clone())));
        Self { commands, metrics }
    }

    async fn try_append(&self, messages: Vec<Message>) -> Result<(), AppendError> {
        let largest = messages.iter().map(Message::payload_bytes).max().unwrap_or(0);
        if largest > PAYLOAD_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: largest, bytes_max: PAYLOAD_BYTES_MAX });
        }
        if messages.is_empty() {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        let call = if messages.iter().all(|message| message.content_type == ContentType::NdjsonLz4) {
            Call::new(messages, done)
        } else {
            // Packing takes milliseconds where messages are many and large: not on a thread that answers requests.
            let call = tokio::task::spawn_blocking(|| Call::new(messages, done)).await;
            call.map_err(|_| AppendError::Closed)?
        };
        self.commands.send(Command::Append(call)).await.map_err(|_| AppendError::Closed)?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }
}

#[async_trait]
impl Producer for SpoolProducer {
    async fn append(&self, messages: Vec<Message>) -> Result<(), AppendError> {
        let answer = self.try_append(messages).await;
        if let Err(error) = &answer {
            self.metrics.failed(error);
        }
        answer
    }

    fn takes_packed(&self) -> bool {
        true
    }

    /// Writes what was called, and closes the files.
    async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            // An error means that another close was first.
            let _ = closed.await;
        }
        self.commands.closed().await;
    }
}

async fn run(mut queue: mpsc::Receiver<Command>, mut writer: Writer) {
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closing = None;
    loop {
        let command = tokio::select! {
            biased;
            // First, or a busy producer would keep retention from running.
            _ = upkeep.tick() => {
                writer.upkeep(Instant::now() + UPKEEP_INTERVAL / 4).await;
                continue;
            }
            command = queue.recv() => command,
        };
        match command {
            Some(Command::Append(first)) => {
                let (calls, close) = group(first, &mut queue);
                write(&mut writer, calls).await;
                if let Some(done) = close {
                    queue.close();
                    closing.get_or_insert(done);
                }
            }
            Some(Command::Close(done)) => {
                queue.close();
                closing.get_or_insert(done);
            }
            None => break,
        }
    }
    writer.close().await;
    if let Some(done) = closing {
        // Nobody may be waiting any more.
        let _ = done.send(());
    }
}

/// The first call and what else is waiting, up to the limits.
fn group(first: Call, queue: &mut mpsc::Receiver<Command>) -> (Vec<Call>, Option<oneshot::Sender<()>>) {
    let mut bytes = first.bytes;
    let mut calls = vec![first];
    while calls.len() < CALLS_GROUPED_MAX && bytes < BYTES_GROUPED_MAX {
        match queue.try_recv() {
            Ok(Command::Append(call)) => {
                bytes += call.bytes;
                calls.push(call);
            }
            Ok(Command::Close(done)) => return (calls, Some(done)),
            Err(_) => break,
        }
    }
    (calls, None)
}

async fn write(writer: &mut Writer, calls: Vec<Call>) {
    let answers = writer.append(&calls).await;
    for (call, answer) in calls.into_iter().zip(answers) {
        // A caller that hung up does not want to know.
        let _ = call.done.send(answer);
    }
}

#[cfg(test)]
impl Call {
    pub(super) fn of(messages: Vec<Message>) -> Self {
        Self::new(messages, oneshot::channel().0)
    }
}
