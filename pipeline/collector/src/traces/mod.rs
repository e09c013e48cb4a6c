//! The store of traces: spans come in over OTLP and go into `otel_traces`. A module a stage: `serve` listens, `grpc` and `http`
//! speak, `body` and `weight` bound what arrives, `receive` takes an export, `decode` makes rows of it (`attributes`, `privacy`, `row`), `queue` holds
//! them, `insert` stores them. What goes out, to here and to backends, is `export`'s.
//!
//! All of it is on one thread of its own, with its own connection: a flood of spans takes a core at the most, and the events'
//! path waits for none of them.

mod attributes;
mod body;
mod config;
mod decode;
mod export;
mod grpc;
mod http;
mod insert;
mod metrics;
mod privacy;
mod queue;
mod receive;
pub(crate) mod row;
mod serve;
mod weight;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::task;
use tokio_util::sync::CancellationToken;
use warehouse::{Warehouse, WarehouseConfig};

pub use config::TracesConfig;
pub(crate) use export::Exported;
pub use export::{EventSpans, ExportConfig, Exporting, Process, Protocol, SpanExport};
pub use metrics::TraceMetrics;

use insert::Inserter;
use queue::Queue;
use receive::Receiver;

/// Receives spans on `listener` and stores them, on a thread of its own, until `shutdown` is cancelled and requests under way
/// are answered; or until storing breaks by a bug, which is logged and seen in the metric `receiving`. The configuration should have passed [`TracesConfig::check`]. Tables that are not there yet are waited for.
///
/// # Errors
/// When the thread or its runtime can't be made.
pub fn spawn(
    config: TracesConfig,
    listener: TcpListener,
    warehouse: &WarehouseConfig,
    metrics: TraceMetrics,
    shutdown: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tcp = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    // Connections belong to the runtime that uses them.
    let warehouse = Warehouse::new(warehouse);
    let run = async move {
        let bytes_max = usize::try_from(config.queue_bytes_max).unwrap_or(usize::MAX);
        let queue = Arc::new(Queue::new(bytes_max, metrics.clone()));
        let flush_after = config.flush_after();
        let inserter =
            Inserter { queue: Arc::clone(&queue), warehouse, flush_after, metrics: metrics.clone() };
        let storing = tokio::spawn(inserter.work());
        let receiving = metrics.receiving();
        let serving = serve::serve(tcp, Arc::new(Receiver::new(config, queue, metrics)), shutdown);
        serve_while_stored(serving, storing).await;
        drop(receiving);
    };
    thread::Builder::new().name("traces".to_owned()).spawn(move || runtime.block_on(run))
}

/// Serves as long as what is taken gets stored. Without that it would hold what it has for ever: its listener and connections
/// go, which exporters understand, and events are not concerned.
async fn serve_while_stored(serving: impl Future<Output = ()>, mut storing: task::JoinHandle<()>) {
    tokio::select! {
        () = serving => {}
        // What it panicked with may have texts of spans in it.
        _ = &mut storing => {
            tracing::error!("storing spans broke by a bug; none are received until the collector is started again");
        }
    }
    // What is left is in no answer: its exporters have it, and send it again.
    storing.abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_can_store_no_more_does_not_serve_and_says_so() {
        let metrics = TraceMetrics::default();
        let shown = |metrics: &TraceMetrics| {
            let (mut registry, mut text) = (prometheus_client::registry::Registry::default(), String::new());
            metrics.register(&mut registry);
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text.contains("collector_trace_receiving 1\n")
        };
        let receiving = metrics.receiving();
        let storing = tokio::spawn(async { panic!("a bug") });
        assert!(shown(&metrics));
        serve_while_stored(std::future::pending(), storing).await;
        drop(receiving);
        assert!(!shown(&metrics));
        // An end in good order stops what stores.
        let storing = tokio::spawn(std::future::pending());
        let stops = storing.abort_handle();
        serve_while_stored(std::future::ready(()), storing).await;
        while !stops.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}
