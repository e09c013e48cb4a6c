//! Waits until something happened in the group or in one of its partitions' queues. Dropping the wait loses nothing:
//! what was taken from a queue is returned without another wait.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use rdkafka::consumer::{Consumer as _, MessageStream};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::membership::{Turn, Turned};
use super::rebalance::Member;
use super::record::record;
use super::session::{Client, Queue};
use crate::Record;

/// A partition whose records are wanted.
pub(super) struct Open {
    pub(super) partition: u32,
    pub(super) queue: Arc<Queue>,
}

/// What happened.
pub(super) enum Happened {
    /// The group or the client has something to say.
    News,
    /// What was done about a rebalance is done.
    Turned(Turned),
    /// A message came by a way on which none should.
    Astray,
    /// Records of one partition, and what came instead of the next one.
    Records { partition: u32, records: Vec<Record>, error: Option<Code> },
}

/// Waits. `limits` are the numbers of messages and bytes after which a batch ends.
pub(super) async fn happening(
    client: &Client,
    open: &[Open],
    turn: &mut Turn,
    limits: (usize, u64),
) -> Happened {
    let mut events = client.stream();
    let mut queues: Vec<_> = open.iter().map(|open| (open.partition, open.queue.stream())).collect();
    poll_fn(|context| {
        // First: what comes next in the group is not looked at before this is done.
        if let Poll::Ready(turned) = turn.poll(context) {
            return Poll::Ready(Happened::Turned(turned));
        }
        if let Poll::Ready(happened) = poll_events(client, &mut events, turn, context) {
            return Poll::Ready(happened);
        }
        for (partition, queue) in &mut queues {
            let (records, error) = poll_records(queue, limits, context);
            if !records.is_empty() || error.is_some() {
                return Poll::Ready(Happened::Records { partition: *partition, records, error });
            }
        }
        Poll::Pending
    })
    .await
}

/// Serves librdkafka's callbacks: the context of the client notes what they say.
fn poll_events(
    client: &Client,
    events: &mut MessageStream<'_, Member>,
    turn: &Turn,
    context: &mut Context<'_>,
) -> Poll<Happened> {
    loop {
        match Pin::new(&mut *events).poll_next(context) {
            Poll::Ready(Some(Ok(_))) => return Poll::Ready(Happened::Astray),
            Poll::Ready(Some(Err(_))) => {}
            Poll::Ready(None) | Poll::Pending => break,
        }
    }
    // Notes wait for their turn: to return for one that can't be taken yet would be to spin.
    if client.context().has_news(matches!(turn, Turn::Nothing)) {
        Poll::Ready(Happened::News)
    } else {
        Poll::Pending
    }
}

fn poll_records(
    queue: &mut MessageStream<'_, Member>,
    (messages_max, bytes_max): (usize, u64),
    context: &mut Context<'_>,
) -> (Vec<Record>, Option<Code>) {
    let (mut records, mut bytes) = (Vec::new(), 0);
    while records.len() < messages_max && bytes < bytes_max {
        match Pin::new(&mut *queue).poll_next(context) {
            Poll::Ready(Some(Ok(message))) => {
                let record = record(&message);
                bytes += record.payload.len() as u64;
                records.push(record);
            }
            Poll::Ready(Some(Err(error))) => {
                return (records, Some(error.rdkafka_error_code().unwrap_or(Code::Unknown)));
            }
            Poll::Ready(None) | Poll::Pending => break,
        }
    }
    (records, None)
}
