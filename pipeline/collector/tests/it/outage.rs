//! ClickHouse in every way of not doing its work: nothing is dropped, nothing is committed past, a metric shows it, and
//! once it is mended all goes on without a hand.

use super::proxy::Fault;
use super::world::{World, eventually};

async fn survives(name: &str, fault: Fault, insert_ms_max: u64, gate_closes: bool) {
    let world = World::with_insert_ms(name, insert_ms_max).await;
    let collector = world.collector().await;
    world.append_mixed(100).await;
    world.all_consumed().await;
    let before: Vec<u64> = world.totals().await.iter().map(|totals| totals.committed_offset).collect();

    world.proxy.break_all(fault);
    world.append_mixed(200).await;
    eventually(async || world.proxy.hits() >= 3).await;
    eventually(async || collector.metrics.health.blocked_by().is_some() == gate_closes).await;
    assert!(collector.metric("collector_stalled_seconds") > 0.0, "{name}");
    assert!(collector.metric("collector_oldest_intent_seconds") > 0.0, "{name}");
    assert_eq!(collector.metric("collector_gate_open"), f64::from(u8::from(!gate_closes)), "{name}");
    let class = if gate_closes { "fatal" } else { "retry" };
    let failures = format!("collector_failures_total{{step=\"insert\",class=\"{class}\"}}");
    eventually(async || collector.metric(&failures) >= 2.0).await;
    let during: Vec<u64> = world.totals().await.iter().map(|totals| totals.committed_offset).collect();
    assert_eq!(during, before, "{name}");

    world.proxy.mend();
    world.all_consumed().await;
    eventually(async || collector.metric("collector_stalled_seconds") == 0.0).await;
    assert_eq!(collector.metric("collector_gate_open"), 1.0, "{name}");
    collector.stop().await;
    assert_eq!(world.assert_whole(name).await.events, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_500() {
    survives("answers_500", Fault::Answer(500, None), 20_000, false).await;
    survives("answers_503", Fault::Unavailable, 20_000, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_nothing() {
    survives("answers_nothing", Fault::Hang, 300, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only() {
    survives("read_only", Fault::Answer(500, Some(164)), 20_000, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_full() {
    survives("disk_full", Fault::Answer(500, Some(243)), 20_000, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password() {
    survives("wrong_password", Fault::Answer(403, Some(516)), 20_000, true).await;
}
