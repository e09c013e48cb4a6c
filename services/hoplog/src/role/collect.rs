//! `hoplog collect`: spool, collector and ClickHouse put together.

use std::process::ExitCode;

use anyhow::{Context, Result};
use collector::CollectorMetrics;
use event_log::spool::Spool;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use warehouse::Warehouse;

use super::stop;
use crate::config::Config;
use crate::ops::{self, Ops, Readiness};

/// The collectors' group at the event log: what is committed under it has been stored.
pub(crate) const GROUP: &str = "hoplog-collector";

/// Runs until it is told to stop.
///
/// # Errors
/// When the event log can't be used, the policy is wrong, or a failure needs a person.
pub(crate) async fn run(config: Config, supervised: bool) -> Result<ExitCode> {
    let stop = stop::listen(supervised).context("can't catch signals")?;
    let metrics = CollectorMetrics::default();
    let mut registry = Registry::default();
    metrics.register(registry.sub_registry_with_prefix("hoplog"));
    let health = metrics.health.clone();
    let ops = tokio::spawn(ops::serve(
        ops::bind(config.collect.ops_listen).await?,
        Ops {
            registry,
            readiness: Box::new(move || health.blocked_by().map_or(Readiness::Ready, Readiness::NotReady)),
        },
        stop::stopped(stop.clone()),
    ));
    let spool = Spool::new(config.spool);
    spool.open().await.context("can't open the event log")?;
    let consumer = spool.consumer(GROUP).await.context("can't consume the event log")?;
    let warehouse = Warehouse::new(&config.warehouse);
    let shutdown = CancellationToken::new();
    let stopping = shutdown.clone();
    tokio::spawn(async move {
        stop::stopped(stop).await;
        stopping.cancel();
    });
    collector::run(config.collect.collector, Box::new(consumer), warehouse, metrics, shutdown).await?;
    ops.await.context("the ops listener broke")??;
    Ok(ExitCode::SUCCESS)
}
