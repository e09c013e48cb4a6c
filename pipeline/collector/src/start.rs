//! The gate at the start: nothing is consumed until the tables are there and fit, and the policy is known to whoever may
//! have to repeat our ranges. Also reads the policies of others.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use warehouse::{WarehouseError, schema_check};

use crate::backoff::Backoff;
use crate::failure::{Class, Failure};
use crate::health::Who;
use crate::policy::Policy;
use crate::store::Store;

/// Waits until the collector can store. `false`: told to stop before.
pub(crate) async fn open_gate(store: &Store, policy: &Policy, shutdown: &CancellationToken) -> bool {
    let mut backoff = Backoff::default();
    let opened = async {
        loop {
            let Err(error) = attempt(store, policy).await else { break };
            if Class::of(&error) == Class::Retry {
                store.metrics.gate(Who::Start, Some("waiting for ClickHouse".to_owned()));
            }
            store.wait(Who::Start, &Failure::from(error), &mut backoff).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => return false,
        () = opened => (),
    }
    store.metrics.gate(Who::Start, None);
    store.metrics.health.end(Who::Start);
    true
}

async fn attempt(store: &Store, policy: &Policy) -> Result<(), WarehouseError> {
    schema_check(&store.warehouse).await?;
    publish(store, policy).await
}

/// Makes the policy known, so that another collector can repeat a range that was begun under it.
async fn publish(store: &Store, policy: &Policy) -> Result<(), WarehouseError> {
    let block = crate::batch::policy_block(policy.version(), policy.text())
        .map_err(|source| WarehouseError::Block { table: "sampling_policies", source })?;
    store.warehouse.insert("sampling_policies", &block, &format!("policy:{}", policy.version())).await?;
    Ok(())
}

/// The policy of that version, as it was published.
pub(crate) async fn published(store: &Store, version: &str) -> Result<Arc<Policy>, Failure> {
    const SQL: &str = "SELECT text FROM sampling_policies WHERE version = {version:String} LIMIT 1";
    let texts: Vec<String> = store.warehouse.rows(SQL, &[("version", version)]).await?;
    let refuse = |why: &str| {
        Failure::Refused(format!("sampling policy {version}, under which the open range was begun, {why}"))
    };
    let text = texts.first().ok_or_else(|| refuse("is not in sampling_policies"))?;
    Policy::parse(text).map(Arc::new).map_err(|_| refuse("can't be read"))
}
