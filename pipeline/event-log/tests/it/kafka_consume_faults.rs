//! One consumer of a mocked cluster whose brokers answer with errors, late or not at all.

use std::time::{Duration, Instant};

use event_log::{CommitError, ConsumeError, Consumer, Delivery, EventLog};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr as Answer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka_consume::{GROUP, TOPIC, World, assigned, numbers, records};
use crate::{PATIENCE, position};

/// What a person sees of an error.
fn source(error: &ConsumeError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

async fn joined(world: &World) -> Box<dyn Consumer> {
    world.send(0, numbers(0..10)).await;
    let mut consumer = world.join().await;
    assigned(&mut consumer, 1).await;
    records(&mut consumer, 10).await;
    consumer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_waits_for_a_rebalance_and_for_a_coordinator() {
    // Finding a coordinator anew takes librdkafka some seconds.
    let world = World::new(1, |config| config.consumer.session_ms = 45_000);
    let consumer = joined(&world).await;
    let committer = consumer.committer();
    let passing = [
        vec![Answer::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS; 3],
        vec![Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS],
        vec![Answer::RD_KAFKA_RESP_ERR_NOT_COORDINATOR],
        vec![Answer::RD_KAFKA_RESP_ERR__TRANSPORT],
    ];
    for (answers, offset) in passing.iter().zip(1..) {
        world.cluster.request_errors(Request::OffsetCommit, answers);
        let answer = committer.commit(0, position(offset, "m")).await;
        assert!(answer.is_ok(), "{answers:?}: {answer:?}");
        assert_eq!(world.kafka.partitions(GROUP).await.unwrap()[0].committed_offset, offset);
    }
    let refused = [Answer::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED];
    world.cluster.request_errors(Request::OffsetCommit, &refused);
    let answer = committer.commit(0, position(9, "")).await;
    assert!(matches!(answer, Err(CommitError::Broken(_))), "{answer:?}");
    let small = [Answer::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE];
    world.cluster.request_errors(Request::OffsetCommit, &small);
    let answer = committer.commit(0, position(9, "")).await;
    assert!(matches!(answer, Err(CommitError::Invalid(_))), "{answer:?}");
    committer.commit(0, position(9, "")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_not_answered_is_given_up_and_none_overtakes_it() {
    let world = World::new(1, |_| {});
    let mut consumer = joined(&world).await;
    let committer = consumer.committer();
    world.cluster.broker_down(-1).unwrap();
    // Both wait for the one coordinator; dropping the first changes nothing about the order.
    let first = tokio::time::timeout(Duration::from_millis(300), committer.commit(0, position(3, "first")));
    assert!(first.await.is_err());
    let second = committer.commit(0, position(5, "second"));
    let reading = async {
        loop {
            match consumer.next(PATIENCE).await {
                Ok(Delivery::Revoked { .. }) => break,
                Ok(Delivery::Idle) | Err(ConsumeError::Unavailable(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let answer = tokio::select! {
        answer = second => answer,
        () = reading => Err(CommitError::Fenced),
    };
    assert!(matches!(answer, Err(CommitError::Unavailable(_) | CommitError::Fenced)), "{answer:?}");
    world.cluster.broker_up(-1).unwrap();
    loop {
        match consumer.next(PATIENCE).await {
            Ok(Delivery::Assigned { position, .. }) => {
                assert!([0, 3, 5].contains(&position.offset), "{position:?}");
                break;
            }
            Ok(Delivery::Revoked { .. } | Delivery::Idle) | Err(ConsumeError::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_member_any_more_loses_everything_and_joins_anew() {
    let world = World::new(1, |_| {});
    let mut consumer = joined(&world).await;
    let committer = consumer.committer();
    committer.commit(0, position(4, "intent")).await.unwrap();
    world.cluster.request_errors(Request::OffsetCommit, &[Answer::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    let answer = committer.commit(0, position(5, "")).await;
    assert!(matches!(answer, Err(CommitError::Fenced)), "{answer:?}");
    assert_eq!(consumer.next(PATIENCE).await.unwrap(), Delivery::Revoked { partition: 0 });
    let answer = committer.commit(0, position(5, "")).await;
    assert!(matches!(answer, Err(CommitError::Fenced)), "{answer:?}");
    assert_eq!(assigned(&mut consumer, 1).await[&0], position(4, "intent"));
    assert_eq!(records(&mut consumer, 6).await[0].1.offset, 4);
    // The same, when the heart beat says it.
    world.cluster.request_errors(Request::Heartbeat, &[Answer::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    assert_eq!(consumer.next(PATIENCE).await.unwrap(), Delivery::Revoked { partition: 0 });
    assert_eq!(assigned(&mut consumer, 1).await[&0], position(4, "intent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namesake_fences() {
    let world = World::new(1, |config| config.consumer.group_instance = Some("one".to_owned()));
    let mut consumer = joined(&world).await;
    world.cluster.request_errors(Request::Heartbeat, &[Answer::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID]);
    for _ in 0..2 {
        let answer = consumer.next(PATIENCE).await;
        assert!(matches!(answer, Err(ConsumeError::Fenced)), "{answer:?}");
    }
    let answer = consumer.committer().commit(0, position(1, "")).await;
    assert!(matches!(answer, Err(CommitError::Fenced)), "{answer:?}");
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_asked_for_until_they_are_known() {
    let world = World::new(1, |_| {});
    world.send(0, numbers(0..3)).await;
    let passing = [Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 4];
    world.cluster.request_errors(Request::OffsetFetch, &passing);
    let moving = [Answer::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 3];
    world.cluster.request_errors(Request::ListOffsets, &moving);
    let mut consumer = world.join().await;
    assert_eq!(assigned(&mut consumer, 1).await[&0], position(0, ""));
    assert_eq!(records(&mut consumer, 3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_come_back_are_read_on() {
    let world = World::new(1, |_| {});
    let mut consumer = joined(&world).await;
    world.cluster.broker_down(-1).unwrap();
    assert_eq!(consumer.next(Duration::from_secs(1)).await.unwrap(), Delivery::Idle);
    world.cluster.broker_up(-1).unwrap();
    world.send(0, numbers(10..12)).await;
    let mut next = 10;
    while next < 12 {
        match consumer.next(PATIENCE).await.unwrap() {
            Delivery::Records { records, .. } => {
                for record in records {
                    assert_eq!(record.offset, next);
                    next += 1;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Sets the group's position, as Kafka's own tools do.
fn set_offset(world: &World, offset: i64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", world.cluster.bootstrap_servers())
        .set("group.id", GROUP)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_not_in_the_log_stops_until_somebody_mends_it() {
    let world = World::new(1, |_| {});
    world.send(0, numbers(0..5)).await;
    set_offset(&world, 9);
    let mut consumer = world.join().await;
    let error = consumer.next(PATIENCE).await.unwrap_err();
    assert!(matches!(error, ConsumeError::Broken(_)), "{error:?}");
    assert!(source(&error).contains("at offset 9 of events, partition 0, which ends at 5"), "{error:?}");
    // Whoever asks again, looks again.
    world.send(0, numbers(5..10)).await;
    assert_eq!(assigned(&mut consumer, 1).await[&0], position(9, ""));
    assert_eq!(records(&mut consumer, 1).await[0].1.offset, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_or_missing_is_said() {
    let world = World::new(1, |_| {});
    world
        .cluster
        .request_errors(Request::JoinGroup, &[Answer::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 20]);
    let mut consumer = world.join().await;
    let error = consumer.next(PATIENCE).await.unwrap_err();
    assert!(matches!(error, ConsumeError::Broken(_)), "{error:?}");
    world.cluster.topic_error(TOPIC, Answer::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    let error = EventLog::consumer(&world.kafka, GROUP).await.err().unwrap();
    assert!(matches!(error, ConsumeError::Unavailable(_)), "{error:?}");
    world.cluster.topic_error(TOPIC, Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let error = EventLog::consumer(&world.kafka, GROUP).await.err().unwrap();
    assert!(matches!(error, ConsumeError::Broken(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_is_bounded_when_nobody_answers() {
    let world = World::new(1, |_| {});
    let consumer = joined(&world).await;
    world.cluster.broker_down(-1).unwrap();
    let started = Instant::now();
    consumer.close().await;
    assert!(started.elapsed() < PATIENCE);
}
