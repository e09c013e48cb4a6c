//! One consumer of a mocked cluster: delivery, positions, back-pressure, lag, counting, closing. Faults are
//! `kafka_consume_faults.rs`', other members `kafka_group.rs`'.

use std::collections::BTreeMap;
use std::time::Duration;

use event_log::kafka::{Kafka, KafkaConfig};
use event_log::{
    CommitError, Consumer, ContentType, Delivery, EventLog, METADATA_BYTES_MAX, PartitionState, Position,
    Record, Schema,
};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};

use crate::kafka_topic::config;
use crate::{PATIENCE, position};

pub(crate) const TOPIC: &str = "events";
pub(crate) const GROUP: &str = "group";
/// Short enough that nobody notices; a call with it returns what is there.
const SOON: Duration = Duration::from_millis(300);

/// A topic in a cluster within this process.
pub(crate) struct World {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    pub(crate) kafka: Kafka,
    sender: FutureProducer,
}

impl World {
    pub(crate) fn new(partitions: i32, change: impl FnOnce(&mut KafkaConfig)) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, partitions, 1).unwrap();
        let mut config = config(&cluster.bootstrap_servers(), TOPIC);
        config.consumer.session_ms = 6000;
        change(&mut config);
        assert_eq!(config.check(), []);
        let kafka = Kafka::new(config);
        let sender = sender(&cluster.bootstrap_servers());
        Self { cluster, kafka, sender }
    }

    /// Sends messages as the producer does.
    pub(crate) async fn send(&self, partition: i32, payloads: impl IntoIterator<Item = String>) {
        for payload in payloads {
            let headers = headers(&[
                ("schema", "hoplog.event.v1"),
                ("content-type", "application/x-ndjson"),
                ("events", "1"),
            ]);
            self.send_as(partition, Some(&payload), Some(headers)).await;
        }
    }

    async fn send_as(&self, partition: i32, payload: Option<&str>, headers: Option<OwnedHeaders>) {
        let mut record: FutureRecord<'_, (), str> = FutureRecord::to(TOPIC).partition(partition);
        (record.payload, record.headers) = (payload, headers);
        self.sender.send(record, PATIENCE).await.unwrap();
    }

    pub(crate) async fn join(&self) -> Box<dyn Consumer> {
        self.kafka.consumer(GROUP).await.unwrap()
    }
}

pub(crate) fn sender(brokers: &str) -> FutureProducer {
    ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "0").create().unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> OwnedHeaders {
    let add = |headers: OwnedHeaders, (key, value): &(&str, &str)| {
        headers.insert(Header { key, value: Some(*value) })
    };
    pairs.iter().fold(OwnedHeaders::new(), add)
}

/// Payloads that tell their place.
pub(crate) fn numbers(range: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

/// The partitions that come first, with their positions.
pub(crate) async fn assigned(consumer: &mut Box<dyn Consumer>, count: usize) -> BTreeMap<u32, Position> {
    let mut positions = BTreeMap::new();
    while positions.len() < count {
        match consumer.next(PATIENCE).await.unwrap() {
            Delivery::Assigned { partition, position } => {
                assert!(positions.insert(partition, position).is_none());
            }
            other => panic!("{other:?}"),
        }
    }
    positions
}

/// Records until there are so many, of any partition, nothing else in between.
pub(crate) async fn records(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<(u32, Record)> {
    let mut read = Vec::new();
    while read.len() < count {
        match consumer.next(PATIENCE).await.unwrap() {
            Delivery::Records { partition, records } => {
                read.extend(records.into_iter().map(|record| (partition, record)));
            }
            other => panic!("{other:?} after {} of {count}", read.len()),
        }
    }
    read
}

fn offsets(records: &[(u32, Record)]) -> Vec<u64> {
    records.iter().map(|(_, record)| record.offset).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_in_the_topic_becomes_a_record() {
    let world = World::new(1, |_| {});
    world.send(0, ["{}\n".to_owned()]).await;
    world.send_as(0, Some("someone else's"), None).await;
    world.send_as(0, None, Some(headers(&[("schema", "x.v9"), ("events", "many")]))).await;
    let mut consumer = world.join().await;
    assert_eq!(consumer.topic(), TOPIC);
    assert_eq!(assigned(&mut consumer, 1).await[&0], position(0, ""));
    let read: Vec<_> = records(&mut consumer, 3).await.into_iter().map(|(_, record)| record).collect();
    let shape = |record: &Record| {
        assert!(record.appended_at_us > 1_600_000_000_000_000, "{record:?}");
        (
            record.offset,
            record.payload.clone(),
            record.events,
            record.schema.clone(),
            record.content_type.clone(),
        )
    };
    let none = || ContentType::Other("".into());
    let expected = [
        (0, "{}\n".into(), Some(1), Schema::Events, ContentType::Ndjson),
        (1, "someone else's".into(), None, Schema::Other("".into()), none()),
        (2, "".into(), None, Schema::Other("x.v9".into()), none()),
    ];
    assert_eq!(read.iter().map(shape).collect::<Vec<_>>(), expected);
    assert_eq!(consumer.next(SOON).await.unwrap(), Delivery::Idle);
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_range_is_read_again_and_its_intent_too() {
    let world = World::new(1, |_| {});
    world.send(0, numbers(0..10)).await;
    let mut first = world.join().await;
    assigned(&mut first, 1).await;
    let before = records(&mut first, 10).await;
    let committer = first.committer();
    committer.commit(0, position(4, "")).await.unwrap();
    committer.commit(0, position(4, "intent: to 7, policy 1")).await.unwrap();
    first.close().await;
    assert!(matches!(committer.commit(0, position(5, "")).await, Err(CommitError::Fenced)));
    let mut second = world.join().await;
    assert_eq!(assigned(&mut second, 1).await[&0], position(4, "intent: to 7, policy 1"));
    assert_eq!(records(&mut second, 6).await, before[4..]);
    second.committer().commit(0, position(8, "")).await.unwrap();
    let state = PartitionState { partition: 0, first_offset: 0, committed_offset: 8, end_offset: 10 };
    assert_eq!(world.kafka.partitions(GROUP).await.unwrap(), [state]);
    let new = PartitionState { committed_offset: 0, ..state };
    assert_eq!(world.kafka.partitions("another").await.unwrap(), [new]);
}

#[tokio::test(flavor = "multi_thread")]
async fn senseless_positions_are_refused() {
    let world = World::new(2, |_| {});
    world.send(0, numbers(0..2)).await;
    let mut consumer = world.join().await;
    assigned(&mut consumer, 2).await;
    records(&mut consumer, 2).await;
    let committer = consumer.committer();
    committer.commit(0, position(1, &"m".repeat(METADATA_BYTES_MAX))).await.unwrap();
    let long = "m".repeat(METADATA_BYTES_MAX + 1);
    for (partition, offset, metadata) in [(0, 0, ""), (0, 3, ""), (1, 1, ""), (0, 1, &long)] {
        let answer = committer.commit(partition, position(offset, metadata)).await;
        assert!(matches!(answer, Err(CommitError::Invalid(_))), "{partition} {offset}: {answer:?}");
    }
    assert!(matches!(committer.commit(2, position(0, "")).await, Err(CommitError::Fenced)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_partition_is_held_back_and_none_of_it_lost() {
    let world = World::new(2, |config| config.consumer.fetch_messages_max = 7);
    world.send(0, numbers(0..50)).await;
    world.send(1, numbers(0..50)).await;
    let mut consumer = world.join().await;
    assigned(&mut consumer, 2).await;
    let mut read: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    // Paused with records fetched ahead, again and again.
    let mut paused = 0;
    while read.values().map(Vec::len).sum::<usize>() < 100 {
        consumer.pause(paused);
        let delivery = consumer.next(SOON).await.unwrap();
        if let Delivery::Records { partition, records } = delivery {
            assert_ne!(partition, paused);
            assert!(records.len() <= 7);
            read.entry(partition).or_default().extend(records.iter().map(|record| record.offset));
        }
        consumer.resume(paused);
        paused = 1 - paused;
    }
    assert_eq!(read.into_values().collect::<Vec<_>>(), vec![(0..50).collect::<Vec<_>>(); 2]);
    consumer.pause(7);
    consumer.resume(7);
    consumer.release(0);
    world.send(0, numbers(50..51)).await;
    assert_eq!(offsets(&records(&mut consumer, 1).await), [50]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_bounded_in_bytes() {
    let world = World::new(1, |config| config.consumer.fetch_bytes_max = 10);
    world.send(0, (0..6).map(|_| "12345".to_owned())).await;
    world.send(0, ["a single larger one".to_owned()]).await;
    let mut consumer = world.join().await;
    assigned(&mut consumer, 1).await;
    let mut left = 7;
    while left > 0 {
        let read = records(&mut consumer, 1).await;
        let bytes: usize = read.iter().map(|(_, record)| record.payload.len()).sum();
        assert!(read.len() == 1 || bytes <= 10 + 19, "{read:?}");
        assert!(read[..read.len() - 1].iter().map(|(_, r)| r.payload.len()).sum::<usize>() < 10);
        left -= read.len();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_wait_loses_nothing() {
    let world = World::new(3, |config| config.consumer.fetch_messages_max = 3);
    let mut consumer = world.join().await;
    let sending = async {
        for number in 0..100 {
            world.send(number % 3, [number.to_string()]).await;
        }
    };
    let reading = async {
        let mut read: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        let (mut count, mut waits) = (0, 0);
        while count < 100 {
            waits += 1;
            // Drops the wait at every moment it can be in.
            let cut = Duration::from_micros(waits * 37 % 900);
            if let Ok(delivery) = tokio::time::timeout(cut, consumer.next(PATIENCE)).await
                && let Delivery::Records { partition, records } = delivery.unwrap()
            {
                count += records.len();
                read.entry(partition).or_default().extend(records.iter().map(|record| record.offset));
            }
        }
        read
    };
    let ((), read) = tokio::join!(sending, reading);
    let expected = BTreeMap::from([(0, (0..34).collect()), (1, (0..33).collect()), (2, (0..33).collect())]);
    assert_eq!(read, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_told_in_messages_and_in_time() {
    let world = World::new(2, |_| {});
    world.send(0, numbers(0..10)).await;
    let mut consumer = world.join().await;
    assigned(&mut consumer, 2).await;
    consumer.pause(0);
    // Known to be there since the assignment, although nothing of it was read.
    let lag = consumer.lag().await.unwrap();
    assert_eq!((lag[0].committed, lag[0].end, lag[0].messages()), (0, 10, 10));
    let since = lag[0].oldest_appended_at_us.unwrap();
    assert_eq!((lag[1].messages(), lag[1].oldest_appended_at_us), (0, None));
    assert_eq!(consumer.lag().await.unwrap()[0].oldest_appended_at_us, Some(since));
    consumer.resume(0);
    let read = records(&mut consumer, 10).await;
    let lag = consumer.lag().await.unwrap()[0];
    assert_eq!((lag.messages(), lag.oldest_appended_at_us), (10, Some(read[0].1.appended_at_us)));
    consumer.committer().commit(0, position(10, "")).await.unwrap();
    let lag = consumer.lag().await.unwrap()[0];
    assert_eq!((lag.committed, lag.messages(), lag.oldest_appended_at_us), (10, 0, None));
    // What comes later is seen although it is not delivered.
    consumer.pause(0);
    world.send(0, numbers(10..13)).await;
    while consumer.lag().await.unwrap()[0].messages() < 3 {
        assert_eq!(consumer.next(Duration::from_millis(50)).await.unwrap(), Delivery::Idle);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_counted_without_joining() {
    let world = World::new(2, |_| {});
    let of = |events: &'static str| {
        headers(&[
            ("schema", "hoplog.event.v1"),
            ("content-type", "application/x-ndjson"),
            ("events", events),
        ])
    };
    world.send_as(1, Some("{}\n{}\n"), Some(of("2"))).await;
    world.send_as(1, Some("{}\n"), Some(of("no number"))).await;
    world.send_as(1, Some("foreign"), None).await;
    world.send_as(1, None, Some(of("7"))).await;
    for (first, until, events) in [(0, 4, 11), (0, 0, 0), (1, 3, 2), (3, 4, 7), (4, 4, 0)] {
        assert_eq!(world.kafka.count_events(1, first, until).await.unwrap(), events, "{first}..{until}");
    }
    let error = world.kafka.count_events(1, 2, 5).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("messages 2 to 4") && source.contains("it holds 0 to 3"), "{source}");
}
