//! ClickHouse away, slow, or with answers that get lost; receivers that end: what was acknowledged is there, once.

use collector::TracesConfig;
use serde_json::Value;

use super::super::proxy::Fault;
use super::super::world::{World, eventually};
use super::{Traces, export, now_ns, span};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_sent_again_is_stored_once() {
    let mut first = Traces::start("traces_again").await;
    let export = export(&[span(1), span(2)]);
    assert_eq!(first.post(&export).status, 200);
    assert_eq!(first.post(&export).status, 200);
    first.stop();
    // Another receiver knows nothing of it; ClickHouse does.
    let second = Traces::start("traces_again").await;
    assert_eq!(second.post(&export).status, 200);
    assert_eq!(second.metric("collector_trace_repeated_exports_total"), 0);
    assert_eq!(second.spans().await, 2);
    assert_eq!(second.number("SELECT count() FROM otel_traces_trace_id_ts").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_does_not_store_twice() {
    let traces = Traces::start("traces_lost").await;
    for (number, fault) in [(1, Fault::LoseAnswer), (2, Fault::LoseRequest)] {
        traces.proxy.plan("otel_traces", fault, 1);
        assert_eq!(traces.post(&export(&[span(number)])).status, 200, "{fault:?}");
        assert_eq!((traces.proxy.left(), traces.spans().await), (0, number), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_clickhouse_is_away_exporters_are_asked_to_come_again() {
    let config = TracesConfig { flush_ms_max: 10, answer_ms_max: 100, ..TracesConfig::default() };
    let traces = Traces::with("traces_away", config).await;
    traces.proxy.break_all(Fault::Unavailable);
    let first = export(&[span(1)]);
    let answer = traces.post(&first);
    assert_eq!((answer.status, answer.json()["code"].as_u64()), (503, Some(14)));
    assert!(answer.retry_after.is_some_and(|seconds| (1..=31).contains(&seconds)));
    let held = traces.metric("collector_trace_queue_bytes");
    assert!(held > 0);
    // What is sent now is not held: its exporter has it.
    eventually(async || traces.metric("collector_trace_insert_failures_total{class=\"retry\"}") >= 1).await;
    let second = export(&[span(2)]);
    assert_eq!(traces.post(&second).status, 503);
    assert_eq!(traces.metric("collector_trace_queue_bytes"), held);
    traces.proxy.mend();
    for export in [&first, &second] {
        eventually(async || traces.post(export).status == 200).await;
    }
    assert_eq!((traces.spans().await, traces.metric("collector_trace_queue_bytes")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_bounded_and_all_of_it_comes_through_once_in_the_end() {
    let config = TracesConfig {
        body_bytes_max: 2048,
        queue_bytes_max: 8192,
        flush_ms_max: 10,
        answer_ms_max: 50,
        ..TracesConfig::default()
    };
    let traces = Traces::with("traces_flood", config).await;
    let exports: Vec<Value> = (0..100).map(|number| export(&[span(number)])).collect();
    traces.proxy.break_all(Fault::Hang);
    for export in &exports {
        assert_eq!(traces.post(export).status, 503);
        assert!(traces.metric("collector_trace_queue_bytes") <= 8192);
    }
    let full = traces.post(&exports[99]).json()["message"].as_str().unwrap().to_owned();
    assert!(["the queue of spans is full", "spans can't be stored right now"].contains(&&*full), "{full}");
    traces.proxy.mend();
    for export in &exports {
        eventually(async || traces.post(export).status == 200).await;
    }
    assert_eq!(traces.number("SELECT uniqExact(SpanId) FROM otel_traces").await, 100);
    assert_eq!((traces.spans().await, traces.metric("collector_trace_queue_bytes")), (100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_person_can_mend_is_waited_for() {
    let traces = Traces::start("traces_no_table").await;
    traces.warehouse.execute("RENAME TABLE otel_traces TO elsewhere").await.unwrap();
    let export = export(&[span(1)]);
    assert_eq!(traces.post(&export).status, 503);
    assert!(traces.metric("collector_trace_insert_failures_total{class=\"fatal\"}") >= 1);
    traces.warehouse.execute("RENAME TABLE elsewhere TO otel_traces").await.unwrap();
    eventually(async || traces.post(&export).status == 200).await;
    assert_eq!(traces.spans().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_half_is_completed_when_it_comes_again() {
    let mut first = Traces::start("traces_half").await;
    first.warehouse.execute("DETACH TABLE otel_traces_trace_id_ts_mv").await.unwrap();
    let export = export(&[span(1), span(2)]);
    assert_eq!(first.post(&export).status, 200);
    first.stop();
    first.warehouse.execute("ATTACH TABLE otel_traces_trace_id_ts_mv").await.unwrap();
    let found = "SELECT count() FROM otel_traces_trace_id_ts";
    assert_eq!((first.spans().await, first.number(found).await), (2, 0));
    let second = Traces::start("traces_half").await;
    assert_eq!(second.post(&export).status, 200);
    assert_eq!((second.spans().await, second.number(found).await), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clickhouse_refuses_is_refused_alone() {
    // Long enough for two to meet.
    let config = TracesConfig { flush_ms_max: 2000, answer_ms_max: 30_000, ..TracesConfig::default() };
    let traces = Traces::with("traces_poison", config).await;
    traces.proxy.plan("otel_traces", Fault::Answer(400, Some(53)), 2);
    let answers: Vec<_> = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let post = |number| {
                scope.spawn({
                    let traces = &traces;
                    move || traces.post(&export(&[span(number)]))
                })
            };
            [post(1), post(2)].map(|thread| thread.join().unwrap()).into()
        })
    });
    // The two together, then the first of them alone.
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses, traces.proxy.left()), (vec![200, 400], 0));
    let refused = answers.iter().find(|answer| answer.status == 400).unwrap();
    assert_eq!((refused.json()["code"].as_i64(), refused.retry_after), (Some(3), None));
    assert_eq!(traces.spans().await, 1);
    assert_eq!(traces.metric("collector_trace_spans_rejected_total{reason=\"refused\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_on_while_spans_can_t_be_stored() {
    let config = TracesConfig {
        body_bytes_max: 2048,
        queue_bytes_max: 8192,
        flush_ms_max: 10,
        answer_ms_max: 50,
        ..TracesConfig::default()
    };
    let traces = Traces::with("traces_and_events", config).await;
    let world = World::new("events_and_traces").await;
    traces.proxy.break_all(Fault::Hang);
    let full = async || {
        let answer = traces.post(&export(&[span(now_ns() as u64)]));
        answer.json()["message"] == "the queue of spans is full"
    };
    eventually(full).await;
    world.append_mixed(2000).await;
    world.consume_all().await;
    world.assert_whole("beside a queue of spans that is full").await;
    assert_eq!(traces.spans().await, 0);
}
