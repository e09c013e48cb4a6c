//! Killed at every step, and once more by the next life: nothing is lost, nothing is there twice.

use std::sync::Arc;

use collector::CollectorConfig;
use event_log::{Message, Producer};
use tokio::sync::Notify;

use super::consumer::{Death, Mortal};
use super::proxy::Fault;
use super::world::World;

const TABLES: [&str; 12] = [
    "requests",
    "requests_by_minute",
    "clicks_by_hour",
    "clicks_by_day",
    "clicks_by_link",
    "clicks",
    "visits_by_hour",
    "visits_by_day",
    "orphan_visits",
    "producer_sequences",
    "otel_traces",
    "ingest_ledger",
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_insert() {
    let world = World::patient("killed_at_inserts").await;
    for table in TABLES.iter().chain(&["dead_letters"]) {
        for fault in [Fault::LoseRequest, Fault::LoseAnswer] {
            world.append_mixed(300).await;
            world.producer.append(vec![Message::events(&b"{oops"[..], 1)]).await.unwrap();
            // Both partitions' ranges may be hit, in either order; the second life meets the same fault again.
            for _ in 0..2 {
                world.proxy.plan(table, fault, 1);
                let collector = world.collector().await;
                // A retry may come through before the kill does; then there is nothing left to be hit.
                tokio::select! {
                    () = world.proxy.hit() => {}
                    () = world.all_consumed() => {}
                }
                collector.kill().await;
            }
            world.proxy.plan(table, fault, 0);
            world.consume_all().await;
            let report = world.verify().await;
            assert_eq!(report.findings, Vec::<String>::new(), "{table} {fault:?}");
        }
    }
    let report = world.verify().await;
    assert_eq!((report.events, report.dead_lettered), (26 * 301, 26));
    world.assert_traced("killed at inserts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_commit() {
    let world = World::patient("killed_at_commits").await;
    for (intent, after) in [(true, false), (true, true), (false, false), (false, true)] {
        world.append_mixed(300).await;
        for _ in 0..2 {
            // After a range was committed there may be none left to be killed at.
            world.append_mixed(50).await;
            let dead = Arc::new(Notify::new());
            let mortal = Mortal {
                inner: world.consumer().await,
                death: Death { intent, after },
                dead: Arc::clone(&dead),
            };
            let collector = world.collector_with(Box::new(mortal));
            dead.notified().await;
            collector.kill().await;
        }
        world.consume_all().await;
        world.assert_whole(&format!("intent {intent}, after {after}")).await;
    }
    assert_eq!(world.verify().await.events, 4 * 400);
    world.assert_traced("killed at commits").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_and_other_limits_change_the_next_range_only() {
    let mut world = World::new("policy_change").await;
    let policy = world.dir.path().join("policy.toml");
    let text = |rate: f64| {
        format!("client_errors = {{keep_max = 50}}\nsuccesses = {{rate = {rate}, rare_keep = 0.0}}")
    };
    std::fs::write(&policy, text(0.5)).unwrap();
    world.config = CollectorConfig { policy_file: Some(policy.clone()), ..world.config };
    world.append_mixed(1000).await;
    // `requests` is stored under the first policy, and nobody knows.
    world.proxy.plan("requests", Fault::LoseAnswer, 1);
    let collector = world.collector().await;
    world.proxy.hit().await;
    collector.kill().await;

    std::fs::write(&policy, text(0.01)).unwrap();
    world.config = CollectorConfig { range_events_max: 1, clicks: false, ..world.config };
    world.append_mixed(1000).await;
    world.consume_all().await;
    world.assert_whole("after a change of policy").await;
    // The first range is under the first policy as a whole, what came later under the second.
    assert!(world.number("(SELECT uniqExact(policy_version) FROM ingest_ledger)").await == 2);
    assert_eq!(world.number("(SELECT count() FROM sampling_policies)").await, 2);
    let split = "(SELECT count() FROM requests AS r INNER JOIN (SELECT log_partition, max(last_offset) AS last, policy_version FROM ingest_ledger GROUP BY ALL) AS l USING (log_partition) WHERE l.policy_version != '' AND r.sample_reason = 'base' AND r.sample_weight NOT IN (2, 100))";
    assert_eq!(world.number(split).await, 0);
    assert!(world.number("(SELECT sum(click_rows) FROM ingest_ledger)").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_policy_is_refused() {
    let mut world = World::new("bad_policy").await;
    let policy = world.dir.path().join("policy.toml");
    std::fs::write(&policy, "client_errors = {keep_max = 0}\nsuccesses = {rate = 2.0, rare_keep = 0.0}")
        .unwrap();
    world.config = CollectorConfig { policy_file: Some(policy), ..world.config };
    let ended = world.collector().await.task.await.unwrap();
    assert!(ended.unwrap_err().to_string().contains("successes.rate"));
}
