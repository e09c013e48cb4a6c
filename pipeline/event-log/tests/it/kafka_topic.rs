//! A topic as anybody sees it, read with a client that knows nothing of ours; and what tests of producers share.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use event_log::kafka::{Kafka, KafkaConfig};
use event_log::{EventLogMetrics, Message};
use prometheus_client::registry::Registry;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::PATIENCE;

/// A message as it lies in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) payload: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Line {
    fn new(message: &BorrowedMessage<'_>) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            payload: text(message.payload()),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
        }
    }
}

/// Everything in a topic that is committed, partition by partition.
pub(crate) fn read_all(brokers: &str, topic: &str) -> Vec<Line> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "onlooker").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let mut lines = Vec::new();
    for partition in metadata.topics()[0].partitions() {
        let (first, end) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE).unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition.id(), Offset::Offset(first)).unwrap();
        consumer.assign(&list).unwrap();
        let started = Instant::now();
        // Transactions end with a marker, which is no message: the position tells.
        let mut next = first;
        while next < end {
            assert!(started.elapsed() < PATIENCE, "{topic}/{}: {next} of {end}", partition.id());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                lines.push(Line::new(&message));
            }
            let position = consumer.position().unwrap();
            if let Some(Offset::Offset(offset)) =
                position.find_partition(topic, partition.id()).map(|p| p.offset())
            {
                next = offset;
            }
        }
    }
    lines
}

/// A configuration for tests: small batches, quick to reconnect.
pub(crate) fn config(brokers: &str, topic: &str) -> KafkaConfig {
    let mut config = KafkaConfig {
        brokers: brokers.to_owned(),
        topic: topic.to_owned(),
        dead_letters_topic: format!("{topic}.dead"),
        partitions: 3,
        ..KafkaConfig::default()
    };
    config.properties.insert("reconnect.backoff.max.ms".to_owned(), "300".to_owned());
    assert_eq!(config.check(), []);
    config
}

/// Message `number` of a stream, as an event.
pub(crate) fn event(number: usize) -> Message {
    Message::events(format!("{{\"seq\":{number}}}\n"), 1)
}

/// The number of a message that [`event`] made.
pub(crate) fn number(line: &Line) -> usize {
    line.payload.trim().trim_start_matches("{\"seq\":").trim_end_matches('}').parse().unwrap()
}

/// That each of `0..count` is there once, and in order within each partition.
pub(crate) fn assert_each_once(lines: &[Line], count: usize) {
    let mut numbers: Vec<_> = lines.iter().map(number).collect();
    for pair in lines.windows(2).filter(|pair| pair[0].partition == pair[1].partition) {
        assert!(number(&pair[0]) < number(&pair[1]), "out of order: {pair:?}");
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}

/// The value of a metric, by its name and labels as they are scraped.
pub(crate) fn metric(metrics: &EventLogMetrics, line: &str) -> f64 {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    found.map_or(0.0, |value| value.parse().unwrap())
}

/// Waits until it holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A log in a topic that is made and checked.
pub(crate) async fn opened(config: KafkaConfig) -> Kafka {
    let kafka = Kafka::new(config);
    kafka.open().await.unwrap();
    kafka
}
