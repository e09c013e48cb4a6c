//! An engine that is down, slow, or without its tables: waited for, and nothing is lost.

use super::proxy::Fault;
use super::world::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn lost_requests_lost_answers_and_errors_are_tried_again() {
    let world = World::new("faults").await;
    let collector = world.collector().await;
    for (table, fault, times) in [
        ("requests", Fault::LoseRequest, 2),
        ("clicks", Fault::LoseAnswer, 2),
        ("requests_by_minute", Fault::LoseAnswer, 2),
        // What is in the ledger is not inserted again: there is no second answer to lose.
        ("ingest_ledger", Fault::LoseAnswer, 1),
        ("clicks_by_hour", Fault::Unavailable, 2),
    ] {
        world.proxy.plan(table, fault, times);
        world.append_mixed(300).await;
        eventually(async || world.proxy.left() == 0).await;
        world.all_consumed().await;
    }
    assert_eq!(collector.metrics.health.blocked_by(), None);
    collector.stop().await;
    let report = world.assert_whole("after faults").await;
    assert_eq!(report.events, 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_without_an_answer_times_out_and_is_tried_again() {
    let world = World::with_insert_ms("hanging", 300).await;
    world.proxy.plan("requests", Fault::Hang, 1);
    world.append_mixed(100).await;
    world.consume_all().await;
    assert_eq!(world.proxy.left(), 0);
    world.assert_whole("after a hanging insert").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_closes_the_gate_until_it_is_there() {
    let world = World::new("missing_table").await;
    world.append_mixed(100).await;
    world.consume_all().await;
    let collector = world.collector().await;
    eventually(async || collector.metrics.health.blocked_by().is_none()).await;
    world.warehouse.execute("RENAME TABLE clicks TO away").await.unwrap();
    world.append_mixed(100).await;
    eventually(async || collector.metrics.health.blocked_by().is_some()).await;
    let totals = world.totals().await;
    assert!(totals.iter().any(|totals| totals.committed_offset < totals.end_offset));
    world.warehouse.execute("RENAME TABLE away TO clicks").await.unwrap();
    world.all_consumed().await;
    assert_eq!(collector.metrics.health.blocked_by(), None);
    collector.stop().await;
    world.assert_whole("after the table came back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_starts_before_its_tables_waits() {
    let world = World::new("early").await;
    world.append_mixed(100).await;
    world.warehouse.execute("RENAME TABLE requests TO away").await.unwrap();
    let collector = world.collector().await;
    eventually(async || {
        collector.metrics.health.blocked_by().is_some_and(|reason| reason.contains("no table"))
    })
    .await;
    world.warehouse.execute("RENAME TABLE away TO requests").await.unwrap();
    world.all_consumed().await;
    collector.stop().await;
    world.assert_whole("after an early start").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_replaced_is_noticed_and_nothing_of_it_is_dropped() {
    let mut world = World::new("replaced_log").await;
    world.append_mixed(100).await;
    world.consume_all().await;
    world.replace_log().await;
    world.append_mixed(50).await;
    let collector = world.collector().await;
    eventually(async || collector.metrics.health.blocked_by().is_some_and(|why| why.contains("replaced")))
        .await;
    let totals = world.totals().await;
    assert!(totals.iter().all(|totals| totals.committed_offset == 0), "{totals:?}");
    collector.kill().await;
    assert_eq!(world.number("(SELECT sum(events) FROM ingest_ledger)").await, 100);
}
