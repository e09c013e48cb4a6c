//! Spans on their way out: the collector's own, to the receiver beside it, and these and those of kept events to a backend such
//! as Jaeger or Tempo. A module a stage: `ranges` decides which of the first are kept, `events` takes the others, `queue` holds
//! them, `otlp` makes requests of them, `work` and `send` bring them away.
//!
//! All of it is on one thread of its own. Whoever makes a span puts it into a bounded queue, which never waits; what a
//! destination does not take in time is dropped, and counted.

mod config;
mod events;
mod metrics;
mod otlp;
mod queue;
mod ranges;
mod send;
mod work;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

pub use config::{ExportConfig, Protocol};
pub use events::EventSpans;
pub(crate) use events::Exported;

use super::TracesConfig;
use crate::RANGE_SPANS;
use config::Backend;
use metrics::ExportMetrics;
use queue::Queue;
use ranges::Ranges;
use send::Client;
use work::Sender;

/// `service.name` of the collector, whatever service it collects from.
const SERVICE: &str = "hoplog-collector";

/// The collector's own spans that wait for the receiver beside it: some hundred ranges, while ClickHouse is away.
const OWN_SPANS_MAX: usize = 5000;

/// What this process calls itself in its spans, beside the name of the service, which is `hoplog-collector`.
#[derive(Debug, Clone)]
pub struct Process {
    /// `service.version`.
    pub version: String,
    /// `service.instance.id`.
    pub instance: String,
    /// `deployment.environment.name`.
    pub environment: String,
}

/// The export of spans, before it begins: spans may be made already, and wait.
#[derive(Debug)]
pub struct SpanExport {
    process: ResourceAttributesWithSchema,
    range_every: Duration,
    metrics: ExportMetrics,
    destinations: Vec<(Backend, Arc<Queue>)>,
    event_spans: EventSpans,
}

impl SpanExport {
    /// To the receiver and to the backend, as far as they are configured. The configuration should have passed
    /// [`TracesConfig::check`].
    #[must_use]
    pub fn new(config: &TracesConfig, process: Process) -> Self {
        let metrics = ExportMetrics::default();
        let own = config.enabled.then(|| Backend::own(config.listen, config.answer_after()));
        let own = own.map(|own| (own, Arc::new(Queue::new(OWN_SPANS_MAX, metrics.of("own")))));
        let queue = || Arc::new(Queue::new(config.export.queue_spans_max, metrics.of("backend")));
        let backend = config.export.backend().map(|backend| (backend, queue()));
        Self {
            process: ResourceAttributesWithSchema::from(&process.resource()),
            range_every: Duration::from_secs(config.range_every_s),
            // Our own table has them by another way.
            event_spans: EventSpans::to(backend.as_ref().map(|(_, queue)| Arc::clone(queue))),
            destinations: own.into_iter().chain(backend).collect(),
            metrics,
        }
    }

    /// Where spans of kept events are put, for [`crate::run`].
    #[must_use]
    pub fn event_spans(&self) -> EventSpans {
        self.event_spans.clone()
    }

    /// Adds the metrics to a registry, whose prefix is the caller's.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// What makes traces of the spans of ranges ([`crate::RANGE_SPANS`]) and looks at nothing else. `None` where they would go
    /// nowhere.
    #[must_use]
    pub fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let tracer = self.tracer()?;
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        // A span says what it did; where in the source, on which thread and how often it was polled is of no use.
        let layer = layer.with_location(false).with_threads(false).with_target(false);
        let layer = layer.with_tracked_inactivity(false).with_context_activation(false);
        // Without the hint, `tracing` would have to ask about each of everybody's smaller spans and events.
        let filter = filter_fn(|of| of.target() == RANGE_SPANS).with_max_level_hint(LevelFilter::INFO);
        Some(layer.with_filter(filter))
    }

    fn tracer(&self) -> Option<SdkTracer> {
        if self.range_every.is_zero() || self.destinations.is_empty() {
            return None;
        }
        let queues = self.destinations.iter().map(|(_, queue)| Arc::clone(queue));
        let provider = SdkTracerProvider::builder()
            // Which traces are kept is decided at their end.
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(Ranges::new(self.range_every, queues.collect()))
            .build();
        Some(provider.tracer("hoplog"))
    }

    /// Begins to send, on a thread of its own.
    ///
    /// # Errors
    /// When the thread or its runtime can't be made, or an address is none.
    pub fn start(self) -> io::Result<Exporting> {
        let shutdown = CancellationToken::new();
        let mut exporting = Exporting { thread: None, shutdown: shutdown.clone().drop_guard() };
        if self.destinations.is_empty() {
            return Ok(exporting);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let process = Arc::new(self.process);
        let mut senders = JoinSet::new();
        for (backend, queue) in self.destinations {
            // Connections belong to the runtime that uses them.
            let _inside = runtime.enter();
            let client = Client::new(backend).map_err(io::Error::other)?;
            let sender = Sender { queue, client, process: Arc::clone(&process) };
            senders.spawn_on(sender.work(shutdown.clone()), runtime.handle());
        }
        let run = move || {
            runtime.block_on(async { while senders.join_next().await.is_some() {} });
            // A request that hangs is not waited for.
            runtime.shutdown_background();
        };
        exporting.thread = Some(thread::Builder::new().name("traces-export".to_owned()).spawn(run)?);
        Ok(exporting)
    }
}

impl Process {
    fn resource(self) -> Resource {
        let attributes = [
            ("service.name", SERVICE.to_owned()),
            ("service.version", self.version),
            ("service.instance.id", self.instance),
            ("deployment.environment.name", self.environment),
        ];
        let attributes = attributes.map(|(name, value)| KeyValue::new(name, value));
        Resource::builder_empty().with_attributes(attributes).build()
    }
}

/// The export while it runs; dropped, it stops by itself.
#[derive(Debug)]
pub struct Exporting {
    thread: Option<JoinHandle<()>>,
    shutdown: DropGuard,
}

impl Exporting {
    /// Ends what is under way and sends what waits, for three seconds at the most; the rest is dropped, and counted. Blocks
    /// meanwhile.
    pub fn stop(self) {
        drop(self.shutdown);
        // What it panicked with was said when it did.
        let _ = self.thread.map(JoinHandle::join);
    }
}
