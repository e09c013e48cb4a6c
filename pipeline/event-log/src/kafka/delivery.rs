//! What becomes of messages that were handed to librdkafka: each is delivered, refused, or in doubt. Counts them,
//! and says when they wait for long. Decides nothing about what is sent again; that is the producer's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Statistics};
use tokio::sync::{Notify, oneshot};

use super::client::{Reports, Role};
use crate::{EventLogMetrics, Message};

/// A message that waits that long is worth a word: a leader's change takes less.
const STALLED_AFTER: Duration = Duration::from_secs(5);
/// The word is repeated that often.
const STALLED_EVERY: Duration = Duration::from_secs(60);
/// librdkafka tells of the same error of a connection once in 30 s; after twice that without any, there was none.
const DISTURBANCE_SHOWS_WITHIN: Duration = Duration::from_secs(60);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Acknowledged, as far as acknowledgement was asked for.
    Delivered,
    /// Certainly not in the log.
    Refused(RDKafkaErrorCode),
    /// May be in the log or not. Never to be sent again.
    InDoubt(RDKafkaErrorCode),
    /// Was not handed over any more: the producer is closing.
    Closed,
}

/// Goes along with a message, and comes back with its outcome.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    since: Instant,
    bytes: u64,
    events: u64,
    done: oneshot::Sender<Outcome>,
}

/// Context of a producer: takes delivery reports and all else that it says.
#[derive(Debug)]
pub(super) struct Deliveries {
    pub(super) reports: Reports,
    role: Role,
    metrics: EventLogMetrics,
    /// Handed over and not settled, in order.
    waiting: Mutex<BTreeMap<u64, Instant>>,
    next: AtomicU64,
    /// Told after each outcome: there is room for another message.
    pub(super) settled: Notify,
    stalled: Mutex<Option<Stall>>,
}

#[derive(Debug, Clone, Copy)]
struct Stall {
    since: Instant,
    said: Instant,
}

impl Deliveries {
    pub(super) fn new(role: Role, metrics: &EventLogMetrics) -> Self {
        Self {
            reports: Reports::new(role, metrics),
            role,
            metrics: metrics.clone(),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            settled: Notify::new(),
            stalled: Mutex::default(),
        }
    }

    /// A message is about to be handed over.
    pub(super) fn ticket(&self, message: &Message) -> (Box<Ticket>, oneshot::Receiver<Outcome>) {
        let (done, outcome) = oneshot::channel();
        let (number, since) = (self.next.fetch_add(1, Ordering::Relaxed), Instant::now());
        let (bytes, events) = (message.payload.len() as u64, u64::from(message.events));
        lock(&self.waiting).insert(number, since);
        (Box::new(Ticket { number, since, bytes, events, done }), outcome)
    }

    /// Takes the ticket back unused: the message was not handed over, and is not known yet what becomes of it.
    pub(super) fn withdraw(&self, ticket: &Ticket) {
        lock(&self.waiting).remove(&ticket.number);
    }

    /// Tells whoever waits.
    pub(super) fn settle(&self, ticket: Ticket, outcome: Outcome) {
        lock(&self.waiting).remove(&ticket.number);
        match outcome {
            Outcome::Delivered => {
                self.metrics.appended_messages.inc();
                self.metrics.appended_events.inc_by(ticket.events);
                self.metrics.appended_bytes.inc_by(ticket.bytes);
            }
            Outcome::Refused(code) => self.metrics.kafka.delivery_failed(refusal_name(code)),
            Outcome::InDoubt(_) => self.metrics.kafka.delivery_failed("in_doubt"),
            Outcome::Closed => self.metrics.kafka.delivery_failed("closed"),
        }
        self.metrics.kafka.delivery_seconds.observe(ticket.since.elapsed().as_secs_f64());
        // A caller that hung up does not want to know.
        let _ = ticket.done.send(outcome);
        self.settled.notify_waiters();
    }

    /// Messages that were handed over and not settled.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// What an error of a delivery means for the message. An answer that got lost leaves a doubt even where the repeated
    /// request was refused; it gets lost with its connection, and of that librdkafka tells. (Not known: a broker that
    /// answers "not enough copies, but written", and then refuses the repetition.)
    fn judge(&self, code: RDKafkaErrorCode, since: Instant) -> Outcome {
        let disturbed = self.reports.disturbed_since(since.checked_sub(DISTURBANCE_SHOWS_WITHIN));
        let never_written = is_refusal(code) || code == RDKafkaErrorCode::PurgeQueue;
        if never_written && !disturbed { Outcome::Refused(code) } else { Outcome::InDoubt(code) }
    }

    /// Once a second or so: how long the oldest message has been waiting.
    fn watch(&self) {
        let (waiting, oldest) = {
            let waiting = lock(&self.waiting);
            (waiting.len(), waiting.values().next().map(Instant::elapsed).unwrap_or_default())
        };
        self.metrics.kafka.oldest_waiting(self.role, oldest.as_secs_f64());
        let client = self.role.name();
        let mut stalled = lock(&self.stalled);
        if oldest < STALLED_AFTER {
            if let Some(stall) = stalled.take() {
                let seconds = stall.since.elapsed().as_secs();
                tracing::info!(client, seconds, "Kafka takes messages again");
            }
        } else if stalled.is_none_or(|stall| stall.said.elapsed() > STALLED_EVERY) {
            let now = Instant::now();
            let since = stalled.map_or(now.checked_sub(oldest).unwrap_or(now), |stall| stall.since);
            *stalled = Some(Stall { since, said: now });
            let last = self.reports.last().map(|(failure, _)| failure.to_string()).unwrap_or_default();
            let oldest_s = oldest.as_secs();
            tracing::warn!(client, waiting, oldest_s, last, "Kafka takes no messages; they wait");
        }
    }
}

/// These are plain values: a panic leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.reports.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.reports.stats(statistics);
        self.watch();
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reports.error(error, reason);
        // Whoever waits for room finds out that there will be none.
        self.settled.notify_waiters();
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let outcome = match result {
            Ok(_) => Outcome::Delivered,
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                self.judge(code, ticket.since)
            }
        };
        self.settle(*ticket, outcome);
    }
}

/// Errors that say that nothing was written: by the broker, or because librdkafka found nowhere to send to.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    is_nonsense(code)
        || matches!(
            code,
            E::UnknownTopic
                | E::UnknownPartition
                | E::UnknownTopicOrPartition
                | E::UnknownTopicId
                | E::TopicAuthorizationFailed
                | E::ClusterAuthorizationFailed
                | E::TransactionalIdAuthorizationFailed
                | E::MessageSizeTooLarge
                | E::MessageBatchTooLarge
        )
}

/// Errors of messages that no retry can mend: broker and configuration don't fit each other.
pub(super) fn is_nonsense(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::InvalidRecord
            | E::InvalidTimestamp
            | E::InvalidTopic
            | E::InvalidRequiredAcks
            | E::PolicyViolation
            | E::UnsupportedForMessageFormat
            | E::UnsupportedCompressionType
            | E::UnsupportedVersion
            | E::UnsupportedFeature
    )
}

fn refusal_name(code: RDKafkaErrorCode) -> &'static str {
    use RDKafkaErrorCode as E;
    match code {
        E::UnknownTopic | E::UnknownPartition | E::UnknownTopicOrPartition | E::UnknownTopicId => {
            "unknown_topic"
        }
        E::TopicAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::TransactionalIdAuthorizationFailed => "not_authorized",
        E::MessageSizeTooLarge | E::MessageBatchTooLarge => "too_large",
        E::PurgeQueue => "producer_failed",
        _ => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_there_is_in_doubt() {
        use RDKafkaErrorCode as E;
        let now = Instant::now();
        let undisturbed = Deliveries::new(Role::Producer, &EventLogMetrics::default());
        let disturbed = Deliveries::new(Role::Producer, &EventLogMetrics::default());
        disturbed.error(KafkaError::Global(E::BrokerTransportFailure), "connection closed");
        for code in [E::UnknownTopic, E::TopicAuthorizationFailed, E::MessageSizeTooLarge, E::PurgeQueue] {
            assert_eq!(undisturbed.judge(code, now), Outcome::Refused(code));
            assert_eq!(disturbed.judge(code, now), Outcome::InDoubt(code));
        }
        for code in [E::PurgeInflight, E::MessageTimedOut, E::OutOfOrderSequenceNumber, E::RequestTimedOut] {
            assert_eq!(undisturbed.judge(code, now), Outcome::InDoubt(code));
        }
    }

    #[test]
    fn a_caller_that_hung_up_leaves_its_message_counted() {
        let deliveries = Deliveries::new(Role::Producer, &EventLogMetrics::default());
        let (ticket, outcome) = deliveries.ticket(&Message::events("a", 3));
        assert_eq!(deliveries.waiting(), 1);
        drop(outcome);
        deliveries.settle(*ticket, Outcome::Delivered);
        assert_eq!((deliveries.waiting(), deliveries.metrics.appended_events.get()), (0, 3));
    }
}
