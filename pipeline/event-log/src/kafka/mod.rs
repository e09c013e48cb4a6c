//! The event log in Apache Kafka: when one machine is outgrown. What is promised, and on which conditions, is in
//! the crate's README. Knows nothing of what messages hold.

mod client;
mod commit;
mod config;
mod config_check;
mod consumer;
mod delivery;
mod fault;
mod lag;
mod membership;
mod next;
mod options;
mod outage;
mod outbox;
mod owned;
mod positions;
mod producer;
mod rebalance;
mod record;
mod relay;
mod session;
mod start;
mod stats;
mod topic_rules;
mod topics;
mod transfer;

pub use client::Kafka;
pub use config::{
    Acks, Compression, ConsumerConfig, KafkaConfig, Mechanism, OutboxConfig, ProducerConfig, Protocol,
    SecurityConfig,
};
pub use consumer::KafkaConsumer;
pub(crate) use stats::KafkaMetrics;

use std::sync::Arc;

use async_trait::async_trait;

use crate::{ConsumeError, Consumer, EventLog, EventLogMetrics, OpenError, PartitionState, Producer};

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
        Ok(Box::new(consumer::join(self, group).await?))
    }

    async fn partitions(&self, group: &str) -> Result<Vec<PartitionState>, ConsumeError> {
        positions::partitions(self, group).await
    }

    async fn count_events(&self, partition: u32, first: u64, until: u64) -> Result<u64, ConsumeError> {
        positions::count_events(self, partition, first, until).await
    }
}
