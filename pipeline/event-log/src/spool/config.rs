//! What can be set about the spool, with the reasons for the defaults.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use sqlx::sqlite::SqliteSynchronous;

use crate::{EVENTS_TOPIC, PAYLOAD_BYTES_MAX};

/// Most partitions of a spool. They share one file and one writer, so more only split batches further.
const PARTITIONS_MAX: u32 = 64;
/// Four messages of the largest size, so that each fits an empty spool and none is answered `Full` for ever.
const BYTES_MAX_MIN: u64 = 4 * PAYLOAD_BYTES_MAX as u64;

/// Configuration of the SQLite spool. Every process that opens the same spool should use the same.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// Directory of the spool; created with mode 0700. One topic a directory. Default `.hoplog/spool`.
    /// Must be on a local file system: SQLite's locks and shared memory don't work over a network.
    pub path: PathBuf,
    /// Name of the topic; part of dedup tokens. Default `hoplog.events.v1`. Never change it for an existing spool.
    pub topic: String,
    /// Partitions that are appended to, 1 to 64. Default 1: one collector on one machine reads one partition in
    /// larger batches. May grow later; if it shrinks, the others are still read, but no longer appended to.
    pub partitions: u32,
    /// Most bytes of messages on disk, at least 64 MiB. Default 2 GiB: four hours of 1,000 events/s with the
    /// collector stopped. Unconsumed messages are never deleted: when full, `append` answers `Full`.
    pub bytes_max: u64,
    /// Consumed messages that are kept for a look back, bytes a partition as appended. Default 64 MiB; they go first when
    /// `bytes_max` is reached. 0 deletes at once.
    pub retain_bytes: u64,
    /// How long consumed messages are kept at most, seconds. Default 3600.
    pub retain_s: u64,
    /// Default `full`. See [`Synchronous`].
    pub synchronous: Synchronous,
    /// How long a lock of another process is waited for, milliseconds. Default 5000. A call that waited longer
    /// fails with `Unavailable` and may be repeated.
    pub busy_ms: u64,
    /// How often a consumer in another process looks for new messages, milliseconds, 5 to 1000. Default 20, which
    /// costs below 1 % of a core. In the same process it is told at once.
    pub poll_ms: u64,
    /// Most messages in a batch of records. Default 500.
    pub fetch_messages_max: u32,
    /// Bytes after which a batch of records ends; exceeded by at most one message. Default 8 MiB.
    pub fetch_bytes_max: u64,
}

/// What survives what. All survive `kill -9` of every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Synchronous {
    /// Each acknowledged append survives loss of power: one `fsync` a group of concurrent appends.
    Full,
    /// Appends of the last seconds are lost with the power. **Their offsets are then given out again, and a collector
    /// that had consumed the lost ones is refused the rest** (`Broken`, see the README) until a person decides. Only
    /// where that is acceptable, or where power does not fail.
    Normal,
}

impl From<Synchronous> for SqliteSynchronous {
    fn from(value: Synchronous) -> Self {
        match value {
            Synchronous::Full => Self::Full,
            Synchronous::Normal => Self::Normal,
        }
    }
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from(".hoplog/spool"),
            topic: EVENTS_TOPIC.to_owned(),
            partitions: 1,
            bytes_max: 2 << 30,
            retain_bytes: 64 << 20,
            retain_s: 3600,
            synchronous: Synchronous::Full,
            busy_ms: 5000,
            poll_ms: 20,
            fetch_messages_max: 500,
            fetch_bytes_max: 8 << 20,
        }
    }
}

impl SpoolConfig {
    /// All that is wrong, as field and reason. Empty: nothing is.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut require = |holds: bool, field: &'static str, reason: &str| {
            if !holds {
                wrong.push((field, reason.to_owned()));
            }
        };
        require(!self.path.as_os_str().is_empty(), "path", "must name a directory");
        require(!self.topic.is_empty(), "topic", "must not be empty");
        require(
            !self.topic.contains(':'),
            "topic",
            "must not contain ':', which separates parts of dedup tokens",
        );
        require((1..=PARTITIONS_MAX).contains(&self.partitions), "partitions", "must be 1 to 64");
        require(self.bytes_max >= BYTES_MAX_MIN, "bytes_max", "must be at least 64 MiB (67108864)");
        require(self.bytes_max <= i64::MAX as u64, "bytes_max", "must be below 2^63");
        require(self.retain_bytes <= self.bytes_max, "retain_bytes", "must not exceed bytes_max");
        require(self.retain_s <= 365 * 86_400, "retain_s", "must be at most a year (31536000)");
        require((1..=60_000).contains(&self.busy_ms), "busy_ms", "must be 1 to 60000");
        require((5..=1000).contains(&self.poll_ms), "poll_ms", "must be 5 to 1000");
        require(
            (1..=100_000).contains(&self.fetch_messages_max),
            "fetch_messages_max",
            "must be 1 to 100000",
        );
        require((1..=1 << 30).contains(&self.fetch_bytes_max), "fetch_bytes_max", "must be 1 to 1073741824");
        wrong
    }

    pub(super) fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_right() {
        assert_eq!(SpoolConfig::default().check(), []);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let config = SpoolConfig {
            path: PathBuf::new(),
            topic: "a:b".to_owned(),
            partitions: 0,
            bytes_max: 0,
            retain_bytes: 1,
            retain_s: u64::MAX,
            synchronous: Synchronous::Normal,
            busy_ms: 0,
            poll_ms: 0,
            fetch_messages_max: 0,
            fetch_bytes_max: 0,
        };
        let fields: Vec<_> = config.check().into_iter().map(|(field, _)| field).collect();
        let all = "path topic partitions bytes_max retain_bytes retain_s busy_ms poll_ms fetch_messages_max fetch_bytes_max";
        assert_eq!(fields, all.split(' ').collect::<Vec<_>>());
    }
}
