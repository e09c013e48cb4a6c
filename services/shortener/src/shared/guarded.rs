//! Shared state behind a circuit breaker, its calls timed and counted. What to do without it is for who calls to decide.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::local::LocalState;
use super::{Bucket, Change, Entry, SharedError, SharedState, Taken};
use crate::breaker::Breaker;
use crate::config::BreakerConfig;
use crate::metrics::Dependencies;

/// Name of the breaker, in events and metrics.
pub const DEPENDENCY: &str = "redis";

/// Shared state that is left alone while it fails.
pub struct Guarded {
    inner: Arc<dyn SharedState>,
    breaker: Breaker,
    metrics: Dependencies,
}

impl Guarded {
    /// Puts a breaker around what is elsewhere; what is local needs none.
    pub fn wrap(
        inner: Arc<dyn SharedState>,
        config: &BreakerConfig,
        metrics: &Dependencies,
    ) -> Arc<dyn SharedState> {
        if inner.kind() == LocalState::KIND {
            return inner;
        }
        let breaker = Breaker::new(DEPENDENCY, config, metrics);
        Arc::new(Self { inner, breaker, metrics: metrics.clone() })
    }

    async fn call<T>(
        &self,
        name: &'static str,
        answer: impl Future<Output = Result<T, SharedError>>,
    ) -> Result<T, SharedError> {
        let call = self.breaker.admit().map_err(|_| SharedError::BreakerOpen)?;
        let started = Instant::now();
        let answer = answer.await;
        self.metrics.shared_called(name, started.elapsed());
        call.ended(&answer, |_| true);
        answer.inspect_err(|error| self.metrics.shared_failed(error.kind()))
    }
}

#[async_trait]
impl SharedState for Guarded {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn ping(&self) -> Result<(), SharedError> {
        self.call("ping", self.inner.ping()).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, SharedError> {
        self.call("get", self.inner.get(key)).await
    }

    async fn put(&self, key: &str, entry: Entry, change: Option<&Change>) -> Result<bool, SharedError> {
        self.call("put", self.inner.put(key, entry, change)).await
    }

    async fn announce(&self, change: &Change) -> Result<(), SharedError> {
        self.call("announce", self.inner.announce(change)).await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes()
    }

    async fn take(&self, name: &str, bucket: Bucket, tokens: u32) -> Result<Taken, SharedError> {
        self.call("take", self.inner.take(name, bucket, tokens)).await
    }

    async fn lease(&self, name: &str, holder: &str, keep: Duration) -> Result<bool, SharedError> {
        self.call("lease", self.inner.lease(name, holder, keep)).await
    }
}
