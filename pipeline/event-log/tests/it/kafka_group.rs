//! Groups of consumers at a real broker: partitions that come and go under load, members that fall silent, names that
//! are used twice, messages that are deleted. Load and chance are `kafka_crew.rs`'.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use event_log::kafka::{Kafka, KafkaConfig};
use event_log::{CommitError, ConsumeError, Consumer, Delivery, EventLog, PartitionState};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use testbed::shared_kafka;

use crate::kafka_consume::{assigned, numbers, records, sender};
use crate::kafka_topic::{config, opened};
use crate::{PATIENCE, position};

/// A topic of its own at a broker, and who sends to it.
pub(crate) struct Topic {
    pub(crate) config: KafkaConfig,
    pub(crate) kafka: Kafka,
    sender: FutureProducer,
}

impl Topic {
    pub(crate) async fn new(brokers: &str, name: &str, partitions: u32) -> Self {
        let mut config = KafkaConfig { partitions, ..config(brokers, name) };
        (config.consumer.session_ms, config.consumer.poll_ms_max) = (6000, 6000);
        config.consumer.fetch_messages_max = 20;
        let kafka = opened(config.clone()).await;
        Self { config, kafka, sender: sender(brokers) }
    }

    pub(crate) async fn send(&self, partition: u32, payloads: impl IntoIterator<Item = String>) {
        for payload in payloads {
            let record: FutureRecord<'_, (), _> =
                FutureRecord::to(&self.config.topic).partition(partition as i32).payload(&payload);
            self.sender.send(record, PATIENCE).await.unwrap();
        }
    }

    /// A log whose consumer has a name.
    pub(crate) fn named(&self, instance: &str) -> Kafka {
        let mut config = self.config.clone();
        config.consumer.group_instance = Some(instance.to_owned());
        Kafka::new(config)
    }

    async fn join(&self, group: &str) -> Box<dyn Consumer> {
        EventLog::consumer(&self.kafka, group).await.unwrap()
    }

    pub(crate) async fn states(&self, group: &str) -> Vec<PartitionState> {
        loop {
            match self.kafka.partitions(group).await {
                Ok(states) => return states,
                Err(ConsumeError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

/// Polls until the consumer says something of interest.
pub(crate) async fn tells(consumer: &mut Box<dyn Consumer>) -> Delivery {
    loop {
        match consumer.next(PATIENCE).await.unwrap() {
            Delivery::Idle => {}
            other => return other,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_a_partition_when_it_is_released_with_what_was_committed() {
    let Some(broker) = shared_kafka() else { return };
    let topic = Topic::new(&broker.bootstrap(), "newcomer", 2).await;
    topic.send(0, numbers(0..10)).await;
    topic.send(1, numbers(0..10)).await;
    let mut old = topic.join("g").await;
    assigned(&mut old, 2).await;
    records(&mut old, 20).await;
    let committer = old.committer();
    let mut new = topic.join("g").await;
    let (given, kept) = tokio::select! {
        delivery = tells(&mut old) => match delivery {
            Delivery::Revoking { partition } => (partition, 1 - partition),
            other => panic!("{other:?}"),
        },
        delivery = tells(&mut new) => panic!("{delivery:?} before anything was released"),
    };
    // Still ours: what is open there is finished. The other one never noticed.
    committer.commit(given, position(4, "intent")).await.unwrap();
    committer.commit(kept, position(10, "")).await.unwrap();
    old.release(given);
    let refused = committer.commit(given, position(5, "")).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
    let delivery = tokio::select! {
        delivery = tells(&mut new) => delivery,
        delivery = tells(&mut old) => panic!("{delivery:?}"),
    };
    assert_eq!(delivery, Delivery::Assigned { partition: given, position: position(4, "intent") });
    topic.send(kept, numbers(10..12)).await;
    let (fresh, rest) = tokio::join!(records(&mut new, 6), records(&mut old, 2));
    assert_eq!(
        fresh.iter().map(|(p, r)| (*p, r.offset)).collect::<Vec<_>>(),
        (4..10).map(|o| (given, o)).collect::<Vec<_>>()
    );
    assert_eq!(rest.iter().map(|(p, r)| (*p, r.offset)).collect::<Vec<_>>(), [(kept, 10), (kept, 11)]);
    new.committer().commit(given, position(10, "")).await.unwrap();
    // Leaving gives it back at once.
    new.close().await;
    assert_eq!(tells(&mut old).await, Delivery::Assigned { partition: given, position: position(10, "") });
    committer.commit(given, position(10, "mine again")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_does_not_wait_for_a_revocation() {
    let Some(broker) = shared_kafka() else { return };
    let topic = Topic::new(&broker.bootstrap(), "leaving", 2).await;
    let mut old = topic.join("g").await;
    assigned(&mut old, 2).await;
    let mut new = topic.join("g").await;
    let told = tokio::select! {
        delivery = tells(&mut old) => delivery,
        delivery = tells(&mut new) => delivery,
    };
    assert!(matches!(told, Delivery::Revoking { .. }), "{told:?}");
    let started = Instant::now();
    old.close().await;
    assert_eq!(assigned(&mut new, 2).await.len(), 2);
    // A session is 6 s: nobody waited for one to end.
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    // Dropped without a word it leaves as well, also with a revocation pending.
    let mut third = topic.join("g").await;
    let told = tokio::select! {
        delivery = tells(&mut new) => delivery,
        delivery = tells(&mut third) => delivery,
    };
    assert!(matches!(told, Delivery::Revoking { .. }), "{told:?}");
    drop(new);
    assert_eq!(assigned(&mut third, 2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_not_polled_loses_what_it_has() {
    let Some(broker) = shared_kafka() else { return };
    let topic = Topic::new(&broker.bootstrap(), "silent", 2).await;
    topic.send(0, numbers(0..5)).await;
    let mut silent = topic.join("g").await;
    assigned(&mut silent, 2).await;
    records(&mut silent, 5).await;
    let committer = silent.committer();
    committer.commit(0, position(1, "intent")).await.unwrap();
    let mut other = topic.join("g").await;
    assert_eq!(assigned(&mut other, 2).await[&0], position(1, "intent"));
    records(&mut other, 4).await;
    other.committer().commit(0, position(3, "")).await.unwrap();
    // The group has forgotten it, whatever it still thinks.
    let refused = committer.commit(0, position(5, "")).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
    let mut lost = Vec::new();
    while lost.len() < 2 {
        match tells(&mut silent).await {
            Delivery::Revoked { partition } => lost.push(partition),
            // It was about to be asked for one of them when it was given up.
            Delivery::Revoking { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let refused = committer.commit(0, position(5, "")).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
    assert_eq!(topic.states("g").await[0].committed_offset, 3);
    // It comes back as a new member.
    let given = tokio::select! {
        delivery = tells(&mut silent) => panic!("{delivery:?} before anything was released"),
        delivery = tells(&mut other) => match delivery {
            Delivery::Revoking { partition } => partition,
            delivery => panic!("{delivery:?}"),
        },
    };
    other.release(given);
    let delivery = tokio::select! {
        delivery = tells(&mut silent) => delivery,
        delivery = tells(&mut other) => panic!("{delivery:?}"),
    };
    assert!(matches!(delivery, Delivery::Assigned { partition, .. } if partition == given), "{delivery:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_keeps_its_partitions_over_a_restart_and_fences_its_namesake() {
    let Some(broker) = shared_kafka() else { return };
    let topic = Topic::new(&broker.bootstrap(), "names", 4).await;
    let (one, two) = (topic.named("one"), topic.named("two"));
    let mut first = EventLog::consumer(&one, "g").await.unwrap();
    assigned(&mut first, 4).await;
    let mut second = EventLog::consumer(&two, "g").await.unwrap();
    let mut given = 0;
    let mut taken: BTreeMap<u32, _> = BTreeMap::new();
    while taken.len() < 2 {
        tokio::select! {
            delivery = tells(&mut first) => match delivery {
                Delivery::Revoking { partition } => { given += 1; first.release(partition) }
                other => panic!("{other:?}"),
            },
            delivery = tells(&mut second) => match delivery {
                Delivery::Assigned { partition, position } => { taken.insert(partition, position); }
                other => panic!("{other:?}"),
            },
        }
    }
    assert_eq!(given, 2);
    second.close().await;
    let mut again = EventLog::consumer(&two, "g").await.unwrap();
    let same = tokio::select! {
        same = assigned(&mut again, 2) => same,
        delivery = tells(&mut first) => panic!("{delivery:?}"),
    };
    assert_eq!(same, taken);
    // A second one of the same name takes over.
    let mut usurper = EventLog::consumer(&two, "g").await.unwrap();
    let taken_over = tokio::join!(assigned(&mut usurper, 2), fenced(&mut again));
    assert_eq!(taken_over.0, taken);
    let partition = *taken.keys().next().unwrap();
    let refused = again.committer().commit(partition, position(0, "zombie")).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
    assert!(matches!(again.next(PATIENCE).await, Err(ConsumeError::Fenced)));
    usurper.committer().commit(partition, position(0, "mine")).await.unwrap();
}

async fn fenced(consumer: &mut Box<dyn Consumer>) {
    loop {
        match consumer.next(PATIENCE).await {
            Ok(Delivery::Idle) => {}
            Err(ConsumeError::Fenced) => return,
            other => panic!("{other:?}"),
        }
    }
}

/// Takes the oldest messages of a partition away, as retention does.
async fn delete(topic: &Topic, before: u64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &topic.config.brokers).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic.config.topic, 0, Offset::Offset(before as i64)).unwrap();
    admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_were_deleted_too_early_are_not_passed_over() {
    let Some(broker) = shared_kafka() else { return };
    let mut topic = Topic::new(&broker.bootstrap(), "deleted", 1).await;
    topic.config.consumer.queue_bytes_max = 1 << 20;
    topic.kafka = Kafka::new(topic.config.clone());
    topic.send(0, (0..100).map(|_| "x".repeat(100_000))).await;
    let mut consumer = topic.join("g").await;
    assigned(&mut consumer, 1).await;
    let mut next = records(&mut consumer, 1).await.len() as u64;
    delete(&topic, 90).await;
    // What was fetched before still comes; what could not be fetched is not skipped.
    let error = loop {
        match consumer.next(PATIENCE).await {
            Ok(Delivery::Records { records, .. }) => {
                assert_eq!(records[0].offset, next);
                next += records.len() as u64;
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(next < 90);
    assert!(matches!(error, ConsumeError::Broken(_)), "{error:?}");
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains(&format!("partition 0 can't be read on from offset {next}")), "{text}");
    assert_eq!(tells(&mut consumer).await, Delivery::Revoked { partition: 0 });
    // The group never committed, so it begins with what there is.
    assert_eq!(assigned(&mut consumer, 1).await[&0], position(90, ""));
    let committer = consumer.committer();
    records(&mut consumer, 5).await;
    committer.commit(0, position(92, "")).await.unwrap();
    consumer.close().await;
    delete(&topic, 95).await;
    let mut again = topic.join("g").await;
    let error = again.next(PATIENCE).await.unwrap_err();
    assert!(matches!(error, ConsumeError::Broken(_)), "{error:?}");
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.starts_with("messages 92 to 94 of deleted, partition 0, were deleted"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_of_transactions_are_not_behind() {
    let Some(broker) = shared_kafka() else { return };
    let topic = Topic::new(&broker.bootstrap(), "transactions", 1).await;
    let sender: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("transactional.id", "marks")
        .create()
        .unwrap();
    sender.init_transactions(PATIENCE).unwrap();
    let send = async |payload: &str| {
        let record: FutureRecord<'_, (), _> = FutureRecord::to("transactions").payload(payload);
        sender.send(record, PATIENCE).await.unwrap();
    };
    for end in ["aborted", "committed", "committed", "aborted"] {
        sender.begin_transaction().unwrap();
        send(end).await;
        match end {
            "aborted" => sender.abort_transaction(PATIENCE).unwrap(),
            _ => sender.commit_transaction(PATIENCE).unwrap(),
        }
    }
    let mut consumer = topic.join("g").await;
    assigned(&mut consumer, 1).await;
    let read = records(&mut consumer, 2).await;
    // Two of each message and its mark were aborted.
    assert_eq!(read.iter().map(|(_, record)| record.offset).collect::<Vec<_>>(), [2, 4]);
    let lag = consumer.lag().await.unwrap()[0];
    assert_eq!((lag.committed, lag.end, lag.oldest_appended_at_us), (0, 8, Some(read[0].1.appended_at_us)));
    consumer.committer().commit(0, position(5, "")).await.unwrap();
    loop {
        assert_eq!(consumer.next(Duration::from_millis(50)).await.unwrap(), Delivery::Idle);
        let lag = consumer.lag().await.unwrap()[0];
        if lag.messages() == 0 {
            assert_eq!((lag.end, lag.oldest_appended_at_us), (8, None));
            break;
        }
    }
    assert_eq!(topic.states("g").await[0].committed_offset, 5);
    assert_eq!(topic.kafka.count_events(0, 0, 8).await.unwrap(), 2);
    assert_eq!(topic.kafka.count_events(0, 2, 5).await.unwrap(), 2);
}
