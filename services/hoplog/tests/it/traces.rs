//! Spans of others beside the product's own events: received by `hoplog up` as it comes, and off where that is configured.

use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::harness::{Installation, agent};

#[test]
fn a_span_is_found_beside_the_event_it_belongs_to() {
    let mut hoplog = Installation::new().up();
    let url = format!("http://127.0.0.1:{}", hoplog.base + 4);
    hoplog.wait_for("the URL to be said", || hoplog.log().contains(&url).then_some(()));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let span = json!({
        "traceId": trace,
        "spanId": "00f067aa0ba902b7",
        "name": "newsletter",
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": (start + 1000).to_string(),
    });
    let service = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "mail"}}]});
    let export = json!({"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": [span]}]}]});
    let response = agent()
        .post(format!("{url}/v1/traces"))
        .header("Content-Type", "application/json")
        .send(export.to_string())
        .unwrap();
    assert_eq!(response.status(), 200);
    // Others are the collector's own.
    assert!(hoplog.metric(2, "hoplog_collector_trace_spans_stored_total") >= 1);
    // What was acknowledged survives everything.
    let mut supervisor = hoplog.supervisor.take().unwrap();
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    hoplog.start();
    hoplog.wait_until_ready();

    hoplog.link("news", "https://www.rust-lang.org/");
    let visit = format!("{}/news", hoplog.shortener());
    agent().get(visit).header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01")).call().unwrap();
    let both = "SELECT count() FROM requests AS r JOIN otel_traces AS t ON t.TraceId = r.trace_id WHERE t.ServiceName = 'mail'";
    hoplog.wait_for("event and span", || hoplog.try_query(both).ok().filter(|count| count == "1"));
    hoplog.down();
}

/// What `collect.traces.export` names gets the spans of ranges and of kept events, over both protocols.
#[test]
fn spans_go_to_a_backend() {
    // Any backend will do that takes OTLP, so another installation does.
    let mut backend = Installation::new().up();
    let endpoint = format!("http://127.0.0.1:{}", backend.base + 4);
    for protocol in ["grpc", "http"] {
        let mut hoplog = Installation::new()
            .set("HOPLOG_SERVICE__INSTANCE", protocol)
            .set("HOPLOG_COLLECT__TRACES__EXPORT__ENDPOINT", &endpoint)
            .set("HOPLOG_COLLECT__TRACES__EXPORT__PROTOCOL", protocol)
            .set("HOPLOG_COLLECT__TRACES__EXPORT__HEADERS", "authorization=Bearer%20hunter2")
            .up();
        hoplog.link("there", "https://www.rust-lang.org/");
        for (name, service) in [("range", "hoplog-collector"), ("POST /rest/v3/short-urls", "hoplog")] {
            let found = format!(
                "SELECT count() FROM otel_traces WHERE SpanName = '{name}' AND ServiceName = '{service}' \
                 AND ResourceAttributes['service.instance.id'] = '{protocol}'"
            );
            let is_there = |place: &Installation| place.try_query(&found).ok().filter(|count| count != "0");
            backend.wait_for(&format!("{name} over {protocol}"), || is_there(&backend));
            // In its own table as well.
            hoplog.wait_for(name, || is_there(&hoplog));
        }
        assert!(!hoplog.log().contains("hunter2"));
        hoplog.down();
    }
    backend.down();
}

#[test]
fn it_can_be_switched_off() {
    let mut hoplog = Installation::new().set("HOPLOG_COLLECT__TRACES__ENABLED", "false");
    let taken = TcpListener::bind(("127.0.0.1", hoplog.base + 4)).unwrap();
    hoplog.start();
    hoplog.wait_until_ready();
    drop(taken);
    hoplog.down();
}
