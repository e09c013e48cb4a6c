//! Kafka behind the seam: each question goes to the module that answers it. Decides nothing.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Kafka, KafkaConsumer, consumer, positions};
use crate::{ConsumeError, Consumer, EventLog, EventLogMetrics, OpenError, PartitionState, Producer};

impl Kafka {
    /// Joins a group. The group gives partitions to its members; a new one begins with the oldest message there is.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub async fn consumer(&self, group: &str) -> Result<KafkaConsumer, ConsumeError> {
        consumer::join(self, group).await
    }
}

#[async_trait]
impl EventLog for Kafka {
    fn topic(&self) -> &str {
        &self.config.topic
    }

    async fn open(&self) -> Result<(), OpenError> {
        Self::open(self).await
    }

    fn producer(&self, metrics: EventLogMetrics) -> Result<Arc<dyn Producer>, OpenError> {
        Self::producer(self, metrics)
    }

    fn dead_letters(&self, metrics: EventLogMetrics) -> Result<Option<Arc<dyn Producer>>, OpenError> {
        Self::dead_letters(self, metrics).map(Some)
    }

    async fn consumer(&self, group: &str) -> Result<Box<dyn Consumer>, ConsumeError> {
        Ok(Box::new(Self::consumer(self, group).await?))
    }

    async fn partitions(&self, group: &str) -> Result<Vec<PartitionState>, ConsumeError> {
        positions::partitions(self, group).await
    }

    async fn count_events(&self, partition: u32, first: u64, until: u64) -> Result<u64, ConsumeError> {
        positions::count_events(self, partition, first, until).await
    }
}
