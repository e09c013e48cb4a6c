#![doc = include_str!("../README.md")]

mod backoff;
mod batch;
mod clicks;
mod commit;
mod config;
mod consume;
mod dead_letter;
mod decode;
mod error;
mod failure;
mod health;
mod histogram;
mod insert;
mod intent;
mod metrics;
mod policy;
mod range;
mod requests;
mod rollup;
mod sample;
mod sequences;
mod symbols;

use std::sync::Arc;

use event_log::Consumer;
use tokio_util::sync::CancellationToken;
use warehouse::Warehouse;

pub use config::CollectorConfig;
pub use error::CollectorError;
pub use health::Health;
pub use metrics::CollectorMetrics;
pub use policy::Policy;

/// Moves events from the log into ClickHouse until `shutdown` is cancelled. The configuration should have passed
/// [`CollectorConfig::check`]; the tables are expected to be there ([`warehouse::migrate`]), and waited for.
///
/// # Errors
/// See [`CollectorError`]. Nothing is lost: what was not committed is read again.
pub async fn run(
    config: CollectorConfig,
    consumer: Box<dyn Consumer>,
    warehouse: Warehouse,
    metrics: CollectorMetrics,
    shutdown: CancellationToken,
) -> Result<(), CollectorError> {
    let policy = Arc::new(Policy::load(config.policy_file.as_deref())?);
    let store = insert::Store { warehouse, metrics };
    if !commit::open_gate(&store, &policy, &shutdown).await {
        return Ok(());
    }
    commit::Run::new(config, consumer, store, policy, shutdown).work().await
}
