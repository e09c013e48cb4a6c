//! The collector's own spans on their way out: found in our own table and at a backend, over both protocols; and what becomes
//! of them, and of ranges, where a backend does not do what it should.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use clickhouse::Row;
use collector::{
    EventSpans, ExportConfig, Exporting, Process, Protocol, RANGE_SPANS, SpanExport, TracesConfig,
};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use warehouse::{Secret, Warehouse};

use super::super::proxy::Fault;
use super::super::world::{World, eventually};
use super::Traces;

/// An export that is under way.
struct Export {
    exporting: Option<Exporting>,
    event_spans: EventSpans,
    registry: Registry,
}

fn export(config: &TracesConfig) -> SpanExport {
    let process = Process {
        version: "1.2.3".to_owned(),
        instance: "collector-1".to_owned(),
        environment: "test".to_owned(),
    };
    SpanExport::new(config, process)
}

impl Export {
    /// With everything that this thread says in it, until the guard is dropped.
    fn start(config: &TracesConfig) -> (Self, DefaultGuard) {
        let export = export(config);
        let here = tracing::subscriber::set_default(tracing_subscriber::registry().with(export.layer()));
        (Self::of(export), here)
    }

    fn of(export: SpanExport) -> Self {
        let mut registry = Registry::default();
        export.register(&mut registry);
        Self { event_spans: export.event_spans(), exporting: Some(export.start().unwrap()), registry }
    }

    /// A sample of its metrics, by the line it stands in.
    fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    fn sent(&self) -> u64 {
        self.metric("collector_trace_export_spans_total{to=\"backend\"}")
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.metric(&format!(
            "collector_trace_export_dropped_spans_total{{to=\"backend\",reason=\"{reason}\"}}"
        ))
    }

    async fn stop(&mut self) {
        let exporting = self.exporting.take().unwrap();
        // On another thread: what it sends to needs this one.
        tokio::task::spawn_blocking(|| exporting.stop()).await.unwrap();
    }
}

/// To a backend only.
fn to(address: &str, protocol: Protocol) -> TracesConfig {
    let export = ExportConfig {
        endpoint: format!("http://{address}"),
        protocol,
        headers: Secret::new("authorization=Bearer%20sesame"),
        timeout_ms: 1000,
        ..ExportConfig::default()
    };
    TracesConfig { enabled: false, range_every_s: 86_400, export, ..TracesConfig::default() }
}

/// A trace of a range, as it is when somebody else took it over: kept for its failure, whatever came before.
fn leave_a_range() {
    let range = tracing::info_span!(target: RANGE_SPANS, "range", "hoplog.range" = "t:0:1-2");
    drop(tracing::info_span!(target: RANGE_SPANS, parent: &range, "step", "otel.status_code" = "ERROR"));
}

#[derive(Debug, Row, Deserialize)]
struct Stored {
    trace: String,
    span: String,
    parent: String,
    name: String,
    service: String,
    status: String,
    range: String,
    error: String,
    rows: String,
}

/// The spans of the collector, from the beginning on.
async fn stored(traces: &Traces) -> Vec<Stored> {
    let sql = "SELECT TraceId AS trace, SpanId AS span, ParentSpanId AS parent, toString(SpanName) AS name, \
               toString(ServiceName) AS service, toString(StatusCode) AS status, SpanAttributes['hoplog.range'] AS range, \
               SpanAttributes['error.type'] AS error, SpanAttributes['hoplog.rows'] AS rows \
               FROM otel_traces ORDER BY Timestamp";
    traces.warehouse.rows(sql, &[]).await.unwrap()
}

/// Of each range that was kept there is a whole trace, with every step below it; returns tokens of ranges.
fn assert_traces_of_ranges(spans: &[Stored]) -> Vec<String> {
    let roots: Vec<_> = spans.iter().filter(|span| span.parent.is_empty()).collect();
    // More only where the machine is slow, and ranges are late.
    assert!(roots.len() >= 2, "{spans:#?}");
    for root in &roots {
        assert_eq!((&*root.name, &*root.service), ("range", "hoplog-collector"));
        let below = spans.iter().filter(|span| span.trace == root.trace && span.span != root.span);
        let names: Vec<_> = below
            .map(|span| {
                assert_eq!(span.parent, root.span, "{span:?}");
                &*span.name
            })
            .collect();
        let steps = [
            "consume",
            "intent",
            "build",
            "insert requests",
            "insert requests_by_minute",
            "insert ingest_ledger",
        ];
        assert!(steps.iter().all(|step| names.contains(step)) && names.contains(&"commit"), "{names:?}");
    }
    assert!(
        spans.iter().all(|span| !span.name.starts_with("insert ") || span.rows.parse::<u64>().unwrap() > 0)
    );
    roots.iter().map(|root| root.range.clone()).collect()
}

thread_local! {
    /// Whether ranges of this thread are those of the test.
    static HERE: Cell<bool> = const { Cell::new(false) };
}

#[tokio::test]
async fn ranges_are_found_in_our_own_table_and_at_a_backend() {
    // The receiver beside it is sent to over gRPC.
    let (own, backend) = (Traces::start("export_own").await, Traces::start("export_backend").await);
    let listen: SocketAddr = own.address.parse().unwrap();
    let config = TracesConfig { enabled: true, listen, ..to(&backend.address, Protocol::Http) };
    let export = export(&config);
    // For the whole process, as in the product: the spool enters spans on a thread of its own.
    let layer = export.layer().map(|layer| layer.with_filter(dynamic_filter_fn(|_, _| HERE.get())));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    HERE.set(true);
    let mut export = Export::of(export);
    let world = World::new("export_ranges").await;
    // The first range stands for all that go well; another one has a story to tell.
    world.append_mixed(40).await;
    world.consume_all().await;
    world.proxy.plan("requests", Fault::Unavailable, 1);
    world.append_mixed(40).await;
    world.consume_all().await;
    // There is little time at the end.
    for traces in [&own, &backend] {
        eventually(async || {
            let spans = stored(traces).await;
            let traces_of_ranges = spans.iter().filter(|span| span.parent.is_empty()).count();
            traces_of_ranges >= 2 && spans.iter().any(|span| span.status == "Error")
        })
        .await;
    }
    export.stop().await;
    for traces in [&own, &backend] {
        let spans = stored(traces).await;
        let tokens = assert_traces_of_ranges(&spans);
        let known = "SELECT concat(topic, ':', toString(log_partition), ':', toString(first_offset), '-', toString(last_offset)) FROM ingest_ledger";
        let known: Vec<String> = world.warehouse.rows(known, &[]).await.unwrap();
        assert!(tokens.iter().all(|token| known.contains(token)), "{tokens:?} {known:?}");
        let failed = spans.iter().find(|span| span.status == "Error").unwrap();
        assert_eq!((&*failed.name, &*failed.error), ("insert requests", "retry"));
        // It was tried again in the same trace.
        let tries = spans.iter().filter(|span| span.name == "insert requests" && span.trace == failed.trace);
        assert!(tries.count() >= 2);
    }
    assert_eq!((export.sent(), export.dropped("full")), (backend.spans().await, 0));
}

#[tokio::test]
async fn kept_events_have_their_spans_at_a_backend() {
    const ALL: &str = "SELECT toString(cityHash64(arraySort(groupArray(tuple(TraceId, SpanId, ParentSpanId, toString(SpanName), \
                       toString(SpanKind), toString(ServiceName), toString(StatusCode), StatusMessage, Timestamp, Duration, \
                       ScopeName, toString(SpanAttributes), toString(ResourceAttributes)))))) FROM otel_traces";
    for (name, protocol) in [("grpc", Protocol::Grpc), ("http", Protocol::Http)] {
        let backend = Traces::start(&format!("export_events_to_{name}")).await;
        let mut export = Export::of(export(&to(&backend.address, protocol)));
        let mut world = World::new(&format!("export_events_{name}")).await;
        world.event_spans = export.event_spans.clone();
        world.append_mixed(2000).await;
        world.consume_all().await;
        world.assert_whole(name).await;
        let kept = world.number("(SELECT count() FROM otel_traces)").await;
        eventually(async || export.sent() == kept).await;
        export.stop().await;
        assert!(kept > 100 && export.dropped("full") == 0, "{kept}");
        let of = async |warehouse: &Warehouse| warehouse.rows::<String>(ALL, &[]).await.unwrap();
        assert_eq!(of(&world.warehouse).await, of(&backend.warehouse).await, "{name}");
    }
}

#[tokio::test]
async fn a_backend_that_hangs_or_is_away_holds_no_range_and_what_is_lost_is_counted() {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (address, protocol, name) in [
        (hangs.local_addr().unwrap().to_string(), Protocol::Grpc, "hangs_grpc"),
        (hangs.local_addr().unwrap().to_string(), Protocol::Http, "hangs_http"),
        (away.clone(), Protocol::Grpc, "away_grpc"),
        (away.clone(), Protocol::Http, "away_http"),
    ] {
        let (mut export, _here) = Export::start(&to(&address, protocol));
        let mut world = World::new(&format!("export_{name}")).await;
        world.event_spans = export.event_spans.clone();
        leave_a_range();
        eventually(async || export.metric("collector_trace_export_failures_total{to=\"backend\"}") > 0).await;
        world.append_mixed(100).await;
        world.consume_all().await;
        world.assert_whole(name).await;
        let made = world.number("(SELECT count() FROM otel_traces)").await;
        export.stop().await;
        let lost: u64 =
            ["full", "away", "stopped", "refused"].map(|reason| export.dropped(reason)).iter().sum();
        assert!(lost >= 2 + made && made > 0 && export.sent() == 0, "{name}: {lost} of {made}");
        assert_eq!(export.dropped("refused"), 0, "{name}");
        assert_eq!(export.metric("collector_trace_export_waiting_spans{to=\"backend\"}"), 0, "{name}");
    }
}

#[tokio::test]
async fn what_is_under_way_at_the_end_is_not_waited_for_and_counted() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = to(&hangs.local_addr().unwrap().to_string(), protocol);
        // The end comes long before.
        config.export.timeout_ms = 60_000;
        let (mut export, _here) = Export::start(&config);
        leave_a_range();
        let connection = tokio::task::spawn_blocking(move || hangs.accept().unwrap()).await.unwrap();
        leave_a_range();
        export.stop().await;
        drop(connection);
        assert_eq!((export.dropped("stopped"), export.dropped("away"), export.sent()), (4, 0, 0));
        assert_eq!(export.metric("collector_trace_export_waiting_spans{to=\"backend\"}"), 0);
    }
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_counted_and_what_waits_is_sent_at_the_end() {
    let backend = Traces::start("export_full").await;
    let mut config = to(&backend.address, Protocol::Http);
    config.export.queue_spans_max = 1000;
    config.export.timeout_ms = 10_000;
    let (mut export, _here) = Export::start(&config);
    let mut left = 0;
    // Nothing is taken meanwhile: ClickHouse is reached by way of this thread.
    while export.dropped("full") == 0 {
        leave_a_range();
        left += 2;
    }
    eventually(async || export.sent() > 0).await;
    export.stop().await;
    let lost: u64 = ["full", "away", "stopped", "refused"].map(|reason| export.dropped(reason)).iter().sum();
    let sent = export.sent();
    assert_eq!(sent + lost, left);
    assert!(sent > 0 && backend.spans().await >= sent, "{sent} of {left}");
}

/// What a backend answers, request by request; the last one again and again. Returns what it was sent.
fn backend(answers: &'static [&'static str]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heads) = (listener.local_addr().unwrap().to_string(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let answer = answers.get(number).or(answers.last()).unwrap();
            seen.lock().unwrap().push(answered(stream.unwrap(), answer));
        }
    });
    (address, heads)
}

/// Reads a request and answers it; its head.
fn answered(mut stream: TcpStream, answer: &str) -> String {
    let (mut head, mut reader) = (String::new(), BufReader::new(stream.try_clone().unwrap()));
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap()];
    reader.read_exact(&mut body).unwrap();
    let end = "content-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("HTTP/1.1 {answer}\r\n{end}").as_bytes()).unwrap();
    head
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_dropped() {
    let (address, heads) = backend(&["503 X\r\nretry-after: 1", "429 X", "200 X", "400 X", "200 X"]);
    let (mut export, _here) = Export::start(&to(&address, Protocol::Http));
    leave_a_range();
    eventually(async || export.sent() == 2).await;
    leave_a_range();
    eventually(async || export.dropped("refused") == 2).await;
    leave_a_range();
    eventually(async || export.sent() == 4).await;
    export.stop().await;
    assert_eq!(export.metric("collector_trace_export_failures_total{to=\"backend\"}"), 3);
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 5);
    for head in heads.iter() {
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.to_ascii_lowercase().contains("content-type: application/x-protobuf\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer sesame\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_receiver_without_clickhouse_is_sent_again_what_it_could_not_take() {
    let own = Traces::start("export_later").await;
    own.proxy.break_all(Fault::Unavailable);
    let (mut export, _here) = Export::start(&to(&own.address, Protocol::Grpc));
    leave_a_range();
    eventually(async || export.metric("collector_trace_export_failures_total{to=\"backend\"}") > 0).await;
    own.proxy.mend();
    eventually(async || export.sent() == 2).await;
    export.stop().await;
    assert_eq!((own.spans().await, export.dropped("away"), export.dropped("refused")), (2, 0, 0));
}
