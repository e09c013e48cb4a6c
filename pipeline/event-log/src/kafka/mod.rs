//! The event log in Apache Kafka: when one machine is outgrown. What is promised, and on which conditions, is in
//! the crate's README. Knows nothing of what messages hold.

mod client;
mod commit;
mod config;
mod consumer;
mod delivery;
mod fault;
mod lag;
mod log;
mod membership;
mod next;
mod options;
mod outage;
mod owned;
mod positions;
mod producer;
mod rebalance;
mod record;
mod session;
mod start;
mod stats;
mod topic_rules;
mod topics;

pub use client::Kafka;
pub use config::{
    Acks, Compression, ConsumerConfig, KafkaConfig, Mechanism, ProducerConfig, Protocol, SecurityConfig,
};
pub use consumer::KafkaConsumer;
pub(crate) use stats::KafkaMetrics;
