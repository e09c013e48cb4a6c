//! Retention at work in the background, and what the gauges say meanwhile.

use std::time::{Duration, Instant};

use event_log::spool::{Spool, SpoolConfig};
use event_log::{Consumer, EventLogMetrics, Message, Producer};
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::{PATIENCE, config, noise, position, records};

/// Polls until the gauges say so.
pub(crate) async fn gauges(registry: &Registry, lines: &[&str]) {
    let started = Instant::now();
    loop {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        if lines.iter().all(|line| text.lines().any(|l| l == *line)) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "no {lines:?} in\n{text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn consumed_messages_go_their_space_is_given_back_and_gauges_tell() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(SpoolConfig { retain_bytes: 3 << 20, ..config(dir.path()) });
    let (metrics, mut registry) = (EventLogMetrics::default(), Registry::default());
    metrics.register(&mut registry);
    let producer = spool.producer(metrics);
    for _ in 0..48 {
        producer.append(vec![Message::events(noise(1 << 20), 9)]).await.unwrap();
    }
    gauges(&registry, &["spool_depth_messages 48", "spool_depth_events 432"]).await;
    let mut consumer = spool.consumer("g").await.unwrap();
    let mut offset = 0;
    while offset < 40 {
        offset += records(&mut consumer).await.len() as u64;
    }
    consumer.committer().commit(0, position(40, "")).await.unwrap();
    gauges(
        &registry,
        &["spool_depth_messages 8", "spool_depth_events 72", "event_log_appended_events_total 432"],
    )
    .await;
    let started = Instant::now();
    let log = dir.path().join("spool/log.db");
    // Eight unconsumed, three retained, 16 MiB to reuse; the file shrinks at the next checkpoint.
    while spool.totals().await.unwrap()[0].first_offset != 37
        || std::fs::metadata(&log).unwrap().len() > 29 << 20
    {
        assert!(started.elapsed() < PATIENCE, "{:?}", spool.totals().await.unwrap());
        producer.append(vec![Message::producer("tick")]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let totals = spool.totals().await.unwrap().remove(0);
    assert_eq!((totals.events_total, totals.groups[0].events_consumed), (432, 360));
    let mut again = spool.consumer("new group").await.unwrap();
    assert_eq!(records(&mut again).await[0].offset, 37, "a new group starts at the oldest there is");
}
