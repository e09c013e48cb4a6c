//! An outbox killed at each step of a transfer, against a real broker.

use std::time::{Duration, Instant};

use rdkafka::Message as _;
use tokio::sync::watch;

use super::*;
use crate::kafka::relay::Relay;
use crate::kafka::{KafkaConfig, OutboxConfig, outbox};
use crate::spool::Spool;
use crate::{Committer, Consumer as _, Delivery, EventLogMetrics, Message, Position, Producer as _};

/// Long enough for a slow machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    BeforeTransaction,
    Begun,
    Sent,
    SentAndFlushed,
    Noted,
    Committed,
    Remembered,
    /// Not a step of ours: what would be without the position in the transaction.
    CommittedWithoutPosition,
}

const STEPS: [Killed; 7] = [
    Killed::BeforeTransaction,
    Killed::Begun,
    Killed::Sent,
    Killed::SentAndFlushed,
    Killed::Noted,
    Killed::Committed,
    Killed::Remembered,
];

/// The first records of the outbox.
async fn first_records(spool: &Spool) -> (Vec<Record>, std::sync::Arc<dyn Committer>) {
    let mut consumer = spool.consumer("kafka").await.unwrap();
    loop {
        if let Delivery::Records { records, .. } = consumer.next(PATIENCE).await.unwrap() {
            return (records, consumer.committer());
        }
    }
}

/// A first life that ends at a step.
async fn live(kafka: &Kafka, spool: &Spool, until: Killed) {
    let (records, committer) = first_records(spool).await;
    let (kafka, directory) = (kafka.clone(), kafka.config.outbox.path.clone());
    let end = records[records.len() - 1].offset + 1;
    let work = tokio::task::spawn_blocking(move || {
        let session = Session::begin(&kafka, &outbox::name(&directory).unwrap()).unwrap();
        if until == Killed::BeforeTransaction {
            return;
        }
        session.open().unwrap();
        if until == Killed::Begun {
            return;
        }
        session.send(&records).unwrap();
        if until == Killed::Sent {
            return;
        }
        session.producer.flush(PATIENCE).unwrap();
        if until == Killed::SentAndFlushed {
            return;
        }
        if until != Killed::CommittedWithoutPosition {
            session.note(end).unwrap();
        }
        if until != Killed::Noted {
            session.commit().unwrap();
        }
    });
    work.await.unwrap();
    if until == Killed::Remembered {
        committer.commit(0, Position { offset: end, metadata: String::new() }).await.unwrap();
    }
}

/// What readers see, as soon as there are that many.
fn payloads(kafka: &Kafka, count: usize) -> Vec<String> {
    let mut config = kafka.config.consumer_client("onlooker");
    config.set("auto.offset.reset", "earliest");
    let reader: BaseConsumer = rdkafka::config::FromClientConfig::from_config(&config).unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..i32::try_from(kafka.config.partitions).unwrap() {
        all.add_partition_offset(&kafka.config.topic, partition, Offset::Beginning).unwrap();
    }
    reader.assign(&all).unwrap();
    let (mut found, started, mut last) = (Vec::new(), Instant::now(), Instant::now());
    // A second message of the same would come right after.
    while found.len() < count || last.elapsed() < Duration::from_secs(2) {
        assert!(started.elapsed() < PATIENCE, "{} of {count}", found.len());
        if let Some(Ok(message)) = reader.poll(Duration::from_millis(100)) {
            found.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
            last = Instant::now();
        }
    }
    found.sort();
    found
}

/// What readers of the topic see of 20 messages, whose first transfer ended at a step, and of one more.
async fn seen_after(broker: &testbed::Kafka, step: Killed, count: usize) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let kafka = Kafka::new(KafkaConfig {
        brokers: broker.bootstrap(),
        topic: format!("outbox-{step:?}"),
        dead_letters_topic: "outbox-dead".to_owned(),
        partitions: 3,
        outbox: OutboxConfig { enabled: true, path, ..OutboxConfig::default() },
        ..KafkaConfig::default()
    });
    kafka.open().await.unwrap();
    let spool = Spool::new(kafka.config.outbox.spool(&kafka.config.topic));
    let producer = spool.producer(EventLogMetrics::default());
    producer.append((0..20).map(message).collect()).await.unwrap();
    live(&kafka, &spool, step).await;

    let (end, is_ending) = watch::channel(false);
    let relay = tokio::spawn(Relay::new(kafka.clone(), spool, EventLogMetrics::default(), is_ending).run());
    producer.append(vec![message(20)]).await.unwrap();
    let seen = tokio::task::spawn_blocking(move || payloads(&kafka, count)).await.unwrap();
    end.send(true).unwrap();
    relay.await.unwrap();
    seen
}

fn message(number: usize) -> Message {
    Message::events(line(number), 1)
}

fn line(number: usize) -> String {
    format!("{number:02}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_killed_at_any_step_arrives_once() {
    let Some(broker) = testbed::shared_kafka() else { return };
    let once: Vec<_> = (0..21).map(line).collect();
    for step in STEPS {
        assert_eq!(seen_after(broker, step, once.len()).await, once, "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_position_in_the_transaction_it_would_arrive_twice() {
    let Some(broker) = testbed::shared_kafka() else { return };
    let twice: Vec<_> = (0..20).flat_map(|number| [line(number), line(number)]).chain([line(20)]).collect();
    assert_eq!(seen_after(broker, Killed::CommittedWithoutPosition, twice.len()).await, twice);
}
