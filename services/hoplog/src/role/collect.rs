//! `hoplog collect`: event log, collector and ClickHouse put together.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use collector::{CollectorMetrics, Process, SpanExport, TraceMetrics};
use event_log::EventLogMetrics;
use tokio_util::sync::{CancellationToken, DropGuard};
use warehouse::Warehouse;

use super::opening::{Obstacle, Opening};
use super::stop;
use crate::config::Config;
use crate::disk::DiskSpace;
use crate::log;
use crate::ops::{self, Ops, Readiness};
use crate::verify::{self, ProofMetrics};

/// The collectors' group at the event log: what is committed under it has been stored.
pub(crate) const GROUP: &str = "hoplog-collector";

/// Runs until it is told to stop.
///
/// # Errors
/// When the policy is wrong, the event log breaks, or a failure needs a person.
pub(crate) async fn run(config: Config, export: SpanExport, supervised: bool) -> Result<ExitCode> {
    let stop = stop::listen(supervised).context("can't catch signals")?;
    let (metrics, log_metrics, opening) =
        (CollectorMetrics::default(), EventLogMetrics::default(), Opening::event_log());
    let mut registry = ops::registry(&config.service.version);
    let prefixed = registry.sub_registry_with_prefix("hoplog");
    metrics.register(prefixed);
    log_metrics.register(prefixed);
    opening.register(prefixed);
    let proof = ProofMetrics::default();
    proof.register(prefixed);
    prefixed.register_collector(Box::new(DiskSpace::of(&config.spool.path)));
    let trace_metrics = TraceMetrics::default();
    if config.collect.traces.enabled {
        // Where nothing is to be received, nothing says that nothing is.
        trace_metrics.register(prefixed);
    }
    export.register(prefixed);
    let event_spans = export.event_spans();
    let traces = bind_traces(&config)?;
    let ops = tokio::spawn(ops::serve(
        ops::bind(config.collect.ops_listen).await?,
        Ops {
            registry: Arc::new(Mutex::new(registry)),
            further: Box::new(|_| {}),
            readiness: readiness(opening.clone(), metrics.clone()),
        },
        stop::stopped(stop.clone()),
    ));
    // It needs no event log, and nothing of it is waited for.
    let receiver = Receiver::start(&config, traces, trace_metrics)?;
    let exporting = export.start().context("can't export spans")?;
    let log = log::event_log(&config, &log_metrics);
    let opened = opening.until_open(|| async {
        log.open().await?;
        Ok::<_, Obstacle>(log.dead_letters(log_metrics.clone())?)
    });
    let opened = tokio::select! {
        opened = opened => Some(opened),
        () = stop::stopped(stop.clone()) => None,
    };
    if let Some(dead_letters) = opened {
        let warehouse = Warehouse::new(&config.warehouse);
        if let every @ 1.. = config.collect.verify_every_s {
            tokio::spawn(verify::watch(log.clone(), warehouse.clone(), proof, Duration::from_secs(every)));
        }
        let shutdown = CancellationToken::new();
        let stopping = shutdown.clone();
        tokio::spawn(async move {
            stop::stopped(stop).await;
            stopping.cancel();
        });
        let join = opening.until_open(|| async { Ok::<_, Obstacle>(log.consumer(GROUP).await?) });
        let collector = config.collect.collector;
        collector::run(collector, join, dead_letters, warehouse, metrics, event_spans, shutdown).await?;
    }
    // The receiver is one of those that it sends to.
    tokio::task::spawn_blocking(|| exporting.stop()).await.context("can't wait for the spans")?;
    receiver.stop().await?;
    ops.await.context("the ops listener broke")??;
    Ok(ExitCode::SUCCESS)
}

/// Where spans go, and what this process calls itself in them.
pub(crate) fn span_export(config: &Config) -> SpanExport {
    let service = &config.service;
    let process = Process {
        version: service.version.clone(),
        instance: service.instance.clone(),
        environment: service.environment.clone(),
    };
    SpanExport::new(&config.collect.traces, process)
}

/// Takes the receiver's address, if there is to be one, so that what is in its way shows at once.
fn bind_traces(config: &Config) -> Result<Option<TcpListener>> {
    let traces = &config.collect.traces;
    let bind = || TcpListener::bind(traces.listen);
    let listener = traces.enabled.then(bind).transpose();
    listener.with_context(|| format!("can't listen on {} (traces)", traces.listen))
}

/// The receiver of traces on its thread, until it is told to stop or dropped.
struct Receiver {
    thread: Option<JoinHandle<()>>,
    shutdown: DropGuard,
}

impl Receiver {
    fn start(config: &Config, listener: Option<TcpListener>, metrics: TraceMetrics) -> Result<Self> {
        let shutdown = CancellationToken::new();
        let start = |listener| {
            let traces = config.collect.traces.clone();
            collector::receive_traces(traces, listener, &config.warehouse, metrics, shutdown.clone())
        };
        let thread = listener.map(start).transpose().context("can't receive traces")?;
        Ok(Self { thread, shutdown: shutdown.drop_guard() })
    }

    /// Answers what is under way; the thread bounds how long that takes.
    async fn stop(self) -> Result<()> {
        drop(self.shutdown);
        let Some(thread) = self.thread else { return Ok(()) };
        let ended =
            tokio::task::spawn_blocking(|| thread.join()).await.context("can't wait for the traces")?;
        ended.map_err(|_| anyhow!("the receiver of traces broke"))
    }
}

/// A collector gets no traffic: its readiness says whether events are stored, and if not, why.
fn readiness(opening: Opening, metrics: CollectorMetrics) -> Box<dyn Fn() -> Readiness + Send + Sync> {
    Box::new(move || {
        let trouble = opening.trouble().or_else(|| metrics.health.blocked_by());
        trouble.map_or(Readiness::Ready, Readiness::NotReady)
    })
}
