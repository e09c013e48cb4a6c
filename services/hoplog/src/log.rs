//! Which event log there is, by configuration: the only place that knows more than the trait.
//! Opens nothing.

use std::sync::Arc;

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
}

/// The configured event log. `metrics` are those of consumers and connections; producers are given theirs.
pub(crate) fn event_log(config: &Config, _metrics: &EventLogMetrics) -> Arc<dyn EventLog> {
    match config.event_log {
        Kind::Spool => Arc::new(Spool::new(config.spool.clone())),
    }
}

impl Kind {
    /// Whether the log can count the events of messages that it no longer holds, from offset 0.
    pub(crate) fn counts_deleted(self) -> bool {
        self == Self::Spool
    }
}
