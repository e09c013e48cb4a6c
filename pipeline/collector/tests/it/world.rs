//! A spool, a database and a proxy, and what tests do with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use collector::{CollectorConfig, CollectorError, CollectorMetrics, EventSpans};
use event_log::spool::{Spool, SpoolConfig, SpoolProducer};
use event_log::{Consumer, EventLogMetrics, Message, Producer};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use warehouse::{PartitionTotals, Report, Warehouse, WarehouseConfig, migrate, verify};
use wide_event::{Event, Host, Orphan, Outcome, SpanId, Text, Timestamp, TraceId, Visitor, codec};

use super::proxy::Proxy;

pub(crate) const GROUP: &str = "collector";

pub(crate) struct World {
    pub(crate) spool: Spool,
    pub(crate) producer: SpoolProducer,
    pub(crate) proxy: Proxy,
    /// Past the proxy.
    pub(crate) warehouse: Warehouse,
    through_proxy: Warehouse,
    pub(crate) config: CollectorConfig,
    pub(crate) dead_letters: Option<Arc<dyn Producer>>,
    pub(crate) event_spans: EventSpans,
    seq: AtomicU64,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) struct Collector {
    pub(crate) task: JoinHandle<Result<(), CollectorError>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) metrics: CollectorMetrics,
}

impl World {
    pub(crate) async fn new(database: &str) -> Self {
        Self::with_insert_ms(database, 20_000).await
    }

    /// With a time limit that no machine is too slow for: where spans must not be given up.
    pub(crate) async fn patient(database: &str) -> Self {
        Self::with_insert_ms(database, 600_000).await
    }

    pub(crate) async fn with_insert_ms(database: &str, insert_ms_max: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let spool = Spool::new(SpoolConfig { path, partitions: 2, ..SpoolConfig::default() });
        spool.open().await.unwrap();
        let proxy = Proxy::start().await;
        let config = |address: &str| WarehouseConfig {
            url: format!("http://{address}"),
            database: database.to_owned(),
            insert_ms_max,
            query_ms_max: insert_ms_max.max(3000),
            ..WarehouseConfig::default()
        };
        let warehouse = Warehouse::new(&config(testbed::shared_engine_address()));
        migrate(&warehouse).await.unwrap();
        Self {
            producer: spool.producer(EventLogMetrics::default()),
            spool,
            through_proxy: Warehouse::new(&config(&proxy.address)),
            proxy,
            warehouse,
            config: CollectorConfig {
                flush_ms_max: 20,
                shutdown_ms_max: 60_000,
                ..CollectorConfig::default()
            },
            dead_letters: None,
            event_spans: EventSpans::default(),
            seq: AtomicU64::new(1),
            dir,
        }
    }

    /// An empty log in the old one's place, as after somebody removed its directory.
    pub(crate) async fn replace_log(&mut self) {
        self.producer.close().await;
        let path = self.dir.path().join("another-spool");
        self.spool = Spool::new(SpoolConfig { path, partitions: 2, ..SpoolConfig::default() });
        self.spool.open().await.unwrap();
        self.producer = self.spool.producer(EventLogMetrics::default());
    }

    /// One event, numbered.
    pub(crate) fn event(&self, outcome: Outcome) -> Event<'static> {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        let status = match outcome {
            Outcome::Ok => 302,
            Outcome::ClientError => 404,
            _ => 500,
        };
        Event {
            ts: Timestamp::from_system(SystemTime::now()),
            service: Text::new("shortener"),
            instance: Text::new("web-1"),
            boot_id: Text::new("019aa3a0-0000-7000-8000-000000000000"),
            seq,
            status,
            outcome,
            method: Text::new("GET"),
            route: Text::new("/{code}"),
            code: Text::new(format!("code{}", seq % 7)),
            domain: Text::new(["", "s.example"][seq as usize % 2]),
            click: outcome == Outcome::Ok,
            orphan: if outcome == Outcome::ClientError { Orphan::InvalidShortUrl } else { Orphan::None },
            orphan_path: Text::new(if outcome == Outcome::ClientError { "/unknown" } else { "" }),
            country: Text::new(["DE", "FR", ""][seq as usize % 3]),
            referrer_host: Host::parse(format!("h{}.example", seq % 11)).unwrap(),
            visitor: Visitor(seq % 5 + 1),
            trace_id: TraceId(u128::from(seq).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
            span_id: SpanId(seq),
            duration_us: 100 + seq % 1000,
            ..Event::default()
        }
    }

    /// Appends events, `in_message` of them in each message.
    pub(crate) async fn append(&self, events: &[Event<'_>], in_message: usize) {
        let messages = events.chunks(in_message).map(|events| {
            let mut payload = Vec::new();
            events.iter().for_each(|event| codec::encode(event, &mut payload));
            Message::events(payload, u32::try_from(events.len()).unwrap())
        });
        self.producer.append(messages.collect()).await.unwrap();
    }

    /// Appends events of all kinds: mostly successes, some failures, some unknown codes.
    pub(crate) async fn append_mixed(&self, count: usize) {
        let events: Vec<_> = (0..count)
            .map(|number| match number % 50 {
                0 => self.event(Outcome::ServerError),
                1..4 => self.event(Outcome::ClientError),
                _ => self.event(Outcome::Ok),
            })
            .collect();
        self.append(&events, 20).await;
    }

    pub(crate) async fn consumer(&self) -> Box<dyn Consumer> {
        Box::new(self.spool.consumer(GROUP).await.unwrap())
    }

    /// Starts a collector that inserts through the proxy.
    pub(crate) async fn collector(&self) -> Collector {
        self.collector_with(self.consumer().await)
    }

    pub(crate) fn collector_with(&self, consumer: Box<dyn Consumer>) -> Collector {
        let (shutdown, metrics) = (CancellationToken::new(), CollectorMetrics::default());
        let run = collector::run(
            self.config.clone(),
            std::future::ready(consumer),
            self.dead_letters.clone(),
            self.through_proxy.clone(),
            metrics.clone(),
            self.event_spans.clone(),
            shutdown.clone(),
        );
        Collector { task: tokio::spawn(run), shutdown, metrics }
    }

    /// Runs a collector until everything is consumed, and stops it.
    pub(crate) async fn consume_all(&self) {
        let collector = self.collector().await;
        self.all_consumed().await;
        collector.stop().await;
    }

    /// Waits until every message is committed.
    pub(crate) async fn all_consumed(&self) {
        eventually(async || {
            self.totals().await.iter().all(|totals| totals.committed_offset == totals.end_offset)
        })
        .await;
    }

    pub(crate) async fn totals(&self) -> Vec<PartitionTotals> {
        let totals = self.spool.totals().await.unwrap();
        let of_group = |totals: event_log::spool::PartitionTotals| {
            let group = totals.groups.iter().find(|group| group.group == GROUP);
            PartitionTotals {
                partition: totals.partition,
                first_offset: 0,
                committed_offset: group.map_or(0, |group| group.offset),
                end_offset: totals.end_offset,
                events: group.map_or(0, |group| group.events_consumed),
            }
        };
        totals.into_iter().map(of_group).collect()
    }

    pub(crate) async fn verify(&self) -> Report {
        verify(&self.warehouse, event_log::EVENTS_TOPIC, &self.totals().await).await.unwrap()
    }

    /// Everything holds, and nothing a producer numbered is missing.
    pub(crate) async fn assert_whole(&self, what: &str) -> Report {
        let report = self.verify().await;
        assert_eq!(report.findings, Vec::<String>::new(), "{what}");
        assert_eq!(report.producer_gaps, [], "{what}");
        report
    }

    /// Each kept event has its spans, each span is there once, and is part of one that is.
    pub(crate) async fn assert_traced(&self, what: &str) {
        for sql in [
            "SELECT count() = uniqExact(TraceId, SpanId) FROM otel_traces",
            "SELECT arraySort(groupArray((TraceId, SpanId))) = (SELECT arraySort(groupUniqArray((trace_id, span_id))) FROM requests) FROM otel_traces WHERE SpanKind = 'Server'",
            "SELECT countIf(SpanName = 'publish') = countIf(SpanKind = 'Server') AND countIf(SpanName = 'collect') = countIf(SpanKind = 'Server') FROM otel_traces",
            "SELECT count() = 0 FROM otel_traces WHERE ParentSpanId != '' AND (TraceId, ParentSpanId) NOT IN (SELECT TraceId, SpanId FROM otel_traces)",
            "SELECT uniqExact(TraceId) = (SELECT uniqExact(TraceId) FROM otel_traces_trace_id_ts) FROM otel_traces",
        ] {
            assert_eq!(self.number(&format!("({sql})")).await, 1, "{what}: {sql}");
        }
    }

    pub(crate) async fn number(&self, sql: &str) -> u64 {
        let rows: Vec<u64> =
            self.warehouse.rows(&format!("SELECT toUInt64(assumeNotNull({sql}))"), &[]).await.unwrap();
        rows[0]
    }
}

impl Collector {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// A sample of its metrics, by the line it stands in.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        metric(&self.metrics, name)
    }

    /// As by `kill -9`: nothing of it gets to do anything more.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A sample of a collector's metrics, which outlive it.
pub(crate) fn metric(metrics: &CollectorMetrics, name: &str) -> f64 {
    let (mut registry, mut text) = (Registry::default(), String::new());
    metrics.register(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Waits until the condition holds; a minute is far more than anything here takes.
pub(crate) async fn eventually(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it did not come to pass");
}
