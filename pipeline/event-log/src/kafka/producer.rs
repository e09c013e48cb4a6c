//! Appends to Kafka. What librdkafka was given stays with it until it is settled: nothing that may be in the log is
//! ever sent again from here, so a retry can't make a second event of one.
//!
//! Which partition a message goes to is left to librdkafka: one at random among those with a leader, the same for all
//! for some milliseconds. So the messages of a call nearly always share a partition and a batch, partitions fill
//! evenly, and one without a leader is avoided, also when partitions are added. A message has no key: nothing is
//! gained from having one link's events in one partition, and a popular link would make one hot.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::client::{Failure, Kafka, Role};
use super::delivery::{Deliveries, Outcome, Ticket, is_nonsense};
use crate::{AppendError, EventLogMetrics, Message, Producer};

/// How long a full queue is waited for before it is tried again, should no outcome tell of room.
const ROOM_WAIT_MAX: Duration = Duration::from_millis(100);
/// Between two producers, where one after the other fails for good: each leaves messages in doubt.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Between two tries of what was certainly refused while the rest of its call was taken.
const REFUSED_RETRY: Duration = Duration::from_secs(1);
/// How long a producer that failed may take to learn what became of its requests: twice a request's timeout.
const RETIRE_MAX: Duration = Duration::from_secs(60);
/// How long purged messages take to be reported: it happens in memory.
const PURGE_MAX: Duration = Duration::from_secs(2);

type Client = ThreadedProducer<Deliveries>;

/// Appends to a topic. A dropped `append` leaves what was handed over to be delivered, and the rest is not sent.
pub(super) struct KafkaProducer {
    kafka: Kafka,
    topic: String,
    role: Role,
    metrics: EventLogMetrics,
    /// `None` once it is closed.
    current: Mutex<Option<Current>>,
}

#[derive(Clone)]
struct Current {
    client: Arc<Client>,
    since: Instant,
}

impl KafkaProducer {
    /// Begins to connect, and waits for nothing.
    pub(super) fn start(kafka: Kafka, role: Role, metrics: EventLogMetrics) -> KafkaResult<Self> {
        let config = &kafka.config;
        let topic = if role == Role::DeadLetters { &config.dead_letters_topic } else { &config.topic };
        let topic = topic.clone();
        let client = Arc::new(connect(&kafka, role, &metrics)?);
        let current = Mutex::new(Some(Current { client, since: Instant::now() }));
        Ok(Self { kafka, topic, role, metrics, current })
    }

    async fn try_append(&self, messages: Vec<Message>) -> Result<(), AppendError> {
        let (bytes, bytes_max) = (largest(&messages), self.kafka.config.message_bytes_max);
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        let (mut left, mut settled) = (messages, Settled::default());
        loop {
            let outcomes = self.hand_over(&left).await;
            left = settled.take(left, outcomes).await;
            match settled.next(&left) {
                Next::Answer(answer) => return answer,
                Next::Refuse(code) => return Err(self.refusal(code, bytes)),
                Next::TryAgain => sleep(REFUSED_RETRY).await,
            }
        }
    }

    /// Gives messages to librdkafka, in order; waits where it has no room.
    async fn hand_over(&self, messages: &[Message]) -> Vec<oneshot::Receiver<Outcome>> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            loop {
                let Some(current) = self.current() else {
                    let (closed, outcome) = oneshot::channel();
                    let _ = closed.send(Outcome::Closed);
                    outcomes.push(outcome);
                    break;
                };
                match send(&current.client, &self.topic, message) {
                    Sent::Yes(outcome) => {
                        outcomes.push(outcome);
                        break;
                    }
                    Sent::NoRoom => {
                        let room = current.client.context().settled.notified();
                        let _ = timeout(ROOM_WAIT_MAX, room).await;
                    }
                    // Not an error to the caller, who would send all of it again, also what is there by now.
                    Sent::Failed => {
                        if !self.renew(&current).await {
                            sleep(RENEW_EVERY).await;
                        }
                    }
                }
            }
        }
        outcomes
    }

    /// Puts a new producer in the place of one that failed for good. Returns whether that could be done, by whomever.
    async fn renew(&self, failed: &Current) -> bool {
        sleep_until(failed.since + RENEW_EVERY).await;
        let mut current = self.lock();
        if current.as_ref().is_none_or(|current| !Arc::ptr_eq(&current.client, &failed.client)) {
            // Another call was first, or it was closed.
            return true;
        }
        let failure = failed.client.context().reports.fatal();
        let error = failure.as_ref().map(|failure| failure as &dyn std::error::Error);
        tracing::error!(
            client = self.role.name(),
            error,
            "the producer failed for good; a new one takes over"
        );
        let client = match connect(&self.kafka, self.role, &self.metrics) {
            Ok(client) => client,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(client = self.role.name(), error, "no new producer can be made yet");
                return false;
            }
        };
        *current = Some(Current { client: Arc::new(client), since: Instant::now() });
        tokio::spawn(retire(failed.client.clone()));
        true
    }

    /// Why nothing of a call was taken.
    fn refusal(&self, code: RDKafkaErrorCode, bytes: usize) -> AppendError {
        let bytes_max = self.kafka.config.message_bytes_max;
        let last = self.current().and_then(|current| current.client.context().reports.fatal());
        let failure = last.filter(|_| code == RDKafkaErrorCode::PurgeQueue);
        let failure = failure.unwrap_or_else(|| Failure { code, reason: format!("topic {}", self.topic) });
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge => {
                AppendError::TooLarge { bytes, bytes_max }
            }
            code if is_nonsense(code) => AppendError::Broken(failure.into()),
            _ => AppendError::Unavailable(failure.into()),
        }
    }

    fn current(&self) -> Option<Current> {
        self.lock().clone()
    }

    /// The value is replaced as a whole: a panic leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Producer for KafkaProducer {
    async fn append(&self, messages: Vec<Message>) -> Result<(), AppendError> {
        let answer = self.try_append(messages).await;
        if let Err(error) = &answer {
            self.metrics.failed(error);
        }
        answer
    }

    /// Takes no more, and waits for what is on its way, up to `close_ms_max`. What is not delivered by then is in doubt.
    async fn close(&self) {
        let Some(Current { client, .. }) = self.lock().take() else { return };
        let deadline = Instant::now() + Duration::from_millis(self.kafka.config.producer.close_ms_max);
        if !is_settled(&client, deadline).await {
            let waiting = client.context().waiting();
            tracing::error!(client = self.role.name(), waiting, "messages were not delivered before the end");
            client.purge(PurgeConfig::default().queue().inflight());
            is_settled(&client, Instant::now() + PURGE_MAX).await;
        }
        end(client).await;
    }
}

/// What follows from what became of a call.
enum Next {
    /// It is over.
    Answer(Result<(), AppendError>),
    /// Nothing of it was taken, for this reason.
    Refuse(RDKafkaErrorCode),
    /// What was refused may be taken later, and only here: the caller would repeat what is there.
    TryAgain,
}

/// What became of a call so far.
#[derive(Debug, Default)]
struct Settled {
    /// Whether some of it is in the log, or may be. Then the caller can't repeat it, and must not take all of it for lost.
    some_is_taken: bool,
    /// Messages that were not handed over any more, and events in them.
    closed: (usize, u64),
    refused: Option<RDKafkaErrorCode>,
    doubt: Option<(RDKafkaErrorCode, usize, u64)>,
}

impl Settled {
    /// Waits for the outcomes; returns the messages that were refused.
    async fn take(
        &mut self,
        messages: Vec<Message>,
        outcomes: Vec<oneshot::Receiver<Outcome>>,
    ) -> Vec<Message> {
        let mut left = Vec::new();
        for (message, outcome) in messages.into_iter().zip(outcomes) {
            // Without an answer librdkafka was torn down with the message.
            match outcome.await.unwrap_or(Outcome::InDoubt(RDKafkaErrorCode::PurgeInflight)) {
                Outcome::Delivered => self.some_is_taken = true,
                Outcome::Closed => {
                    let (messages, events) = &mut self.closed;
                    (*messages, *events) = (*messages + 1, *events + u64::from(message.events));
                }
                Outcome::Refused(code) => {
                    self.refused.get_or_insert(code);
                    left.push(message);
                }
                Outcome::InDoubt(code) => {
                    self.some_is_taken = true;
                    let (_, messages, events) = self.doubt.get_or_insert((code, 0, 0));
                    (*messages, *events) = (*messages + 1, *events + u64::from(message.events));
                }
            }
        }
        left
    }

    /// Decides, with what was refused in the last round.
    fn next(&mut self, left: &[Message]) -> Next {
        match self.refused.take() {
            None => Next::Answer(self.answer()),
            Some(code) if !self.some_is_taken => Next::Refuse(code),
            Some(code) if is_nonsense(code) => {
                let (_, messages, events) = self.doubt.get_or_insert((code, 0, 0));
                *messages += left.len();
                *events += left.iter().map(|message| u64::from(message.events)).sum::<u64>();
                Next::Answer(self.answer())
            }
            Some(_) => Next::TryAgain,
        }
    }

    fn answer(&self) -> Result<(), AppendError> {
        // All others of a call in doubt have to be in the log: what was not handed over any more is none of these.
        let (code, messages, events) = match self.doubt {
            None if self.closed.0 == 0 => return Ok(()),
            None if !self.some_is_taken => return Err(AppendError::Closed),
            None => (RDKafkaErrorCode::PurgeQueue, 0, 0),
            Some(doubt) => doubt,
        };
        Err(AppendError::InDoubt {
            messages: messages + self.closed.0,
            events: events + self.closed.1,
            source: KafkaError::MessageProduction(code).into(),
        })
    }
}

enum Sent {
    Yes(oneshot::Receiver<Outcome>),
    NoRoom,
    Failed,
}

/// Hands a message over; never blocks.
fn send(client: &Client, topic: &str, message: &Message) -> Sent {
    let deliveries = client.context();
    let (ticket, outcome) = deliveries.ticket(message);
    let record: BaseRecord<'_, (), [u8], Box<Ticket>> =
        BaseRecord::with_opaque_to(topic, ticket).payload(&message.payload[..]).headers(headers(message));
    let Err((error, record)) = client.send(record) else { return Sent::Yes(outcome) };
    let ticket = record.delivery_opaque;
    match error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown) {
        RDKafkaErrorCode::QueueFull => {
            deliveries.withdraw(&ticket);
            Sent::NoRoom
        }
        RDKafkaErrorCode::Fatal => {
            deliveries.withdraw(&ticket);
            Sent::Failed
        }
        code => {
            deliveries.settle(*ticket, Outcome::Refused(code));
            Sent::Yes(outcome)
        }
    }
}

fn headers(message: &Message) -> OwnedHeaders {
    let events = message.events.to_string();
    let headers = OwnedHeaders::new_with_capacity(4)
        .insert(Header { key: "content-type", value: Some(message.content_type.as_str()) })
        .insert(Header { key: "schema", value: Some(message.schema.as_str()) })
        .insert(Header { key: "events", value: Some(&events) });
    match &message.traceparent {
        Some(trace) => headers.insert(Header { key: "traceparent", value: Some(&**trace) }),
        None => headers,
    }
}

fn connect(kafka: &Kafka, role: Role, metrics: &EventLogMetrics) -> KafkaResult<Client> {
    Client::from_config_and_context(&kafka.config.producer_client(), Deliveries::new(role, metrics))
}

fn largest(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.payload.len()).max().unwrap_or(0)
}

/// Whether all that was handed over is settled by then.
async fn is_settled(client: &Client, deadline: Instant) -> bool {
    loop {
        let settled = client.context().settled.notified();
        if client.context().waiting() == 0 {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        let _ = timeout_at(deadline, timeout(ROOM_WAIT_MAX, settled)).await;
    }
}

/// Lets a producer that failed learn what became of its requests.
async fn retire(client: Arc<Client>) {
    is_settled(&client, Instant::now() + RETIRE_MAX).await;
    end(client).await;
}

/// Tearing a client down joins its threads: not on a thread that others need.
async fn end(client: Arc<Client>) {
    // It fails only where the runtime itself is going, and takes the client along.
    let _ = tokio::task::spawn_blocking(move || drop(client)).await;
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;

    use super::*;

    /// What follows where these become of messages, the first of one event, the second of two, and so on.
    async fn next(settled: &mut Settled, became: &[Outcome]) -> Next {
        let messages = (1u32..).zip(became).map(|(events, _)| Message::events("x", events)).collect();
        let outcomes = became.iter().map(|outcome| {
            let (done, settled) = oneshot::channel();
            done.send(*outcome).unwrap();
            settled
        });
        let left = settled.take(messages, outcomes.collect()).await;
        settled.next(&left)
    }

    #[tokio::test]
    async fn who_can_not_repeat_a_call_learns_how_much_of_it_is_in_doubt() {
        use Outcome::{Closed, Delivered, InDoubt, Refused};
        use RDKafkaErrorCode as E;
        let (nonsense, forbidden) = (Refused(E::InvalidRecord), Refused(E::TopicAuthorizationFailed));
        let answer = async |became: &[Outcome]| match next(&mut Settled::default(), became).await {
            Next::Answer(answer) => answer,
            Next::Refuse(code) => panic!("refused: {code}"),
            Next::TryAgain => panic!("again"),
        };
        answer(&[Delivered, Delivered]).await.unwrap();
        assert!(matches!(answer(&[Closed, Closed]).await, Err(AppendError::Closed)));
        for (became, expected) in [
            (vec![Delivered, nonsense, nonsense], (2, 5)),
            (vec![nonsense, Delivered, nonsense], (2, 4)),
            (vec![InDoubt(E::PurgeInflight), nonsense], (2, 3)),
            (vec![InDoubt(E::PurgeInflight), Delivered], (1, 1)),
            (vec![InDoubt(E::PurgeInflight), Delivered, Closed], (2, 4)),
            (vec![Delivered, Closed], (1, 2)),
            (vec![Delivered, nonsense, Closed], (2, 5)),
        ] {
            match answer(&became).await {
                Err(AppendError::InDoubt { messages, events, .. }) => {
                    assert_eq!((messages, events), expected, "{became:?}");
                }
                other => panic!("{became:?}: {other:?}"),
            }
        }
        for refused in [nonsense, forbidden] {
            assert!(matches!(next(&mut Settled::default(), &[refused; 2]).await, Next::Refuse(_)));
        }
        let mut settled = Settled::default();
        assert!(matches!(next(&mut settled, &[Delivered, forbidden]).await, Next::TryAgain));
        assert!(matches!(next(&mut settled, &[Delivered]).await, Next::Answer(Ok(()))));
    }

    #[test]
    fn a_message_says_what_it_holds_and_whose_trace_it_is_of() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut message = Message::events("{}\n", 1);
        let names = |message: &Message| -> Vec<String> {
            headers(message).iter().map(|header| header.key.to_owned()).collect()
        };
        assert_eq!(names(&message), ["content-type", "schema", "events"]);
        message.traceparent = Some(trace.into());
        assert_eq!(names(&message), ["content-type", "schema", "events", "traceparent"]);
        let written = headers(&message);
        assert_eq!(written.get(3).value, Some(trace.as_bytes()));
        let bytes: usize =
            written.iter().map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len)).sum();
        assert!(bytes < 200, "as options.rs has it: {bytes}");
    }
}
