//! `hoplog serve`: listener, shortener, emitter and event log put together.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use emitter::Emitter;
use event_log::{EventLog, EventLogMetrics};
use prometheus_client::registry::Registry;
use shortener::listener::{self, Malformed};
use shortener::{Parts, Shortener};
use tokio::net::TcpListener;
use tower::Layer as _;
use warehouse::Warehouse;
use wide_event::Resource;

use super::opening::{Obstacle, Opening};
use super::stop;
use crate::config::{Config, ServiceConfig};
use crate::link_store;
use crate::log;
use crate::ops::{self, Ops, Readiness};

/// The secret in the link store under which visitors are hashed: one for all instances.
const VISITOR_SECRET: &str = "visitors";

/// The status in the event of a request that was cut off before there was an answer, as nginx has it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Runs until it is told to stop.
///
/// # Errors
/// When a part can't be opened, or an address can't be bound.
pub(crate) async fn run(config: Config, supervised: bool) -> Result<ExitCode> {
    let stop = stop::listen(supervised).context("can't catch signals")?;
    // Before anything is opened: a start that fails here leaves nothing behind.
    let address = config.serve.listen;
    let tcp = TcpListener::bind(address).await.with_context(|| format!("can't listen on {address}"))?;
    let ops_listener = ops::bind(config.serve.ops_listen).await?;
    let store = link_store::open_migrated(&config.serve.shortener.store).await?;
    let log_metrics = EventLogMetrics::default();
    let log = log::event_log(&config, &log_metrics);
    // Redirects need no log: nothing here waits for one.
    let opening = Opening::new();
    tokio::spawn(open(Arc::clone(&log), opening.clone()));
    let producer = log.producer(log_metrics.clone()).context("can't write to the event log")?;
    let flush_within = config.serve.emitter.flush_deadline();
    let (emitter, publisher) = Emitter::start(
        config.serve.emitter,
        resource(config.service),
        store.secret(VISITOR_SECRET, fresh_secret()).await.context("can't read the visitors' secret")?,
        Arc::clone(&producer),
    )?;
    let http = config.serve.shortener.http.clone();
    let parts = Parts {
        store: Arc::clone(&store),
        shared: shortener::shared::open(&config.serve.shortener.redis),
        warehouse: Some(Warehouse::new(&config.warehouse)),
    };
    let shortener = Shortener::open(config.serve.shortener, parts).await?;

    let mut registry = Registry::default();
    let metrics = registry.sub_registry_with_prefix("hoplog");
    emitter.register(metrics);
    shortener.metrics().register(metrics);
    log_metrics.register(metrics);
    opening.register(metrics);
    let publishing = emitter.clone();
    let ops = tokio::spawn(ops::serve(
        ops_listener,
        // Redirects go on without events: a load balancer that took every instance away would turn loss into outage.
        Ops {
            registry,
            readiness: Box::new(move || {
                let trouble = publishing.not_publishing().or_else(|| opening.trouble());
                trouble.map_or(Readiness::Ready, Readiness::Degraded)
            }),
        },
        stop::stopped(stop.clone()),
    ));

    let service = emitter.layer().layer(shortener.service());
    let malformed = {
        let emitter = emitter.clone();
        move |request: Malformed| {
            let status = request.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
            emitter.malformed(Some(request.peer), status, request.kind.as_str());
        }
    };
    tracing::info!(%address, boot_id = emitter.boot_id(), "serving");
    let metrics = shortener.metrics().clone();
    let drained =
        listener::serve(tcp, service, &http, metrics, Arc::new(malformed), stop::stopped(stop)).await;
    let flushed = publisher.shutdown(flush_within).await?;
    producer.close().await;
    store.close().await;
    tracing::info!(connections_cut = drained.cut, events_left = flushed.events_left, "ended");
    ops.await.context("the ops listener broke")??;
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that the log can be used, however long that takes.
async fn open(log: Arc<dyn EventLog>, opening: Opening) {
    opening.until_open(|| async { Ok::<_, Obstacle>(log.open().await?) }).await;
}

fn resource(service: ServiceConfig) -> Resource {
    Resource {
        service: service.name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: service.instance,
        environment: service.environment,
        ..Resource::default() // the emitter makes the boot's id
    }
}

/// 256 bits from the system, by way of two random UUIDs (122 bits each).
fn fresh_secret() -> [u8; 32] {
    let mut secret = [0; 32];
    secret[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    secret[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    secret
}
