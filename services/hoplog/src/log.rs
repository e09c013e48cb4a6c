//! Which event log there is, by configuration: the only place that knows more than the trait.
//! Opens nothing.

use std::sync::Arc;

use event_log::kafka::Kafka;
use event_log::spool::Spool;
use event_log::{EventLog, EventLogMetrics};
use serde::Deserialize;

use crate::config::Config;

/// The kinds of event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Files on this machine: nothing to install, one machine.
    #[default]
    Spool,
    /// Apache Kafka: several machines.
    Kafka,
}

/// The configured event log. `metrics` are those of consumers and connections; producers are given theirs.
pub(crate) fn event_log(config: &Config, metrics: &EventLogMetrics) -> Arc<dyn EventLog> {
    match config.event_log {
        Kind::Spool => Arc::new(Spool::new(config.spool.clone())),
        Kind::Kafka => Arc::new(Kafka::new(config.kafka.clone()).with_metrics(metrics.clone())),
    }
}

/// The same for a tool beside the roles: it waits for the log itself, since the outbox on disk belongs to `serve` alone.
pub(crate) fn event_log_of_tool(config: &Config) -> Arc<dyn EventLog> {
    match config.event_log {
        Kind::Spool => event_log(config, &EventLogMetrics::default()),
        Kind::Kafka => {
            let mut kafka = config.kafka.clone();
            kafka.outbox.enabled = false;
            Arc::new(Kafka::new(kafka))
        }
    }
}

impl Kind {
    /// Whether the log keeps sums, and so counts events from offset 0 at no cost, also of messages that it no longer holds.
    pub(crate) fn keeps_sums(self) -> bool {
        self == Self::Spool
    }
}
