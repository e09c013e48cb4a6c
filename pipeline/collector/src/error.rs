//! Why the collector ends before it is told to. What it can wait for, it waits for: see [`crate::Health`].

use event_log::ConsumeError;
use thiserror::Error;

/// Why the collector ended.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// The sampling policy can't be used: everything that is wrong with it.
    #[error("sampling policy refused: {}", .0.join("; "))]
    Policy(Vec<String>),
    /// The sampling policy's file can't be read.
    #[error("sampling policy can't be read")]
    PolicyFile(#[source] std::io::Error),
    /// A newer collector of the group took over. Nothing is wrong.
    #[error("a newer collector of this group took over")]
    Fenced,
    /// The event log is broken, until a person mends it.
    #[error("the event log can't be read")]
    Consume(#[source] ConsumeError),
}
