//! `hoplog serve`: listener, shortener, emitter and event log put together.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Context, Result};
use emitter::Emitter;
use event_log::{EventLog, EventLogMetrics};
use prometheus_client::registry::Registry;
use shortener::listener::{self, Drained, Malformed};
use shortener::metrics::StorePools;
use shortener::store::{self, LinkStore};
use shortener::{Parts, Shortener, ShortenerConfig};
use tokio::net::{TcpListener, TcpSocket};
use tower::Layer as _;
use warehouse::Warehouse;
use wide_event::Resource;

use super::opening::{Obstacle, Opening};
use super::stop::{self, Stop};
use crate::config::{Config, ServiceConfig};
use crate::disk::DiskSpace;
use crate::link_store;
use crate::log;
use crate::ops::{self, Ops, Readiness};

/// The secret in the link store under which visitors are hashed: one for all instances.
const VISITOR_SECRET: &str = "visitors";

/// The status in the event of a request that was cut off before there was an answer, as nginx has it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Connections that wait to be accepted, as many as the system allows by default.
const BACKLOG: u32 = 4_096;

/// Runs until it is told to stop.
///
/// # Errors
/// When an address can't be bound, or something is wrong that no waiting mends.
pub(crate) async fn run(config: Config, supervised: bool) -> Result<ExitCode> {
    let stop = stop::listen(supervised).context("can't catch signals")?;
    // Before anything is opened: a start that fails here leaves nothing behind. Nobody can connect before it listens.
    let socket = bind(config.serve.listen)?;
    let ops_listener = ops::bind(config.serve.ops_listen).await?;
    link_store::check_made(&config.serve.shortener.store)?;
    let registry = Arc::new(Mutex::new(ops::registry(&config.service.version)));
    let (store_opening, log_opening) = (Opening::link_store(), Opening::event_log());
    let log_metrics = EventLogMetrics::default();
    register(&registry, |metrics| {
        store_opening.register(metrics);
        log_opening.register(metrics);
        log_metrics.register(metrics);
        metrics.register_collector(Box::new(DiskSpace::of(&config.spool.path)));
    });
    let publishing = Arc::new(OnceLock::new());
    let readiness =
        readiness(stop.clone(), store_opening.clone(), log_opening.clone(), Arc::clone(&publishing));
    // Metrics and health to the very end: who waits for this process to drain can watch it.
    let (ended, wait_for_end) = tokio::sync::oneshot::channel::<()>();
    let ops = Ops { registry: Arc::clone(&registry), further: durations(Arc::clone(&publishing)), readiness };
    let ops = tokio::spawn(ops::serve(ops_listener, ops, async {
        let _ = wait_for_end.await;
    }));

    let opened = tokio::select! {
        opened = store_opening.until_open(|| open_store(&config)) => opened,
        () = stop::stopped(stop.clone()) => return Ok(ExitCode::SUCCESS),
    };
    let log = log::event_log(&config, &log_metrics);
    // Redirects need no log: nothing here waits for one.
    tokio::spawn(open_log(Arc::clone(&log), log_opening));
    let producer = log.producer(log_metrics).context("can't write to the event log")?;
    let flush_within = config.serve.emitter.flush_deadline();
    let (emitter, publisher) = Emitter::start(
        config.serve.emitter,
        resource(config.service),
        opened.visitors,
        Arc::clone(&producer),
    )?;
    let _ = publishing.set(emitter.clone());
    emitter.expect_routes(&shortener::VISIT_ROUTES);
    register(&registry, |metrics| {
        emitter.register(metrics);
        opened.shortener.metrics().register(metrics);
        metrics.register_collector(Box::new(StorePools::new(Arc::clone(&opened.store))));
    });

    let tcp = socket.listen(BACKLOG).with_context(|| format!("can't listen on {}", config.serve.listen))?;
    tracing::info!(address = %config.serve.listen, boot_id = emitter.boot_id(), "serving");
    let drained = serve(tcp, &config.serve.shortener, &emitter, &opened.shortener, stop).await;
    opened.shortener.close().await;
    let flushed = publisher.shutdown(flush_within).await?;
    producer.close().await;
    opened.store.close().await;
    tracing::info!(connections_cut = drained.cut, events_left = flushed.events_left, "ended");
    let _ = ended.send(());
    ops.await.context("the ops listener broke")??;
    Ok(ExitCode::SUCCESS)
}

/// What needs the link store to be there.
struct Opened {
    store: Arc<dyn LinkStore>,
    /// The secret under which visitors are hashed.
    visitors: [u8; 32],
    shortener: Shortener,
}

async fn open_store(config: &Config) -> Result<Opened, Obstacle> {
    let store = store::open(&config.serve.shortener.store).await?;
    // Before anything is served with a schema that is too old for it.
    store.ping().await?;
    let visitors = store.secret(VISITOR_SECRET, fresh_secret()).await?;
    let parts = Parts {
        store: Arc::clone(&store),
        shared: shortener::shared::open(&config.serve.shortener.redis),
        warehouse: Some(Warehouse::new(&config.warehouse)),
        version: config.service.version.clone(),
    };
    let shortener = Shortener::open(config.serve.shortener.clone(), parts).await?;
    Ok(Opened { store, visitors, shortener })
}

/// Takes the address without listening on it.
fn bind(address: SocketAddr) -> Result<TcpSocket> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of a process before this one may still be closing.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok::<_, std::io::Error>(socket)
    };
    bind().with_context(|| format!("can't listen on {address}"))
}

fn register(registry: &Mutex<Registry>, parts: impl FnOnce(&mut Registry)) {
    parts(ops::lock(registry).sub_registry_with_prefix("hoplog"));
}

/// Not before the link store is open and not after the order to end. Redirects go on without events: a load balancer that
/// took every instance away would turn loss into outage.
fn readiness(
    stop: Stop,
    store: Opening,
    log: Opening,
    publishing: Arc<OnceLock<Emitter>>,
) -> Box<dyn Fn() -> Readiness + Send + Sync> {
    Box::new(move || {
        if *stop.borrow() {
            return Readiness::NotReady("ending".to_owned());
        }
        let Some(emitter) = publishing.get() else {
            return Readiness::NotReady(store.trouble().unwrap_or_else(|| "starting".to_owned()));
        };
        let trouble = emitter.not_publishing().or_else(|| log.trouble());
        trouble.map_or(Readiness::Ready, Readiness::Degraded)
    })
}

/// The histogram of requests, once there can be any.
fn durations(publishing: Arc<OnceLock<Emitter>>) -> Box<dyn Fn(&mut String) + Send + Sync> {
    Box::new(move |text| {
        if let Some(emitter) = publishing.get() {
            emitter.write_durations("hoplog", text);
        }
    })
}

async fn serve(
    tcp: TcpListener,
    config: &ShortenerConfig,
    emitter: &Emitter,
    shortener: &Shortener,
    stop: Stop,
) -> Drained {
    shortener.follow(emitter.clone());
    let service = emitter.layer().layer(shortener.service());
    let malformed = {
        let emitter = emitter.clone();
        move |request: Malformed| {
            let status = request.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
            emitter.malformed(Some(request.peer), status, request.kind.as_str());
        }
    };
    let metrics = shortener.metrics().clone();
    listener::serve(tcp, service, config, metrics, Arc::new(malformed), stop::stopped(stop)).await
}

/// Makes sure that the log can be used, however long that takes.
async fn open_log(log: Arc<dyn EventLog>, opening: Opening) {
    opening.until_open(|| async { Ok::<_, Obstacle>(log.open().await?) }).await;
}

fn resource(service: ServiceConfig) -> Resource {
    Resource {
        service: service.name,
        version: service.version,
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
