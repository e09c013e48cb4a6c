//! OTLP over HTTP: what is taken, in part or as a whole, what is refused and in which words; clients that are slow.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use collector::TracesConfig;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use serde_json::json;
use tonic_types::Status;

use super::super::world::eventually;
use super::{Traces, export, span};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn good_spans_are_stored_and_bad_ones_counted() {
    let traces = Traces::start("traces_partial").await;
    let (mut old, mut short) = (span(2), span(3));
    old["startTimeUnixNano"] = json!("1");
    short["traceId"] = json!("1234");
    let answer = traces.post(&export(&[span(1), old, short]));
    assert_eq!((answer.status, &*answer.content_type), (200, "application/json"));
    let said = &answer.json()["partialSuccess"];
    assert_eq!(said["rejectedSpans"], "2");
    assert_eq!(said["errorMessage"], "spans can't be stored: trace_id 1, too_old 1");
    let rows = "SELECT count() FROM otel_traces WHERE TraceId LIKE '%02' AND Duration = 500000000 AND SpanKind = 'Internal'";
    assert_eq!((traces.spans().await, traces.number(rows).await), (1, 1));
    let rejected =
        |reason: &str| traces.metric(&format!("collector_trace_spans_rejected_total{{reason=\"{reason}\"}}"));
    assert_eq!((rejected("trace_id"), rejected("too_old")), (1, 1));
    assert_eq!(traces.metric("collector_trace_spans_received_total"), 3);

    // Nothing to store is no error.
    let answer = traces.post(&export(&[]));
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    let whole = gzip(export(&[span(4)]).to_string().as_bytes());
    assert_eq!(traces.send("application/json; charset=utf-8", Some("gzip"), &whole).status, 200);
    assert_eq!(traces.spans().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_for_good() {
    let config = TracesConfig { body_bytes_max: 100_000, flush_ms_max: 10, ..TracesConfig::default() };
    let traces = Traces::with("traces_refused", config).await;
    let (json, protobuf) = ("application/json", "application/x-protobuf");
    let good = export(&[span(1)]).to_string();
    let packed = gzip(good.as_bytes());
    // 60 kB of empty spans, and of empty objects.
    let empty = [b"\x0a\xe4\xd4\x03\x12\xe0\xd4\x03".as_slice(), &b"\x12\x00".repeat(30_000)].concat();
    let objects = format!(r#"{{"resourceSpans":[{{}}{}]}}"#, ",{}".repeat(20_000));
    let bomb = gzip(&vec![b' '; 50 << 20]);
    for (what, content_type, encoding, body, status) in [
        ("no JSON", json, None, &b"{\"resourceSpans\":[{]}"[..], 400),
        ("truncated", json, None, &good.as_bytes()[..good.len() - 3], 400),
        ("no protobuf", protobuf, None, b"\xff\xff\xff\xff", 400),
        ("JSON as protobuf", protobuf, None, good.as_bytes(), 400),
        ("no gzip", json, Some("gzip"), good.as_bytes(), 400),
        ("half a gzip", json, Some("gzip"), &packed[..packed.len() / 2], 400),
        ("a bomb", json, Some("gzip"), &bomb, 413),
        ("empty spans", protobuf, None, &empty, 413),
        ("empty objects", json, None, objects.as_bytes(), 413),
        ("large", json, None, &[b' '; 100_001], 413),
        ("another encoding", json, Some("br"), &packed, 415),
        ("another type", "text/plain", None, good.as_bytes(), 415),
        ("good", json, Some("gzip"), &packed, 200),
    ] {
        let answer = traces.send(content_type, encoding, body);
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(answer.retry_after, None, "{what}");
        if status == 200 {
            continue;
        }
        let (code, message) = if content_type == json {
            let said = answer.json();
            (said["code"].as_i64(), said["message"].as_str().unwrap().to_owned())
        } else {
            let said = Status::decode(&answer.body[..]).unwrap();
            (Some(said.code.into()), said.message)
        };
        assert_eq!((code, message.is_empty()), (Some(3), false), "{what}: {message}");
        assert!(!message.contains("service.name"), "{what}: {message}");
    }
    let get = |path: &str| {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let url = format!("http://{}{path}", traces.address);
        tokio::task::block_in_place(|| agent.get(url).call()).unwrap().status()
    };
    assert_eq!((get("/v1/traces"), get("/v1/logs")), (405.try_into().unwrap(), 404.try_into().unwrap()));
    assert_eq!(traces.spans().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_hold_a_place_and_no_more() {
    let traces = Traces::start("traces_slow").await;
    let slow: Vec<_> = (0..16)
        .map(|_| {
            let mut client = TcpStream::connect(&traces.address).unwrap();
            client
                .write_all(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
                .unwrap();
            client
        })
        .collect();
    // Each has a place as soon as it was looked at; then there is none left.
    let refused = async || {
        let answer = traces.post(&export(&[span(1)]));
        answer.status == 429 && answer.retry_after == Some(1) && answer.json()["code"] == 14
    };
    eventually(refused).await;
    // One that was never more than a connection, and one that is no HTTP, harm nobody.
    let _silent = TcpStream::connect(&traces.address).unwrap();
    let mut noise = TcpStream::connect(&traces.address).unwrap();
    noise.write_all(b"PRI \x00\x01\x02\x03 this is neither\r\n\r\n").unwrap();
    let _ = noise.read(&mut [0; 16]);
    drop(slow);
    eventually(async || traces.post(&export(&[span(1)])).status == 200).await;
    assert!(traces.metric("collector_trace_connections") < 100);
}
