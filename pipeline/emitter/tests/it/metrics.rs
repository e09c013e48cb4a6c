//! What Prometheus sees.

use prometheus_client::registry::Registry;

use crate::http::{get_path, serve};
use crate::log::{DEADLINE, FakeLog, quick, start};

#[tokio::test]
async fn requests_queue_and_publisher_are_shown() {
    let (emitter, publisher) = start(quick(), FakeLog::new());
    let mut registry = Registry::default();
    emitter.register(registry.sub_registry_with_prefix("hoplog"));
    let address = serve(&emitter).await;
    for path in ["/rust", "/rust", "/end/probe", "/end/panic", "/a/b/c"] {
        get_path(address, path).await;
    }
    publisher.shutdown(DEADLINE).await.unwrap();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"hoplog_requests_total{route="/{code}",outcome="ok",synthetic="false",status="3xx"} 2"#,
        r#"hoplog_requests_total{route="/end/probe",outcome="ok",synthetic="true",status="2xx"} 1"#,
        r#"hoplog_requests_total{route="/end/panic",outcome="panic",synthetic="false",status="5xx"} 1"#,
        r#"hoplog_requests_total{route="unmatched",outcome="client_error",synthetic="false",status="4xx"} 1"#,
        r#"hoplog_request_duration_seconds_count{route="/{code}",outcome="ok",synthetic="false"} 2"#,
        r#"hoplog_request_duration_seconds_bucket{le="+Inf",route="/{code}",outcome="ok",synthetic="false"} 2"#,
        "hoplog_events_issued_total 5",
        "hoplog_events_published_total 5",
        "hoplog_queue_depth_events 0",
        "hoplog_queue_size_bytes 0",
        r#"hoplog_events_dropped_total{reason="queue_full"} 0"#,
        r#"hoplog_events_dropped_total{reason="queue_full_failure"} 0"#,
        r#"hoplog_events_dropped_total{reason="shutdown"} 0"#,
        "hoplog_publisher_panics_total 0",
    ] {
        assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
    }
    for name in
        ["publisher_append_seconds_count", "publisher_delay_seconds_count", "publisher_payload_bytes_total"]
    {
        let value = text.lines().find_map(|l| l.strip_prefix(&format!("hoplog_{name} "))).expect(name);
        assert_ne!(value, "0", "{name}");
    }
}

/// An increase is seen only of what was there before.
#[tokio::test]
async fn failures_are_shown_before_there_are_any() {
    let (emitter, publisher) = start(quick(), FakeLog::new());
    let mut registry = Registry::default();
    emitter.register(registry.sub_registry_with_prefix("hoplog"));
    let text = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    };
    emitter.expect_routes(&["/{code}"]);
    let before = text();
    for line in [
        r#"hoplog_requests_total{route="/{code}",outcome="server_error",synthetic="false",status="5xx"} 0"#,
        r#"hoplog_requests_total{route="/{code}",outcome="panic",synthetic="false",status="5xx"} 0"#,
        r#"hoplog_requests_total{route="unmatched",outcome="shed",synthetic="false",status="5xx"} 0"#,
        r#"hoplog_request_duration_seconds_count{route="/{code}",outcome="ok",synthetic="false"} 0"#,
        r#"hoplog_request_duration_seconds_bucket{le="0.1",route="/{code}",outcome="ok",synthetic="false"} 0"#,
        r#"hoplog_request_duration_seconds_count{route="/{code}",outcome="cancelled",synthetic="false"} 0"#,
    ] {
        assert!(before.lines().any(|l| l == line), "no line {line} in\n{before}");
    }
    let never = r#"hoplog_requests_total{route="/{code}",outcome="cancelled""#;
    assert!(!before.contains(r#"synthetic="true""#) && !before.contains(never), "{before}");
    let address = serve(&emitter).await;
    get_path(address, "/rust").await;
    publisher.shutdown(DEADLINE).await.unwrap();
    // An answer that was begun in order may break off.
    let broken_off =
        r#"hoplog_requests_total{route="/{code}",outcome="panic",synthetic="false",status="3xx"} 0"#;
    assert!(!before.contains(broken_off) && text().contains(broken_off));
}
