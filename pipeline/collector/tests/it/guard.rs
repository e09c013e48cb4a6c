//! A range that comes back too late: ClickHouse may have forgotten its tokens, so nothing is inserted until a person has
//! decided.

use collector::CollectorConfig;
use event_log::{Delivery, Position};
use wide_event::Outcome;

use super::group::{Group, TOPIC, records};
use super::proxy::Fault;
use super::world::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_range_outside_the_deduplication_window_waits_for_a_person() {
    let mut world = World::new("forgotten").await;
    let group = Group::default();
    let events: Vec<_> = (0..5).map(|_| world.event(Outcome::ServerError)).collect();
    let all = records(0, &events);
    world.proxy.plan("requests", Fault::Hang, 1);
    let collector = world.collector_with(Box::new(group.clone()));
    group.assign(0, all.clone());
    world.proxy.hit().await;
    collector.kill().await;
    // As if as many ranges of another partition had been stored meanwhile as a quarter of the window holds.
    let sql = format!(
        "INSERT INTO ingest_ledger (topic, log_partition, first_offset, last_offset, messages, collected_at) \
         SELECT '{TOPIC}', 9, number, number, 1, now64(6) FROM numbers({})",
        warehouse::DEDUP_WINDOW / 4
    );
    world.warehouse.execute(&sql).await.unwrap();

    let collector = world.collector_with(Box::new(group.clone()));
    group.assign(0, all.clone());
    eventually(async || collector.metrics.health.blocked_by().is_some_and(|why| why.contains("forgotten")))
        .await;
    assert_eq!(collector.metric("collector_gate_open"), 0.0);
    // Another partition goes on.
    let others = [world.event(Outcome::ServerError)];
    group.assign(1, records(0, &others));
    eventually(async || group.position(1) == Position { offset: 1, metadata: String::new() }).await;
    assert_eq!(world.number("(SELECT count() FROM requests)").await, 1);
    assert_eq!(group.position(0).offset, 0);
    collector.kill().await;

    let insert_anyway = vec![format!("{TOPIC}:0:0-4")];
    world.config = CollectorConfig { insert_anyway, ..world.config };
    let collector = world.collector_with(Box::new(group.clone()));
    group.assign(0, all);
    eventually(async || group.position(0) == Position { offset: 5, metadata: String::new() }).await;
    collector.stop().await;
    assert_eq!(world.number("(SELECT count() FROM requests)").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_of_another_version_blocks_its_partition_and_no_other() {
    let world = World::new("unknown_intent").await;
    let group = Group::default();
    let collector = world.collector_with(Box::new(group.clone()));
    let events: Vec<_> = (0..5).map(|_| world.event(Outcome::ServerError)).collect();
    let position = Position { offset: 0, metadata: "{\"v\":99}".to_owned() };
    group.state().positions.insert(0, position.clone());
    group.assign(0, records(0, &events));
    eventually(async || collector.metrics.health.blocked_by().is_some_and(|why| why.contains("partition 0")))
        .await;
    group.assign(1, records(0, &events));
    eventually(async || group.position(1).offset == 5).await;
    assert_eq!(group.position(0), position);
    // Given away, it is no longer ours to complain about.
    group.tell(Delivery::Revoking { partition: 0 });
    eventually(async || group.state().released == [0]).await;
    assert_eq!(collector.metrics.health.blocked_by(), None);
    collector.stop().await;
}
