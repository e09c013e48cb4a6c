//! Spans of kept events: all of them, once; and a table of spans that fails holds up no event.

use collector::CollectorConfig;

use super::proxy::Fault;
use super::world::{World, eventually, metric};

const LOST: &str = "collector_lost_event_spans_total";
const STORED: &str = "collector_event_spans_total";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_has_its_trace() {
    let world = World::patient("spans").await;
    let collector = world.collector().await;
    // One insert that nobody answers, and one that nobody hears of.
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        world.proxy.plan("otel_traces", fault, 1);
        world.append_mixed(1000).await;
        eventually(async || world.proxy.left() == 0).await;
        world.all_consumed().await;
    }
    assert_eq!(collector.metric(LOST), 0.0);
    let stored = collector.metric(STORED);
    collector.stop().await;
    let report = world.assert_whole("with spans").await;
    assert_eq!(report.events, 2000);
    world.assert_traced("with spans").await;
    assert_eq!(world.number("(SELECT count() FROM otel_traces)").await as f64, stored);
    let ranges = "(SELECT count() = 0 FROM otel_traces WHERE SpanName = 'collect' AND SpanAttributes['hoplog.range'] NOT IN (SELECT concat(topic, ':', toString(log_partition), ':', toString(first_offset), '-', toString(last_offset)) FROM ingest_ledger))";
    assert_eq!(world.number(ranges).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_spans_that_is_gone_holds_up_no_event() {
    let world = World::with_insert_ms("spans_no_table", 30_000).await;
    let collector = world.collector().await;
    world.append_mixed(100).await;
    world.all_consumed().await;
    world.warehouse.execute("RENAME TABLE otel_traces TO away").await.unwrap();
    world.append_mixed(100).await;
    world.all_consumed().await;
    eventually(async || collector.metric(LOST) > 0.0).await;
    assert_eq!(collector.metrics.health.blocked_by(), None);
    assert!(collector.metric("collector_failures_total{step=\"spans\",class=\"fatal\"}") > 0.0);
    world.warehouse.execute("RENAME TABLE away TO otel_traces").await.unwrap();
    let stored = collector.metric(STORED);
    // It is tried from time to time.
    eventually(async || {
        world.append_mixed(50).await;
        world.all_consumed().await;
        collector.metric(STORED) > stored
    })
    .await;
    let metrics = collector.metrics.clone();
    collector.stop().await;
    let lost = metric(&metrics, LOST);
    world.assert_whole("without some spans").await;
    let untraced = "(SELECT 3 * count() FROM requests WHERE (trace_id, span_id) NOT IN (SELECT TraceId, SpanId FROM otel_traces))";
    // A try that was given up may come through all the same.
    let untraced = world.number(untraced).await as f64;
    assert!(untraced > 0.0 && untraced <= lost, "{untraced} of {lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_spans_that_is_known_to_fail_is_not_waited_for() {
    // The next try is minutes away, and so is the end of its patience.
    let world = World::patient("spans_known").await;
    let collector = world.collector().await;
    world.proxy.plan("otel_traces", Fault::Answer(404, Some(60)), usize::MAX);
    world.append_mixed(100).await;
    world.all_consumed().await;
    eventually(async || collector.metric(LOST) > 0.0).await;
    world.proxy.plan("otel_traces", Fault::Hang, usize::MAX);
    for _ in 0..3 {
        world.append_mixed(100).await;
        world.all_consumed().await;
    }
    assert_eq!((world.proxy.hits(), collector.metric(STORED)), (0, 0.0));
    collector.stop().await;
    world.assert_whole("without spans").await;
    assert_eq!(world.number("(SELECT count() FROM otel_traces)").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_spans_that_does_not_answer_holds_events_up_for_a_moment() {
    // 252: too many parts.
    for (name, fault) in
        [("spans_hang", Fault::Hang), ("spans_too_many_parts", Fault::Answer(500, Some(252)))]
    {
        let world = World::with_insert_ms(name, 2000).await;
        let collector = world.collector().await;
        world.proxy.plan("otel_traces", fault, usize::MAX);
        for _ in 0..3 {
            world.append_mixed(100).await;
            world.all_consumed().await;
        }
        eventually(async || collector.metric(LOST) > 0.0).await;
        assert_eq!(collector.metric(STORED), 0.0);
        assert_eq!(collector.metrics.health.blocked_by(), None);
        world.proxy.mend();
        collector.stop().await;
        world.assert_whole(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn they_can_be_switched_off_from_the_next_range_on() {
    let mut world = World::new("spans_off").await;
    world.append_mixed(200).await;
    // Begun with spans, so it ends with them, whoever ends it.
    world.proxy.plan("ingest_ledger", Fault::LoseRequest, 1);
    let collector = world.collector().await;
    world.proxy.hit().await;
    collector.kill().await;
    world.proxy.mend();
    world.config = CollectorConfig { spans: false, ..world.config };
    world.append_mixed(200).await;
    world.consume_all().await;
    let report = world.assert_whole("switched off").await;
    assert_eq!(report.events, 400);
    let hops = world.number("(SELECT count() FROM otel_traces WHERE SpanKind = 'Server')").await;
    assert!(hops > 0 && hops < world.number("(SELECT count() FROM requests)").await);
    assert_eq!(world.number("(SELECT count() = 3 * uniqExact(TraceId) FROM otel_traces)").await, 1);
}
