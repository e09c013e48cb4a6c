//! Kafka by its configuration, and what every client of librdkafka says of itself: logs, errors, statistics.
//! Sends and reads nothing.

use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::Statistics;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaType};

use super::config::KafkaConfig;
use crate::EventLogMetrics;

/// Kafka by its configuration; cheap to clone. Nothing is opened until it is used.
#[derive(Debug, Clone)]
pub struct Kafka {
    pub(super) config: Arc<KafkaConfig>,
    pub(super) metrics: EventLogMetrics,
}

impl Kafka {
    /// Asks nobody yet. The configuration should have passed [`KafkaConfig::check`].
    pub fn new(config: KafkaConfig) -> Self {
        Self { config: Arc::new(config), metrics: EventLogMetrics::default() }
    }

    /// With metrics of consumers and of connections; producers are given theirs.
    #[must_use]
    pub fn with_metrics(self, metrics: EventLogMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// A client that can ask for metadata and watermarks. Making one is not asking: it connects in the background.
    pub(super) fn inquirer(&self) -> KafkaResult<Client<Reports>> {
        let config = self.config.client();
        let native = config.create_native_config()?;
        let reports = Reports::new(self.metrics.clone());
        Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, reports)
    }
}

/// Takes what a client reports to where it is seen. A client with a context of its own holds one and hands on to it.
#[derive(Debug, Clone)]
pub(super) struct Reports {
    metrics: EventLogMetrics,
}

impl Reports {
    pub(super) fn new(metrics: EventLogMetrics) -> Self {
        Self { metrics }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::debug!(facility, message, "librdkafka warns"),
            _ => tracing::trace!(facility, message, "librdkafka"),
        }
    }

    fn stats(&self, _: Statistics) {
        let _ = &self.metrics;
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "a connection to Kafka reports");
    }
}

/// Whether an error heals by itself: brokers away, leaders moving, answers late.
pub(super) fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::BrokerTransportFailure
            | E::AllBrokersDown
            | E::Resolve
            | E::OperationTimedOut
            | E::TimedOutQueue
            | E::MessageTimedOut
            | E::WaitingForCoordinator
            | E::LeaderNotAvailable
            | E::NotLeaderForPartition
            | E::RequestTimedOut
            | E::BrokerNotAvailable
            | E::ReplicaNotAvailable
            | E::NetworkException
            | E::CoordinatorLoadInProgress
            | E::CoordinatorNotAvailable
            | E::NotCoordinator
            | E::NotEnoughReplicas
            | E::NotEnoughReplicasAfterAppend
            | E::KafkaStorageError
            | E::NotController
            | E::QueueFull
            | E::Retry
    )
}
