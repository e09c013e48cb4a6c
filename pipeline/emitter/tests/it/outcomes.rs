//! The exact event of each way a request can end, and that there is one and only one.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt, service_fn};
use wide_event::{Event, SpanId, span_ids, stages};

use crate::http::{exchange, failing, get_path, serve};
use crate::log::{DEADLINE, FakeLog, quick, start};

/// The trace that a caller says its request belongs to.
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What differs from run to run gets a fixed value, if it has the right form.
fn fixed(mut event: Value) -> Value {
    let fields = event.as_object_mut().unwrap();
    for (name, form) in [
        ("ts", "....-..-..T..:..:.........Z"),
        ("boot_id", "........-....-7...-....-............"),
        ("request_id", "........-....-7...-....-............"),
        ("trace_id", "................................"),
        ("span_id", "................"),
        ("visitor", "................"),
    ] {
        if let Some(value) = fields.get_mut(name) {
            let text = value.as_str().unwrap();
            let fits =
                text.len() == form.len() && text.bytes().zip(form.bytes()).all(|(a, b)| b == b'.' || a == b);
            assert!(fits || name == "request_id", "{name}: {text}");
            if fits && text != TRACE_ID {
                *value = json!(format!("[{name}]"));
            }
        }
    }
    if let Some(value) = fields.get_mut("stages") {
        let text = value.as_str().unwrap();
        let starts: Vec<_> = stages::parse(text).map(|stage| format!("@{}+", stage.start_us)).collect();
        *value =
            starts.iter().fold(text.to_owned(), |text, start| text.replacen(start, "@[start]+", 1)).into();
    }
    let duration = fields.remove("duration_us");
    // What never was a request takes no time, and a field that is 0 is not written.
    assert!(duration.is_some_and(|us| us.as_u64() > Some(0)) || fields["route"] == "malformed");
    event
}

/// One request after the other, so that events come in their order.
#[tokio::test]
async fn each_outcome_leaves_exactly_this_event() {
    let log = FakeLog::new();
    let (emitter, publisher) = start(quick(), log.clone());
    let address = serve(&emitter).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\nhost: Hop.Example:8080\nconnection: close");
    let cases = [
        (
            "redirect",
            get("/rust?utm=secret")
                + "\nuser-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\nreferer: https://news.example.com/item?id=7\nx-request-id: caller-7\ntraceparent: 00-"
                + TRACE_ID
                + "-00f067aa0ba902b7-01",
            "",
            "302",
        ),
        ("unmatched", get("/a/b/c/d"), "", "404"),
        ("client_error", get("/end/missing"), "", "404"),
        ("method", get("/rust").replace("GET", "BREW"), "", "405"),
        ("head", get("/end/stream").replace("GET", "HEAD"), "", "200"),
        ("server_error", get("/end/broken"), "", "503"),
        ("panic", get("/end/panic"), "", "500"),
        ("shed", get("/end/shed"), "", "503"),
        ("rate_limited", get("/end/limited"), "", "429"),
        ("stream", get("/end/stream"), "", "200"),
        ("echo", get("/end/echo").replace("GET", "POST") + "\ncontent-length: 11", "hello world", "200"),
        ("synthetic", get("/end/probe"), "", "200"),
        ("body_error", get("/end/torn"), "", "200"),
        ("body_panic", get("/end/burst"), "", "200"),
        ("orphan", get("/orphan/of/203.0.113.7/index.php?utm=secret"), "", "404"),
    ];
    for (seq, (name, head, body, status)) in cases.into_iter().enumerate() {
        let answer = exchange(address, &head, body).await;
        let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: "));
        // Where the body breaks off, the server may not even have written the head.
        if !name.starts_with("body_") || !answer.is_empty() {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
            assert!(id.is_some(), "{name}: {answer}");
        }
        let events = log.wait_for_events(seq + 1).await;
        assert_eq!(events.len(), seq + 1, "{name}: exactly one event");
        if let Some(id) = id {
            assert_eq!(events[seq]["request_id"], id, "{name}");
        }
        assert_eq!(events[seq]["boot_id"], emitter.boot_id());
        insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
            insta::assert_json_snapshot!(format!("event_{name}"), fixed(events[seq].clone()));
        });
    }
    publisher.shutdown(DEADLINE).await.unwrap();
    assert_eq!(emitter.issued(), emitter.requests());
    assert_eq!(emitter.issued(), log.events().len() as u64);
}

#[tokio::test]
async fn a_panic_tells_the_client_nothing() {
    let (emitter, _publisher) = start(quick(), FakeLog::new());
    let answer = get_path(serve(&emitter).await, "/end/panic").await;
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    assert!(!answer.contains("index 17"), "{answer}");
}

#[tokio::test]
async fn malformed_requests_leave_one_event_each() {
    let log = FakeLog::new();
    let (emitter, publisher) = start(quick(), log.clone());
    emitter.malformed(Some("203.0.113.99:4711".parse().unwrap()), 400, "invalid HTTP version parsed");
    emitter.malformed(None, 431, &"x".repeat(100_000));
    publisher.shutdown(DEADLINE).await.unwrap();
    let events = log.events();
    assert_eq!((events.len(), emitter.requests(), emitter.issued()), (2, 2, 2));
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_json_snapshot!("event_malformed", fixed(events[0].clone()));
    });
    assert_eq!(events[1]["error_message"].as_str().unwrap().len(), 1024);
}

/// Beyond axum: a service that panics before it returns a future, one that fails, a layer within a layer.
#[tokio::test]
async fn any_tower_service_leaves_one_event() {
    let log = FakeLog::new();
    let (emitter, publisher) = start(quick(), log.clone());
    let request = || Request::get("https://hop.example/x").body(Body::empty()).unwrap();

    let mut panics = emitter.layer().layer(service_fn(|request: Request<_>| {
        assert_eq!(request.uri().path(), "/y", "no such path");
        failing(request)
    }));
    let answer = panics.ready().await.unwrap().call(request()).await.unwrap();
    assert_eq!(answer.status(), 500);
    answer.into_body().collect().await.unwrap();

    let error = emitter.layer().layer(service_fn(failing)).oneshot(request()).await.unwrap_err();
    assert_eq!(error.to_string(), "the inner service is gone");

    let twice = crate::http::router().layer(emitter.layer()).layer(emitter.layer());
    let answer = twice.oneshot(request()).await.unwrap();
    answer.into_body().collect().await.unwrap();

    // The layer outside the router: the route is known by the extractor or the inner layer.
    let labelled = crate::http::router().route_layer(emitter::RouteLabelLayer);
    for (path, router) in [("/end/stream", labelled), ("/code", crate::http::router())] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = emitter.layer().layer(router).oneshot(request).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }

    publisher.shutdown(DEADLINE).await.unwrap();
    let seen: Vec<_> = log
        .events()
        .iter()
        .map(|e| format!("{} {} {} {}", e["seq"], e["status"], e["outcome"], e["route"]))
        .collect();
    assert_eq!(
        seen,
        [
            r#"1 500 "panic" "unmatched""#,
            r#"2 500 "server_error" "unmatched""#,
            r#"3 302 "ok" "/{code}""#,
            r#"4 200 "ok" "/end/stream""#,
            r#"5 302 "ok" "/{code}""#,
        ]
    );
    assert_eq!(log.events()[0]["scheme"], "https");
    assert_eq!(log.events()[1]["error_message"], "the inner service is gone");
}

#[tokio::test]
async fn switched_off_requests_are_counted_and_leave_nothing() {
    let log = FakeLog::new();
    let (emitter, publisher) = start(emitter::EmitterConfig { enabled: false, ..quick() }, log.clone());
    let answer = get_path(serve(&emitter).await, "/rust").await;
    assert!(answer.contains("x-request-id: "), "{answer}");
    publisher.shutdown(DEADLINE).await.unwrap();
    assert_eq!((emitter.requests(), emitter.issued(), log.calls.lock().unwrap().len()), (1, 0, 0));
}

/// Whoever reads the topic finds the trace of what matters most in a message.
#[tokio::test]
async fn a_message_belongs_to_the_trace_of_its_first_failure() {
    let log = FakeLog::new();
    let (emitter, publisher) = start(quick(), log.clone());
    let service = emitter.layer().layer(service_fn(async |request: Request<_>| {
        let status = if request.uri().path() == "/broken" { 503 } else { 200 };
        Ok::<_, std::convert::Infallible>(
            http::Response::builder().status(status).body(Body::empty()).unwrap(),
        )
    }));
    // One message, since the publisher, on this thread too, gets its turn at the shutdown.
    for path in ["/fine", "/broken", "/broken"] {
        service.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    }
    publisher.shutdown(DEADLINE).await.unwrap();
    let (events, appended) = (log.events(), log.appended.lock().unwrap().clone());
    let [message, end] = &appended[..] else { panic!("{appended:?}") };
    let line = events[1].to_string();
    let first: Event<'_> = serde_json::from_str(&line).unwrap();
    assert_eq!((first.status, first.parent_span_id), (503, SpanId(0)));
    let span_id = span_ids::publish(first.trace_id, first.span_id);
    assert_eq!(message.traceparent, Some(format!("00-{}-{span_id}-01", first.trace_id).into()));
    assert_eq!(end.traceparent, None, "the end of a boot is part of no request");
}
