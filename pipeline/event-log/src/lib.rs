#![doc = include_str!("../README.md")]

mod error;
pub mod kafka;
mod message;
mod metrics;
mod pack;
mod seam;
mod secret;
pub mod spool;

pub use error::{AppendError, BoxError, CommitError, ConsumeError, OpenError};
pub use message::{ContentType, Message, Position, Record, Schema};
pub use metrics::EventLogMetrics;
pub use pack::Packer;
pub use seam::{Committer, Consumer, Delivery, EventLog, Lag, PartitionState, Producer};
pub use secret::Secret;

/// The topic of events: a Kafka topic, or the name the spool goes by. Part of the dedup tokens in ClickHouse.
pub const EVENTS_TOPIC: &str = "hoplog.events.v1";

/// The topic of dead letters, where the log is Kafka.
pub const DEAD_LETTERS_TOPIC: &str = "hoplog.dead-letters.v1";

/// Largest payload of one message, bytes. A message holds at most some thousand events of well below 1 KiB;
/// 16 MiB is far above that, and small enough that a reader can hold a few of them.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest metadata of a committed position, bytes: the default of Kafka's `offset.metadata.max.bytes`.
pub const METADATA_BYTES_MAX: usize = 4096;
