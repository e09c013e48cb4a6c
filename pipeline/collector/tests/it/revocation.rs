//! Partitions that come and go while their ranges are being stored: what is open gets its time, what is lost is left
//! alone, and the next owner finishes it. The loop polls whatever happens.

use event_log::{Delivery, Record};
use wide_event::Outcome;

use super::group::{Answer, Group, records};
use super::proxy::Fault;
use super::world::{Collector, World, eventually};

fn failures(world: &World, first: u64, count: usize) -> Vec<Record> {
    let events: Vec<_> = (0..count).map(|_| world.event(Outcome::ServerError)).collect();
    records(first, &events)
}

fn start(world: &World, group: &Group) -> Collector {
    world.collector_with(Box::new(group.clone()))
}

/// So many events are stored, each once, in each way of counting.
async fn assert_stored(world: &World, events: u64) {
    for sql in
        ["sum(events) FROM ingest_ledger", "sum(requests) FROM requests_by_minute", "count() FROM requests"]
    {
        assert_eq!(world.number(&format!("(SELECT {sql})")).await, events, "{sql}");
    }
}

async fn committed(group: &Group, partition: u32, offset: u64) {
    eventually(async || {
        let position = group.position(partition);
        position.offset == offset && position.metadata.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_range_is_finished_before_its_partition_is_given_away() {
    let world = World::new("revoked_in_time").await;
    let (group, first, second) = (Group::default(), failures(&world, 0, 5), failures(&world, 5, 5));
    world.proxy.plan("requests", Fault::Unavailable, 1);
    let collector = start(&world, &group);
    group.assign(0, first);
    world.proxy.hit().await;
    // Comes while the range is open, and is left to the next owner.
    group.tell(Delivery::Records { partition: 0, records: second.clone() });
    group.tell(Delivery::Revoking { partition: 0 });
    eventually(async || group.state().released == [0]).await;
    let position = group.position(0);
    assert_eq!((position.offset, position.metadata.as_str()), (5, ""));
    // Nothing of it is open: given away at once. What follows is of no partition of ours.
    group.assign(1, Vec::new());
    group.tell(Delivery::Revoking { partition: 1 });
    group.tell(Delivery::Records { partition: 1, records: second.clone() });
    eventually(async || group.state().released == [0, 1] && group.undelivered() == 0).await;
    assert_stored(&world, 5).await;
    // It may come back.
    group.assign(0, second);
    committed(&group, 0, 10).await;
    collector.stop().await;
    assert!(group.state().closed);
    assert_stored(&world, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_takes_too_long_is_left_to_the_next_owner() {
    let mut world = World::new("revoked_too_late").await;
    world.config.revoke_ms_max = 200;
    let (group, all) = (Group::default(), failures(&world, 0, 5));
    world.proxy.plan("requests", Fault::Hang, 1);
    let collector = start(&world, &group);
    group.assign(0, all.clone());
    world.proxy.hit().await;
    group.tell(Delivery::Revoking { partition: 0 });
    eventually(async || group.state().released == [0]).await;
    let position = group.position(0);
    assert_eq!(position.offset, 0);
    assert!(position.metadata.contains("\"last\":4"), "{position:?}");
    assert_stored(&world, 0).await;
    let next = Group::default();
    next.state().positions.insert(0, position);
    let successor = start(&world, &next);
    next.assign(0, all);
    committed(&next, 0, 5).await;
    successor.stop().await;
    collector.stop().await;
    assert_stored(&world, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_lost_while_it_is_inserted_is_stored_once_by_its_next_owner() {
    let world = World::new("revoked_at_once").await;
    for (number, (table, fault)) in [
        ("requests", Fault::LoseAnswer),
        ("requests_by_minute", Fault::LoseAnswer),
        ("clicks_by_hour", Fault::Hang),
    ]
    .into_iter()
    .enumerate()
    {
        let (partition, group) = (number as u32, Group::default());
        let mut events: Vec<_> = (0..5).map(|_| world.event(Outcome::ServerError)).collect();
        events.iter_mut().for_each(|event| event.click = true);
        let all = records(0, &events);
        world.proxy.plan(table, fault, 1);
        let collector = start(&world, &group);
        group.assign(partition, all.clone());
        world.proxy.hit().await;
        group.answer(Answer::Fenced);
        group.tell(Delivery::Revoked { partition });
        eventually(async || group.undelivered() == 0).await;

        let next = Group::default();
        next.state().positions.insert(partition, group.position(partition));
        let successor = start(&world, &next);
        next.assign(partition, all);
        committed(&next, partition, 5).await;
        successor.stop().await;
        collector.stop().await;
        assert!(group.state().released.is_empty());
        assert_stored(&world, 5 * (number as u64 + 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fenced_is_forgotten_and_inserts_nothing_more() {
    let world = World::with_insert_ms("fenced", 300).await;
    let (group, all) = (Group::default(), failures(&world, 0, 5));
    let collector = start(&world, &group);
    // At the intent: nothing of it is inserted. It shows for as long as the group says nothing.
    group.answer(Answer::Fenced);
    group.assign(0, all.clone());
    eventually(async || collector.metric("collector_failures_total{step=\"commit\",class=\"lost\"}") > 0.0)
        .await;
    eventually(async || collector.metric("collector_stalled_seconds") > 0.3).await;
    assert_stored(&world, 0).await;
    // Lost while an insert hangs: its time ends, and before another one begins it is asked whose the range is.
    group.answer(Answer::Yes);
    world.proxy.plan("requests", Fault::Hang, 1);
    group.assign(0, all.clone());
    world.proxy.hit().await;
    group.answer(Answer::Fenced);
    eventually(async || collector.metric("collector_failures_total{step=\"commit\",class=\"lost\"}") > 1.0)
        .await;
    assert_stored(&world, 0).await;
    // The group has said so, and then gives it back.
    group.tell(Delivery::Revoked { partition: 0 });
    eventually(async || group.undelivered() == 0).await;
    assert_eq!(collector.metric("collector_stalled_seconds"), 0.0);
    group.answer(Answer::Yes);
    group.assign(0, all);
    committed(&group, 0, 5).await;
    collector.stop().await;
    assert_stored(&world, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_polls_while_commits_fail_or_are_not_answered() {
    let world = World::new("commits_away").await;
    let group = Group::default();
    let collector = start(&world, &group);
    for (number, answer) in [Answer::Unavailable, Answer::Never].into_iter().enumerate() {
        let (partition, other) = (number as u32 * 2, number as u32 * 2 + 1);
        group.answer(answer);
        group.assign(partition, failures(&world, 0, 5));
        let asked = group.state().asked;
        let tries = if answer == Answer::Never { 1 } else { 3 };
        eventually(async || group.state().asked >= asked + tries).await;
        let polls = group.state().polls;
        eventually(async || group.state().polls > polls + 5).await;
        // Others come and go meanwhile.
        group.assign(other, Vec::new());
        group.tell(Delivery::Revoking { partition: other });
        eventually(async || group.state().released.contains(&other)).await;
        assert_stored(&world, 5 * number as u64).await;
        assert!(collector.metric("collector_stalled_seconds") > 0.0);
        assert_eq!(collector.metrics.health.blocked_by(), None);
        if answer == Answer::Unavailable {
            group.answer(Answer::Yes);
            committed(&group, partition, 5).await;
        }
    }
    // A commit that is never answered ends with the process, or with the partition.
    group.tell(Delivery::Revoked { partition: 2 });
    eventually(async || group.undelivered() == 0).await;
    collector.stop().await;
    assert_stored(&world, 5).await;
}
