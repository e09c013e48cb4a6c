//! The event log in two SQLite files on this machine: for one machine with nothing installed.
//! The policy when it is full, and what survives what, is in the crate's README.

mod append;
mod commit;
mod config;
mod consume;
mod failure;
mod files;
#[cfg(test)]
mod model;
mod retain;
mod stored;
mod stray;
mod totals;
mod turn;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

pub use append::SpoolProducer;
pub use config::{SpoolConfig, Synchronous};
pub use consume::SpoolConsumer;
pub use failure::OpenError;
pub use totals::{GroupTotals, PartitionTotals};

use crate::{ConsumeError, Consumer, EventLog, EventLogMetrics, PartitionState, Producer};
use failure::Failure;
use turn::Turns;

/// A spool by its configuration; cheap to clone. Any number of processes may use the same directory.
#[derive(Debug, Clone)]
pub struct Spool {
    config: Arc<SpoolConfig>,
    /// Told after each append of this process, so that a consumer in it need not poll.
    appended: Arc<Notify>,
}

impl Spool {
    /// Touches nothing yet. The configuration should have passed [`SpoolConfig::check`].
    pub fn new(config: SpoolConfig) -> Self {
        Self { config: Arc::new(config), appended: Arc::new(Notify::new()) }
    }

    /// Creates the spool if there is none and checks that it can be used. Producers and consumers do so by
    /// themselves; calling it at the start tells of a wrong path or version early.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(&self) -> Result<(), OpenError> {
        files::create(&self.config).await
    }

    /// Starts the task that appends, looks after retention and keeps the gauges; one a process is enough. It needs
    /// a tokio runtime, and opens the spool when first needed and again after a failure.
    pub fn producer(&self, metrics: EventLogMetrics) -> SpoolProducer {
        SpoolProducer::start(self.clone(), metrics)
    }

    /// Takes over the group: whoever consumed for it before gets `Fenced` from here on. A restarted collector
    /// therefore never waits for a killed one. A new group starts at the oldest message there is.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub async fn consumer(&self, group: &str) -> Result<SpoolConsumer, ConsumeError> {
        files::create(&self.config).await.map_err(Failure::from)?;
        SpoolConsumer::take_over(self.clone(), group).await
    }

    /// What was accepted and consumed in total, a partition each in ascending order; also of messages that
    /// retention has deleted. Reads only; never creates a spool.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub async fn totals(&self) -> Result<Vec<PartitionTotals>, ConsumeError> {
        Ok(totals::read(&self.config).await?)
    }

    /// Events accepted in the messages `[first, until)`, also of those that retention has deleted if `first` is 0.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub async fn count_events(&self, partition: u32, first: u64, until: u64) -> Result<u64, ConsumeError> {
        Ok(totals::count(&self.config, partition, first, until).await?)
    }

    fn turns(&self) -> Turns {
        Turns::new(self.config.path.clone(), Duration::from_millis(self.config.busy_ms))
    }
}

#[async_trait]
impl EventLog for Spool {
    fn topic(&self) -> &str {
        &self.config.topic
    }

    async fn open(&self) -> Result<(), crate::OpenError> {
        Ok(Self::open(self).await?)
    }

    fn producer(&self, metrics: EventLogMetrics) -> Result<Arc<dyn Producer>, crate::OpenError> {
        Ok(Arc::new(Self::producer(self, metrics)))
    }

    /// The spool has no other readers than the collector: its dead letters are in the table alone.
    fn dead_letters(&self, _: EventLogMetrics) -> Result<Option<Arc<dyn Producer>>, crate::OpenError> {
        Ok(None)
    }

    async fn consumer(&self, group: &str) -> Result<Box<dyn Consumer>, ConsumeError> {
        Ok(Box::new(Self::consumer(self, group).await?))
    }

    async fn partitions(&self, group: &str) -> Result<Vec<PartitionState>, ConsumeError> {
        let totals = self.totals().await?;
        let state = |totals: PartitionTotals| PartitionState {
            partition: totals.partition,
            first_offset: totals.first_offset,
            committed_offset: totals
                .groups
                .iter()
                .find(|known| known.group == group)
                .map_or(totals.first_offset, |known| known.offset),
            end_offset: totals.end_offset,
        };
        Ok(totals.into_iter().map(state).collect())
    }

    async fn count_events(&self, partition: u32, first: u64, until: u64) -> Result<u64, ConsumeError> {
        Self::count_events(self, partition, first, until).await
    }
}

/// Microseconds since the Unix epoch.
fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
