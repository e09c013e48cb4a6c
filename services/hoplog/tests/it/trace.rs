//! One request, one trace: from its caller through shortener, Redis, PostgreSQL and Kafka into ClickHouse. And a table of
//! spans that is gone, which nobody waits for.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::Deserialize;
use testbed::{Kafka, KafkaOptions, Postgres, Redis, RedisOptions};

use crate::harness::{Installation, agent, get};

/// The trace that a caller is in, and its span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A row of `otel_traces`.
#[derive(Debug, Deserialize)]
struct Span {
    name: String,
    kind: String,
    id: String,
    parent: String,
    service: String,
    system: String,
    begin_ns: String,
}

fn spans(hoplog: &Installation) -> Vec<Span> {
    let sql = format!(
        "SELECT SpanName AS name, SpanKind AS kind, SpanId AS id, ParentSpanId AS parent, ServiceName AS service, \
         SpanAttributes['db.system.name'] AS system, toString(toUnixTimestamp64Nano(Timestamp)) AS begin_ns \
         FROM otel_traces WHERE TraceId = (SELECT trace_id FROM requests WHERE code = 'far' AND route = '/{{code}}') \
         AND TraceId = '{TRACE}' ORDER BY Timestamp FORMAT JSONEachRow"
    );
    hoplog.query(&sql).lines().map(|row| serde_json::from_str(row).unwrap()).collect()
}

/// The header `traceparent` of the message that has the event.
fn header(kafka: &Kafka, partitions: i32) -> String {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "trace-test")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset("hoplog.events.v1", partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    loop {
        let message = consumer.poll(Duration::from_secs(60)).expect("a message with the event").unwrap();
        let payload = String::from_utf8_lossy(message.payload().unwrap()).into_owned();
        if !payload.contains(TRACE) {
            continue;
        }
        let headers = message.headers().unwrap();
        let mut named = headers.iter().filter(|header| header.key == "traceparent");
        return String::from_utf8(named.next().unwrap().value.unwrap().to_vec()).unwrap();
    }
}

#[test]
fn one_request_is_one_trace_from_its_caller_to_clickhouse() {
    let (Some(postgres), Some(redis), Some(kafka)) =
        (Postgres::start(), Redis::start(RedisOptions::default()), Kafka::start(KafkaOptions::default()))
    else {
        return;
    };
    let mut hoplog = Installation::new()
        .set("HOPLOG_EVENT_LOG", "kafka")
        .set("HOPLOG_KAFKA__BROKERS", &kafka.bootstrap())
        .set("HOPLOG_KAFKA__PARTITIONS", "2")
        .set("HOPLOG_SERVE__SHORTENER__STORE__POSTGRES__URL", &postgres.database())
        .set("HOPLOG_SERVE__SHORTENER__REDIS__URL", &redis.url())
        // The machine is busy with other tests; this one is about no deadline.
        .set("HOPLOG_SERVE__SHORTENER__CACHE__STORE_WAIT_MS_MAX", "10000")
        .set("HOPLOG_SERVE__SHORTENER__STORE__READ_MS_MAX", "10000")
        .up();
    hoplog.link("far", "https://far.example/");
    // Neither a process nor Redis knows it.
    hoplog.down();
    redis.command(&["FLUSHALL"]);
    hoplog.start();
    hoplog.wait_until_ready();
    let visit = agent().get(format!("{}/far", hoplog.shortener()));
    let answer = visit.header("traceparent", format!("00-{TRACE}-{CALLER}-01")).call().unwrap();
    assert_eq!(answer.status(), 302);
    hoplog.verified();

    let spans = spans(&hoplog);
    let by_id: HashMap<_, _> = spans.iter().map(|span| (&*span.id, span)).collect();
    assert_eq!(by_id.len(), spans.len(), "a span twice: {spans:?}");
    let only = |what: &str, is: &dyn Fn(&&Span) -> bool| {
        let mut found = spans.iter().filter(is);
        found
            .next()
            .filter(|_| found.next().is_none())
            .unwrap_or_else(|| panic!("not one {what}: {spans:#?}"))
    };
    let hop = only("hop", &|span| span.kind == "Server");
    let publish = only("publish", &|span| span.kind == "Producer");
    let collect = only("collect", &|span| span.kind == "Consumer");
    assert_eq!((&*hop.name, &*hop.parent), ("GET /{code}", CALLER));
    assert_eq!((&*publish.name, &publish.parent), ("publish", &hop.id));
    assert_eq!((&*collect.name, &collect.parent), ("collect", &publish.id));
    assert_eq!((&*publish.service, &*collect.service), (&*hop.service, "hoplog-collector"));
    for system in ["redis", "postgresql"] {
        let stages = || spans.iter().filter(|span| span.kind == "Client" && span.system == system);
        assert!(stages().count() > 0, "no stage of {system}: {spans:#?}");
        assert!(stages().all(|stage| stage.parent == hop.id && stage.name.starts_with(system)), "{spans:#?}");
    }
    assert!(
        spans.iter().all(|span| span.parent == CALLER || by_id.contains_key(&*span.parent)),
        "{spans:#?}"
    );
    let begin_ns = |span: &Span| span.begin_ns.parse::<u64>().unwrap();
    assert!(spans.iter().all(|span| begin_ns(span) >= begin_ns(hop)), "{spans:#?}");
    let row = format!(
        "SELECT span_id = '{}' AND parent_span_id = '{CALLER}' FROM requests WHERE trace_id = '{TRACE}'",
        hop.id
    );
    assert_eq!(hoplog.query(&row), "1");
    assert_eq!(header(&kafka, 2), format!("00-{TRACE}-{}-01", publish.id));
    hoplog.down();
}

#[test]
fn without_the_table_of_spans_redirects_and_events_go_on() {
    let mut hoplog = Installation::new().up();
    hoplog.link("one", "https://one.example/");
    hoplog.verified();
    let visit = || {
        assert_eq!(agent().get(format!("{}/one", hoplog.shortener())).call().unwrap().status(), 302);
    };
    hoplog.query("RENAME TABLE otel_traces TO away");
    (0..20).for_each(|_| visit());
    assert_eq!(hoplog.verified()["events"], 21);
    let lost = || hoplog.metric(2, "hoplog_collector_lost_event_spans_total");
    hoplog.wait_for("spans to be counted as lost", || (lost() > 0).then_some(()));
    assert!(get(&format!("http://127.0.0.1:{}/readyz", hoplog.base + 2)).is_ok(), "events are stored");
    hoplog.query("RENAME TABLE away TO otel_traces");
    let newest = "SELECT count() FROM otel_traces WHERE SpanKind = 'Server' AND \
                  TraceId = (SELECT trace_id FROM requests ORDER BY ts DESC LIMIT 1)";
    // Within half a minute somebody looks whether it is back.
    hoplog.wait_for("spans to be stored again", || {
        visit();
        hoplog.verified();
        (hoplog.number(newest) == 1).then_some(())
    });
    hoplog.down();
}
