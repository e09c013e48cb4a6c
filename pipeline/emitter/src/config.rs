//! What can be set: the queue, the batches, where sequence numbers survive a kill.
//! No file and no environment variable is read here; the binary does that.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use wide_event::codec::LINE_BYTES_MAX;

/// Settings of an [`Emitter`](crate::Emitter).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmitterConfig {
    /// Whether events are made. Default `true`. Off, requests keep their ids and are still counted, and no event
    /// leaves the process: for measuring what events cost, not for saving.
    pub enabled: bool,
    /// Events that wait for the publisher. Default 65,536: a second at 60,000 requests/s. Raise it to
    /// ride out longer stalls of the event log, at about 1 KiB each.
    pub queue_events_max: usize,
    /// Memory that waiting events may take, in bytes. Default 64 MiB. Lower it in small containers.
    pub queue_bytes_max: usize,
    /// Share of both limits that only failures may use, in percent. Default 25. Raise it where outages and
    /// stalls of the event log come together.
    pub queue_reserved_percent: u8,
    /// Events that a message holds at most, and that wake the publisher. Default 500: beyond some dozens a message
    /// gets hardly cheaper for those who read it.
    pub batch_events_max: usize,
    /// How long an event waits for others before it is sent, in milliseconds. Default 200: five messages a second
    /// at the most from a quiet process, and far below the 5 s in which events are to be queryable.
    pub batch_ms_max: u64,
    /// Size of a message, in bytes. Default 900,000, since Kafka's default limit is 1 MiB with headers. A single
    /// larger event can't exist.
    pub message_bytes_max: usize,
    /// Where the last sequence number survives a kill: a small file for each boot. Default none: what was in
    /// memory at a kill is then not known. Give every instance of a machine the same directory on a local disk.
    pub sequence_dir: Option<PathBuf>,
    /// How long a shutdown may take to publish what is left, in milliseconds. Default 5,000. Keep it below the
    /// grace period of whoever stops the process.
    pub flush_ms_max: u64,
}

impl Default for EmitterConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            queue_events_max: 65_536,
            queue_bytes_max: 64 * 1024 * 1024,
            queue_reserved_percent: 25,
            batch_events_max: 500,
            batch_ms_max: 200,
            message_bytes_max: 900_000,
            sequence_dir: None,
            flush_ms_max: 5_000,
        }
    }
}

impl EmitterConfig {
    /// Everything that is wrong: the field and why.
    #[must_use]
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut within = |field, value: usize, min: usize, max: usize| {
            if !(min..=max).contains(&value) {
                wrong.push((field, format!("{value} is not between {min} and {max}")));
            }
        };
        within("queue_events_max", self.queue_events_max, 16, 4_194_304);
        // One event with every string at its limit takes about 4 KiB.
        within("queue_bytes_max", self.queue_bytes_max, 64 * 1024, 16 << 30);
        within("queue_reserved_percent", self.queue_reserved_percent.into(), 0, 90);
        within("batch_events_max", self.batch_events_max, 1, 1_000);
        within("batch_ms_max", usize::try_from(self.batch_ms_max).unwrap_or(usize::MAX), 1, 500);
        within("message_bytes_max", self.message_bytes_max, LINE_BYTES_MAX, event_log::PAYLOAD_BYTES_MAX);
        within("flush_ms_max", usize::try_from(self.flush_ms_max).unwrap_or(usize::MAX), 0, 600_000);
        if self.batch_events_max > self.queue_events_max {
            wrong.push(("batch_events_max", "is larger than queue_events_max".to_owned()));
        }
        wrong
    }

    /// The default deadline for [`PublisherHandle::shutdown`](crate::PublisherHandle::shutdown).
    #[must_use]
    pub const fn flush_deadline(&self) -> Duration {
        Duration::from_millis(self.flush_ms_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_right_and_every_error_is_named() {
        assert_eq!(EmitterConfig::default().check(), []);
        let wrong = EmitterConfig {
            queue_events_max: 0,
            queue_bytes_max: 0,
            queue_reserved_percent: 100,
            batch_events_max: 2_000,
            batch_ms_max: 0,
            message_bytes_max: 1,
            flush_ms_max: u64::MAX,
            ..EmitterConfig::default()
        };
        let fields: Vec<_> = wrong.check().into_iter().map(|(field, _)| field).collect();
        assert_eq!(
            fields,
            [
                "queue_events_max",
                "queue_bytes_max",
                "queue_reserved_percent",
                "batch_events_max",
                "batch_ms_max",
                "message_bytes_max",
                "flush_ms_max",
                "batch_events_max"
            ]
        );
    }
}
