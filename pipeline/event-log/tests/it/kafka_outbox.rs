//! Events by way of this machine's disk, with a real broker that is away.

use std::path::Path;
use std::time::Instant;

use event_log::kafka::{KafkaConfig, OutboxConfig};
use event_log::{AppendError, EventLogMetrics, Message, Packer};
use testbed::KafkaOptions;

use crate::PATIENCE;
use crate::kafka_topic::{config, event, metric, number, opened, read_all, until};

fn by_disk(brokers: &str, topic: &str, directory: &Path) -> KafkaConfig {
    let outbox = OutboxConfig { enabled: true, path: directory.join("outbox"), ..OutboxConfig::default() };
    KafkaConfig { outbox, ..config(brokers, topic) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_appended_without_a_broker_arrives_once_over_restarts() {
    let Some(broker) = testbed::Kafka::start(KafkaOptions::default()) else { return };
    let directory = tempfile::tempdir().unwrap();
    let kafka = opened(by_disk(&broker.bootstrap(), "late", directory.path())).await;
    let first = EventLogMetrics::default();
    let producer = kafka.producer(first.clone()).unwrap();
    for call in 0..10 {
        producer.append((call * 10..call * 10 + 10).map(event).collect()).await.unwrap();
    }
    until("some are handed on", || metric(&first, "kafka_relayed_messages_total") > 0.0).await;

    broker.kill();
    for call in 10..50 {
        producer.append((call * 10..call * 10 + 10).map(event).collect()).await.unwrap();
    }
    // The process dies, and the next one starts before the broker does.
    drop(producer);
    let second = EventLogMetrics::default();
    let producer = kafka.producer(second.clone()).unwrap();
    producer.append((500..510).map(event).collect()).await.unwrap();
    let broker = tokio::task::spawn_blocking(move || {
        broker.restart();
        broker
    });
    let broker = broker.await.unwrap();
    until("the outbox is empty", || {
        metric(&second, "kafka_relayed_messages_total") > 0.0
            && metric(&second, "spool_depth_messages") == 0.0
    })
    .await;
    producer.close().await;
    assert!(matches!(producer.append(vec![event(510)]).await, Err(AppendError::Closed)));
    let mut numbers: Vec<_> = read_all(&broker.bootstrap(), "late").iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..510).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_hands_on_what_there_is_and_a_message_too_large_never_gets_in() {
    let Some(broker) = testbed::shared_kafka() else { return };
    let directory = tempfile::tempdir().unwrap();
    let kafka = opened(by_disk(&broker.bootstrap(), "end", directory.path())).await;
    let metrics = EventLogMetrics::default();
    let producer = kafka.producer(metrics.clone()).unwrap();
    let large = vec![b' '; 1_000_001];
    let packed = Message::packed_events(Packer::default().pack(&large).unwrap(), 1);
    for large in [Message::events(large, 1), packed] {
        let error = producer.append(vec![large]).await.unwrap_err();
        assert!(matches!(error, AppendError::TooLarge { .. }), "{error:?}");
    }
    assert!(producer.takes_packed());
    let packed = Packer::default().pack(&[b' '; 100_000]).unwrap();
    producer.append((0..99).map(event).chain([Message::packed_events(packed, 1)]).collect()).await.unwrap();
    producer.close().await;
    let read = read_all(&broker.bootstrap(), "end");
    assert_eq!(read.len(), 100);
    assert_eq!(read.iter().filter(|line| line.payload == " ".repeat(100_000)).count(), 1, "as it was");
    assert_eq!(metric(&metrics, "kafka_relayed_events_total"), 100.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_the_newer_hands_on_and_both_append() {
    let Some(broker) = testbed::shared_kafka() else { return };
    let directory = tempfile::tempdir().unwrap();
    let kafka = opened(by_disk(&broker.bootstrap(), "two", directory.path())).await;
    let (older, newer) = (EventLogMetrics::default(), EventLogMetrics::default());
    let first = kafka.producer(older.clone()).unwrap();
    first.append((0..50).map(event).collect()).await.unwrap();
    until("the older hands on", || metric(&older, "kafka_relayed_messages_total") > 0.0).await;
    let second = kafka.producer(newer.clone()).unwrap();
    // The older goes on until the newer has found the way.
    let (mut count, started) = (50, Instant::now());
    while metric(&newer, "kafka_relayed_messages_total") == 0.0 {
        assert!(started.elapsed() < PATIENCE, "the newer does not hand on");
        let producer = if count % 20 == 0 { &first } else { &second };
        producer.append((count..count + 10).map(event).collect()).await.unwrap();
        count += 10;
    }
    first.close().await;
    second.close().await;
    let mut numbers: Vec<_> = read_all(&broker.bootstrap(), "two").iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}
