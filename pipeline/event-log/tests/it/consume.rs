//! One process: delivery, positions, fencing, back-pressure, closing.

use std::time::Duration;

use event_log::spool::{Spool, SpoolConfig};
use event_log::{
    AppendError, CommitError, ConsumeError, Consumer, ContentType, Delivery, EventLogMetrics,
    METADATA_BYTES_MAX, Message, PAYLOAD_BYTES_MAX, Producer, Schema,
};

use crate::{PATIENCE, config, position, records, spool};

#[tokio::test]
async fn what_goes_in_comes_out_with_its_headers() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let producer: Box<dyn Producer> = Box::new(spool.producer(EventLogMetrics::default()));
    let odd = Message {
        payload: vec![0, 255].into(),
        events: 0,
        schema: Schema::Other("x.v9".into()),
        content_type: ContentType::Other("".into()),
        traceparent: None,
    };
    let sent = vec![Message::events("{}\n{}\n", 2), Message::producer("{}\n"), odd];
    producer.append(sent.clone()).await.unwrap();
    producer.append(Vec::new()).await.unwrap();
    let mut consumer = spool.consumer("g").await.unwrap();
    assert_eq!(consumer.topic(), event_log::EVENTS_TOPIC);
    let assigned = Delivery::Assigned { partition: 0, position: position(0, "") };
    assert_eq!(consumer.next(PATIENCE).await.unwrap(), assigned);
    let read = records(&mut consumer).await;
    assert_eq!(read.iter().map(|r| r.offset).collect::<Vec<_>>(), [0, 1, 2]);
    for (record, message) in read.iter().zip(sent) {
        assert_eq!(record.events, Some(message.events));
        assert!(record.appended_at_us > 1_600_000_000_000_000);
        assert_eq!((&record.payload, &record.schema), (&message.payload, &message.schema));
        assert_eq!(record.content_type, message.content_type);
    }
    assert_eq!(consumer.next(Duration::ZERO).await.unwrap(), Delivery::Idle);
}

#[tokio::test]
async fn the_committed_range_is_read_again_and_its_intent_too() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let producer = spool.producer(EventLogMetrics::default());
    for n in 0..10 {
        producer.append(vec![Message::events(n.to_string(), 1)]).await.unwrap();
    }
    let mut first = spool.consumer("g").await.unwrap();
    let before = records(&mut first).await;
    first.committer().commit(0, position(4, "")).await.unwrap();
    first.committer().commit(0, position(4, "intent: to 7, policy 1")).await.unwrap();
    drop(first);
    let mut second = spool.consumer("g").await.unwrap();
    let assigned = Delivery::Assigned { partition: 0, position: position(4, "intent: to 7, policy 1") };
    assert_eq!(second.next(PATIENCE).await.unwrap(), assigned);
    assert_eq!(records(&mut second).await, before[4..]);
    let lag = second.lag().await.unwrap()[0];
    assert_eq!((lag.committed, lag.end, lag.messages()), (4, 10, 6));
    assert_eq!(lag.oldest_appended_at_us, Some(before[4].appended_at_us));
    second.committer().commit(0, position(10, "")).await.unwrap();
    assert_eq!(second.lag().await.unwrap()[0].oldest_appended_at_us, None);
}

#[tokio::test]
async fn a_newer_consumer_fences_the_older() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let producer = spool.producer(EventLogMetrics::default());
    producer.append(vec![Message::events("a", 1)]).await.unwrap();
    let mut old = spool.consumer("g").await.unwrap();
    records(&mut old).await;
    let mut other_group = spool.consumer("h").await.unwrap();
    old.committer().commit(0, position(0, "still mine")).await.unwrap();
    let mut new = spool.consumer("g").await.unwrap();
    assert!(matches!(old.committer().commit(0, position(1, "")).await, Err(CommitError::Fenced)));
    assert!(matches!(old.next(PATIENCE).await, Err(ConsumeError::Fenced)));
    let assigned = Delivery::Assigned { partition: 0, position: position(0, "still mine") };
    assert_eq!(new.next(PATIENCE).await.unwrap(), assigned);
    records(&mut new).await;
    new.committer().commit(0, position(1, "")).await.unwrap();
    records(&mut other_group).await;
    other_group.committer().commit(0, position(1, "")).await.unwrap();
}

#[tokio::test]
async fn senseless_positions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let producer = spool.producer(EventLogMetrics::default());
    producer.append(vec![Message::events("a", 1), Message::events("b", 1)]).await.unwrap();
    let mut consumer = spool.consumer("g").await.unwrap();
    records(&mut consumer).await;
    consumer.committer().commit(0, position(1, &"m".repeat(METADATA_BYTES_MAX))).await.unwrap();
    let long = "m".repeat(METADATA_BYTES_MAX + 1);
    for (partition, offset, metadata) in [(0, 0, ""), (0, 3, ""), (1, 0, ""), (0, 1, &long)] {
        let answer = consumer.committer().commit(partition, position(offset, metadata)).await;
        assert!(matches!(answer, Err(CommitError::Invalid(_))), "{partition} {offset}: {answer:?}");
    }
}

#[tokio::test]
async fn a_paused_partition_is_held_back_and_none_of_it_lost() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(SpoolConfig { partitions: 2, fetch_messages_max: 1, ..config(dir.path()) });
    let producer = spool.producer(EventLogMetrics::default());
    for n in 0..6 {
        producer.append(vec![Message::events(n.to_string(), 1)]).await.unwrap();
    }
    let mut consumer = spool.consumer("g").await.unwrap();
    let mut seen = Vec::new();
    consumer.pause(0);
    for resume in [false, true] {
        if resume {
            consumer.resume(0);
        }
        loop {
            match consumer.next(Duration::ZERO).await.unwrap() {
                Delivery::Records { partition, records } => seen.push((partition, records[0].offset)),
                Delivery::Assigned { .. } => {}
                _ => break,
            }
        }
    }
    assert_eq!(seen, [(1, 0), (1, 1), (1, 2), (0, 0), (0, 1), (0, 2)]);
}

#[tokio::test]
async fn a_waiting_consumer_is_woken_and_a_dropped_wait_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let producer = spool.producer(EventLogMetrics::default());
    let mut consumer = spool.consumer("g").await.unwrap();
    consumer.next(PATIENCE).await.unwrap();
    let appending = tokio::spawn(async move {
        for n in 0..50 {
            producer.append(vec![Message::events(n.to_string(), 1)]).await.unwrap();
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 50 {
        // Drops the future at every moment it can be in.
        let cut = Duration::from_micros(seen.len() as u64 * 37 % 900);
        if let Ok(Ok(Delivery::Records { records, .. })) =
            tokio::time::timeout(cut, consumer.next(PATIENCE)).await
        {
            seen.extend(records.iter().map(|r| r.offset));
        } else if let Delivery::Records { records, .. } = consumer.next(Duration::ZERO).await.unwrap() {
            seen.extend(records.iter().map(|r| r.offset));
        }
    }
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
    appending.await.unwrap();
}

#[tokio::test]
async fn one_call_is_all_or_nothing_and_closing_finishes_what_was_called() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let producer = spool.producer(EventLogMetrics::default());
    let too_large = vec![Message::events("a", 1), Message::events(vec![b'x'; PAYLOAD_BYTES_MAX + 1], 1)];
    let error = producer.append(too_large).await.unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { .. }) && !error.is_retryable(), "{error:?}");
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.append(vec![Message::events("b", 1)]).await })
        })
        .collect();
    let mut accepted = 0;
    let first = producer.append(vec![Message::events("b", 1)]).await;
    assert!(first.is_ok(), "{first:?}");
    producer.close().await;
    for call in calls {
        match call.await.unwrap() {
            Ok(()) => accepted += 1,
            Err(AppendError::Closed) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(spool.totals().await.unwrap()[0].end_offset, accepted + 1);
    assert!(matches!(producer.append(vec![Message::events("c", 1)]).await, Err(AppendError::Closed)));
    producer.close().await;
}

#[tokio::test]
async fn partitions_can_be_added_while_a_consumer_reads() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let mut consumer = spool.consumer("g").await.unwrap();
    consumer.next(PATIENCE).await.unwrap();
    let wider = Spool::new(SpoolConfig { partitions: 3, ..config(dir.path()) });
    wider.open().await.unwrap();
    for partition in [1, 2] {
        let assigned = Delivery::Assigned { partition, position: position(0, "") };
        assert_eq!(consumer.next(PATIENCE).await.unwrap(), assigned);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_may_create_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let opening: Vec<_> = (0..8)
        .map(|n| {
            let spool = spool(dir.path());
            tokio::spawn(async move {
                let producer = spool.producer(EventLogMetrics::default());
                producer.append(vec![Message::events(n.to_string(), 1)]).await.unwrap();
                spool.consumer(&format!("group {n}")).await.unwrap();
                producer.close().await;
            })
        })
        .collect();
    for task in opening {
        task.await.unwrap();
    }
    let totals = spool(dir.path()).totals().await.unwrap();
    assert_eq!((totals.len(), totals[0].end_offset, totals[0].groups.len()), (1, 8, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_another_process_misses_no_append() {
    let dir = tempfile::tempdir().unwrap();
    let producer = spool(dir.path()).producer(EventLogMetrics::default());
    // Not the producer's `Spool`: nobody tells this one, as in another process.
    let mut consumer = spool(dir.path()).consumer("g").await.unwrap();
    let mut offset = 0;
    for _ in 0..40 {
        // Two right after each other: often within one tick of the file system's clock.
        let appending = tokio::spawn({
            let producer = producer.clone();
            async move {
                for _ in 0..2 {
                    producer.append(vec![Message::events("a", 1)]).await.unwrap();
                }
            }
        });
        let end = offset + 2;
        while offset < end {
            offset += records(&mut consumer).await.len() as u64;
        }
        appending.await.unwrap();
    }
}
