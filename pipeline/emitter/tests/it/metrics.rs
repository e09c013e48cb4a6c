//! What Prometheus sees.

use axum::body::Body;
use emitter::{Emitter, Hop};
use http::{Request, Response};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::http::{get_path, serve};
use crate::log::{DEADLINE, FakeLog, quick, start};

/// As an ops listener puts it together.
fn scraped(emitter: &Emitter) -> String {
    let mut registry = Registry::default();
    emitter.register(registry.sub_registry_with_prefix("hoplog"));
    let mut text = String::new();
    encode_registry(&mut text, &registry).unwrap();
    emitter.write_durations("hoplog", &mut text);
    encode_eof(&mut text).unwrap();
    text
}

#[tokio::test]
async fn requests_queue_and_publisher_are_shown() {
    let (emitter, publisher) = start(quick(), FakeLog::new());
    let address = serve(&emitter).await;
    for path in ["/rust", "/rust", "/end/probe", "/end/panic", "/a/b/c"] {
        get_path(address, path).await;
    }
    publisher.shutdown(DEADLINE).await.unwrap();
    let text = scraped(&emitter);
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
    emitter.expect_routes(&["/{code}"]);
    let before = scraped(&emitter);
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
    assert!(!before.contains(broken_off) && scraped(&emitter).contains(broken_off));
}

/// Only what is certain to be kept, and that with the trace of its event.
#[tokio::test]
async fn what_failed_or_was_asked_for_is_pointed_to_and_a_fast_success_is_not() {
    let log = FakeLog::new();
    let (emitter, publisher) = start(quick(), log.clone());
    let service = emitter.layer().layer(service_fn(async |request: Request<_>| {
        let hop = request.extensions().get::<Hop>().unwrap();
        match request.uri().path() {
            "/slow" => {
                // The route of which the least is slow. Only time makes an answer slow.
                hop.route("/{code}");
                let slow_us = wide_event::latency::slow_us("/{code}");
                tokio::time::sleep(std::time::Duration::from_micros(slow_us)).await;
            }
            path => hop.route(path),
        }
        if request.uri().path() == "/forced" {
            hop.forced();
        }
        let status = if request.uri().path() == "/broken" { 503 } else { 200 };
        Ok::<_, std::convert::Infallible>(Response::builder().status(status).body(Body::empty()).unwrap())
    }));
    for path in ["/fast", "/forced", "/slow", "/broken", "/broken"] {
        service.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    }
    publisher.shutdown(DEADLINE).await.unwrap();
    let text = scraped(&emitter);
    let traces = |route: &str| -> Vec<String> {
        let of_route = text.lines().filter(|line| line.contains(&format!("route=\"{route}\"")));
        let exemplars = of_route.filter_map(|line| line.split_once(" # {trace_id=\""));
        exemplars.map(|(_, exemplar)| exemplar.split('"').next().unwrap().to_owned()).collect()
    };
    let events = log.events();
    let stored = |route: &str| -> Vec<&str> {
        let of_route = events.iter().filter(|event| event["route"] == route);
        of_route.map(|event| event["trace_id"].as_str().unwrap()).collect()
    };
    // What is slow its event says: a machine may be so slow that no answer is fast.
    let took_us = |route: &str| {
        let event = events.iter().find(|event| event["route"] == route).unwrap();
        event["duration_us"].as_u64().unwrap()
    };
    let slow_us = wide_event::latency::slow_us;
    assert_eq!(traces("/fast").is_empty(), took_us("/fast") < slow_us("/fast"), "{text}");
    assert_eq!(traces("/forced"), stored("/forced"));
    assert!(took_us("/{code}") >= slow_us("/{code}"));
    assert_eq!(traces("/{code}"), stored("/{code}"));
    // The newer one, or both where they are of different buckets.
    assert!(traces("/broken").iter().any(|trace| trace == stored("/broken")[1]), "{text}");
    assert!(traces("/broken").iter().all(|trace| stored("/broken").contains(&trace.as_str())), "{text}");
}
