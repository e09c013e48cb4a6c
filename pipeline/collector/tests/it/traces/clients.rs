//! OpenTelemetry's own exporters for Python, unmodified, and the question that Grafana's plugin for ClickHouse asks for a trace.

use std::path::{Path, PathBuf};
use std::process::Command;

use clickhouse::Row;
use serde::Deserialize;
use serde_json::Value;

use super::super::proxy::Fault;
use super::Traces;

/// What Grafana's panel of a trace is made of, as its plugin asks for it: the time of the trace first, then its spans.
const GRAFANA: &str = "WITH {trace:String} AS trace_id, \
    (SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = trace_id) AS trace_start, \
    (SELECT max(End) + 1 FROM otel_traces_trace_id_ts WHERE TraceId = trace_id) AS trace_end \
    SELECT TraceId AS traceID, SpanId AS spanID, ParentSpanId AS parentSpanID, toString(ServiceName) AS serviceName, \
    toString(SpanName) AS operationName, toUnixTimestamp64Milli(Timestamp) AS startTime, \
    multiply(Duration, 0.000001) AS duration, \
    arrayMap(key -> map('key', toString(key), 'value', SpanAttributes[key]), mapKeys(SpanAttributes)) AS tags, \
    arrayMap(key -> map('key', toString(key), 'value', ResourceAttributes[key]), mapKeys(ResourceAttributes)) AS serviceTags \
    FROM otel_traces WHERE traceID = trace_id AND Timestamp >= trace_start AND Timestamp <= trace_end \
    ORDER BY Timestamp, Duration DESC LIMIT 1000";

#[derive(Debug, Row, Deserialize)]
struct Shown {
    #[serde(rename = "traceID")]
    trace: String,
    #[serde(rename = "spanID")]
    span: String,
    #[serde(rename = "parentSpanID")]
    parent: String,
    #[serde(rename = "serviceName")]
    service: String,
    #[serde(rename = "operationName")]
    operation: String,
    #[serde(rename = "startTime")]
    start_ms: i64,
    #[serde(rename = "duration")]
    duration_ms: f64,
    tags: Vec<Vec<(String, String)>>,
    #[serde(rename = "serviceTags")]
    service_tags: Vec<Vec<(String, String)>>,
}

#[derive(Debug, Row, Deserialize, PartialEq)]
struct Stored {
    kind: String,
    scope: String,
    status: String,
    message: String,
    duration: u64,
    attributes: String,
    events: String,
    links: String,
}

fn python() -> Option<PathBuf> {
    testbed::tool("otlp-client/bin/python3", "OpenTelemetry's exporters for Python")
}

fn run(python: &Path, traces: &Traces, arguments: &[&str]) -> String {
    let mut client = Command::new(python);
    client.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/otlp.py")).arg(&traces.address);
    let output = tokio::task::block_in_place(|| client.args(arguments).output()).unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out
}

async fn stored(traces: &Traces, name: &str, trace: &str) -> Stored {
    let sql = "SELECT toString(SpanKind) AS kind, concat(ScopeName, ' ', ScopeVersion) AS scope, toString(StatusCode) AS status, \
               StatusMessage AS message, Duration AS duration, toString(SpanAttributes) AS attributes, \
               toString(arrayZip(Events.Name, Events.Attributes)) AS events, \
               toString(arrayZip(Links.TraceId, Links.SpanId, Links.Attributes)) AS links \
               FROM otel_traces WHERE TraceId = {trace:String} AND SpanName = {name:String}";
    traces.warehouse.rows(sql, &[("trace", trace), ("name", name)]).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn exporters_traces_are_found_by_their_ids() {
    let Some(python) = python() else { return };
    let traces = Traces::start("traces_exporters").await;
    for arguments in
        [&["send", "grpc"][..], &["send", "grpc", "gzip"], &["send", "http"], &["send", "http", "gzip"]]
    {
        let sent: Value = serde_json::from_str(&run(&python, &traces, arguments)).unwrap();
        let trace = sent["trace"].as_str().unwrap();
        // It was sent twice.
        let shown: Vec<Shown> = traces.warehouse.rows(GRAFANA, &[("trace", trace)]).await.unwrap();
        let names: Vec<_> = shown.iter().map(|span| &*span.operation).collect();
        assert_eq!(names, ["GET /{code}", "lookup"], "{arguments:?}");
        for span in &shown {
            let expected = &sent["spans"][&span.operation];
            assert_eq!((&*span.trace, &*span.service), (trace, "web"));
            assert_eq!(
                (span.span.as_str(), span.parent.as_str()),
                (expected["id"].as_str().unwrap(), expected["parent"].as_str().unwrap())
            );
            assert!((span.duration_ms - expected["duration"].as_f64().unwrap() / 1e6).abs() < 1e-6);
            assert!(span.start_ms > 1_700_000_000_000);
            let version = [
                ("key".to_owned(), "service.version".to_owned()),
                ("value".to_owned(), "1.2.3.4".to_owned()),
            ];
            assert!(span.service_tags.iter().any(|tag| tag[..] == version), "{:?}", span.service_tags);
        }
        assert_eq!(shown[0].parent, "");
        assert_eq!(shown[1].parent, shown[0].span);
        assert_eq!(shown[0].tags.len(), 3, "{:?}", shown[0].tags);

        let root = stored(&traces, "GET /{code}", trace).await;
        assert_eq!((&*root.kind, &*root.scope, &*root.status), ("Server", "the-scope 7.8", "Unset"));
        let attributes = "{'http.response.status_code':'302','client.address':'203.0.113.0/24','url.full':'https://example.org/x?…'}";
        assert_eq!(root.attributes, attributes);
        let child = stored(&traces, "lookup", trace).await;
        assert_eq!(
            (&*child.kind, &*child.status, &*child.message),
            ("Client", "Error", "connect to <ip> failed")
        );
        assert_eq!(child.events, "[('cache.miss',{'tier':'l1','cached':'false'})]");
        let link = "[('00000000000000000000000000001234','0000000000005678',{'why':'test'})]";
        assert_eq!(child.links, link);
    }
    assert_eq!(traces.spans().await, 8);
    assert_eq!(traces.metric("collector_trace_spans_stored_total"), 8);
    assert_eq!(traces.metric("collector_trace_repeated_exports_total"), 4);
    for protocol in ["grpc", "http"] {
        let taken = format!("collector_trace_exports_total{{protocol=\"{protocol}\",answer=\"taken\"}}");
        assert_eq!(traces.metric(&taken), 4);
    }
    let all = "SELECT count() FROM otel_traces WHERE toString(tuple(*)) LIKE '%hunter2%' OR toString(tuple(*)) LIKE '%113.77%'";
    assert_eq!(traces.number(all).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc_what_is_wrong_is_refused_and_what_can_wait_comes_again() {
    let Some(python) = python() else { return };
    let traces = Traces::start("traces_grpc").await;
    run(&python, &traces, &["refused"]);
    assert_eq!(traces.spans().await, 2);
    traces.proxy.break_all(Fault::Unavailable);
    run(&python, &traces, &["away"]);
    // Once it is known to be away, nothing is read that can't be stored.
    run(&python, &traces, &["away"]);
    traces.proxy.mend();
    super::super::world::eventually(async || traces.spans().await == 4).await;
}
