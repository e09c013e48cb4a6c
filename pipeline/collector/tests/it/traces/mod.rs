//! The receiver of traces with the real engine: what exporters send is found in the tables, and what can't be stored is
//! answered as OTLP asks.

mod clients;
mod export;
mod faults;
mod http;

use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use collector::{TraceMetrics, TracesConfig, receive_traces};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use warehouse::{Warehouse, WarehouseConfig, migrate};

use super::proxy::Proxy;

/// A receiver that inserts through a proxy into a database of its own.
struct Traces {
    address: String,
    proxy: Proxy,
    /// Past the proxy.
    warehouse: Warehouse,
    metrics: TraceMetrics,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Traces {
    async fn start(database: &str) -> Self {
        Self::with(database, TracesConfig { flush_ms_max: 10, ..TracesConfig::default() }).await
    }

    async fn with(database: &str, config: TracesConfig) -> Self {
        let proxy = Proxy::start().await;
        let to = |address: &str| WarehouseConfig {
            url: format!("http://{address}"),
            database: database.to_owned(),
            insert_ms_max: 3000,
            ..WarehouseConfig::default()
        };
        let warehouse = Warehouse::new(&to(testbed::shared_engine_address()));
        migrate(&warehouse).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (metrics, shutdown) = (TraceMetrics::default(), CancellationToken::new());
        let thread = receive_traces(config, listener, &to(&proxy.address), metrics.clone(), shutdown.clone());
        Self { address, proxy, warehouse, metrics, shutdown, thread: Some(thread.unwrap()) }
    }

    /// Ends it in good order.
    fn stop(&mut self) {
        self.shutdown.cancel();
        self.thread.take().unwrap().join().unwrap();
    }

    async fn number(&self, sql: &str) -> u64 {
        self.warehouse.rows::<u64>(sql, &[]).await.unwrap()[0]
    }

    /// Spans in the table.
    async fn spans(&self) -> u64 {
        self.number("SELECT count() FROM otel_traces").await
    }

    /// A sample of its metrics, by the line it stands in.
    fn metric(&self, name: &str) -> u64 {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.metrics.register(&mut registry);
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// Sends JSON.
    fn post(&self, export: &Value) -> Answer {
        self.send("application/json", None, export.to_string().as_bytes())
    }

    fn send(&self, content_type: &str, encoding: Option<&str>, body: &[u8]) -> Answer {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut request = agent.post(format!("http://{}/v1/traces", self.address));
        request = request.header("content-type", content_type);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let mut response = tokio::task::block_in_place(|| request.send(body)).unwrap();
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        Answer {
            status: response.status().as_u16(),
            content_type: header("content-type"),
            retry_after: header("retry-after").parse().ok(),
            body: response.body_mut().read_to_vec().unwrap(),
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

struct Answer {
    status: u16,
    content_type: String,
    retry_after: Option<u64>,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn now_ns() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// A span that ends half a second after it began.
fn span(number: u64) -> Value {
    let start = now_ns();
    json!({
        "traceId": format!("{:032x}", u128::from(number) + 1),
        "spanId": format!("{:016x}", number + 1),
        "name": "work",
        "kind": 1,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": (start + 500_000_000).to_string(),
    })
}

fn export(spans: &[Value]) -> Value {
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]});
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]}]})
}
