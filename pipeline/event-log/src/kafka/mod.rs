//! The event log in Apache Kafka: when one machine is outgrown. What is promised, and on which conditions, is in
//! the crate's README. Knows nothing of what messages hold.

mod client;
mod config;
mod delivery;
mod options;
mod producer;
mod stats;
mod topic_rules;
mod topics;

pub use client::Kafka;
pub use config::{
    Acks, Compression, ConsumerConfig, KafkaConfig, Mechanism, ProducerConfig, Protocol, SecurityConfig,
};
pub(crate) use stats::KafkaMetrics;
