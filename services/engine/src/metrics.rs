//! What the engine counts about its HTTP interface. The engine's own insides are in `system.metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};

/// Labels of a finished query.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueryLabels {
    /// `read`, `insert` or `other`.
    kind: &'static str,
    /// `ok`, `failed`, `cancelled` or `refused`.
    outcome: &'static str,
}

/// Counters of the engine; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct EngineMetrics {
    queries: Family<QueryLabels, Counter>,
    pub(crate) running: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) rows_written: Counter,
    pub(crate) duration: Histogram,
}

impl Default for EngineMetrics {
    fn default() -> Self {
        Self {
            queries: Family::default(),
            running: Gauge::default(),
            connections: Gauge::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            rows_written: Counter::default(),
            // From a point query (half a millisecond) to a scan that is given up.
            duration: Histogram::new([0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]),
        }
    }
}

impl EngineMetrics {
    /// All of them in Prometheus' text format, as ClickHouse itself gives its own at `/metrics`.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("hoplog");
        self.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("engine_queries", "Finished requests with a query", self.queries.clone());
        registry.register("engine_queries_running", "Queries that run now", self.running.clone());
        registry.register("engine_connections", "Open HTTP connections", self.connections.clone());
        registry.register_with_unit("engine_in", "Received in bodies", Unit::Bytes, self.bytes_in.clone());
        registry.register_with_unit("engine_out", "Sent in bodies", Unit::Bytes, self.bytes_out.clone());
        registry.register(
            "engine_rows_written",
            "Rows written, those of materialized views included",
            self.rows_written.clone(),
        );
        registry.register_with_unit(
            "engine_query_duration",
            "From the head of the request to the end of the query",
            Unit::Seconds,
            self.duration.clone(),
        );
    }

    pub(crate) fn finished(&self, kind: &'static str, outcome: &'static str) {
        self.queries.get_or_create(&QueryLabels { kind, outcome }).inc();
    }
}
