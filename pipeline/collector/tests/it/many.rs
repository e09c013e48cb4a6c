//! More partitions than memory has room for, all with data, while ClickHouse is away: memory stays bounded, and everything
//! is stored once it is back.

use collector::CollectorConfig;
use event_log::{Delivery, Position, Record};
use wide_event::Outcome;

use super::group::{Group, records};
use super::proxy::Fault;
use super::world::{World, eventually};

const PARTITIONS: u32 = 14;
const DELIVERIES: u64 = 20;
const MESSAGES: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_while_clickhouse_is_away() {
    let mut world = World::new("many_partitions").await;
    let events: Vec<_> = (0..DELIVERIES * MESSAGES).map(|_| world.event(Outcome::Ok)).collect();
    let log = records(0, &events);
    let delivery_bytes: usize = log[..MESSAGES as usize].iter().map(|record| record.payload.len()).sum();
    let delivery_bytes = delivery_bytes as u64;
    let (range_bytes_max, buffer_bytes_max) = (delivery_bytes * 4, delivery_bytes * 20);
    world.config =
        CollectorConfig { range_bytes_max, buffer_bytes_max, ranges_in_flight_max: 4, ..world.config };
    let deliver = |group: &Group, from: u64, partition: u32| {
        for records in log.chunks(MESSAGES as usize) {
            let records: Vec<Record> =
                records.iter().filter(|record| record.offset >= from).cloned().collect();
            if !records.is_empty() {
                group.tell(Delivery::Records { partition, records });
            }
        }
    };

    let group = Group::default();
    // Policy and tables are looked at first.
    let collector = world.collector_with(Box::new(group.clone()));
    eventually(async || collector.metrics.health.blocked_by().is_none()).await;
    world.proxy.break_all(Fault::Unavailable);
    for partition in 0..PARTITIONS {
        group.tell(Delivery::Assigned { partition, position: Position::default() });
    }
    (0..PARTITIONS).for_each(|partition| deliver(&group, 0, partition));
    let bound = (buffer_bytes_max + range_bytes_max + 2 * delivery_bytes) as f64;
    let held = || collector.metric("collector_buffered_bytes");
    eventually(async || group.state().paused.len() == PARTITIONS as usize && world.proxy.hits() > 8).await;
    assert!(held() <= bound && held() >= (buffer_bytes_max / 2) as f64, "{} of {bound}", held());
    let open = collector.metric("collector_open_intents");
    assert!((1.0..=4.0).contains(&open), "{open}");
    collector.kill().await;

    // Some ranges were begun. The next life reads them first, and then all the rest.
    let next = Group::default();
    next.state().positions = group.state().positions.clone();
    world.proxy.mend();
    let collector = world.collector_with(Box::new(next.clone()));
    for partition in 0..PARTITIONS {
        let position = next.position(partition);
        next.tell(Delivery::Assigned { partition, position: position.clone() });
        deliver(&next, position.offset, partition);
    }
    let all = DELIVERIES * MESSAGES;
    eventually(async || {
        assert!(collector.metric("collector_buffered_bytes") <= bound);
        (0..PARTITIONS).all(|partition| next.position(partition).offset == all)
    })
    .await;
    collector.stop().await;
    let expected = all * u64::from(PARTITIONS);
    assert_eq!(world.number("(SELECT sum(events) FROM ingest_ledger)").await, expected);
    assert_eq!(world.number("(SELECT sum(requests) FROM requests_by_minute)").await, expected);
}
