//! How the receiver of traces works: where it listens, what it takes, what it holds. Reads no file.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::export::ExportConfig;

/// Configuration of the receiver of traces. How long spans stay is `warehouse.traces_ttl_days`, beside the other tables'.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// Whether spans are received. Default true; switch it off where another store has them.
    pub enabled: bool,
    /// Address for OTLP, gRPC and HTTP on the same port. Default 127.0.0.1:8083; within a private network the address that
    /// exporters reach. It knows neither keys nor TLS: keep it off the public network.
    pub listen: SocketAddr,
    /// Largest export, bytes after decompression. Default 4 MiB, which is also what gRPC's own servers take; raise it for
    /// exporters that are told it is too large.
    pub body_bytes_max: u64,
    /// Memory for spans that wait to be stored or are being stored, bytes. Default 64 MiB, some ten thousand spans; what does
    /// not fit is refused, and the exporter sends it again. One export may take a quarter of it.
    pub queue_bytes_max: u64,
    /// How long an export waits for others that are stored with it, milliseconds. Default 200; raise it where ClickHouse
    /// suffers from many small inserts.
    pub flush_ms_max: u64,
    /// How long an exporter is kept waiting for its spans to be stored before it is told to try again, milliseconds. Default
    /// 8000: below the 10 s after which exporters give up by themselves.
    pub answer_ms_max: u64,
    /// How often a range that went well leaves a trace of how it was stored, seconds: a dozen spans. Default 10; 1 for nearly each
    /// of them, 0 for none at all. Ranges that failed on their way, or took longer than events may, always leave one.
    /// Traces go to this receiver, where it is enabled, and to `export.endpoint`, where there is one.
    pub range_every_s: u64,
    /// Where else spans go.
    pub export: ExportConfig,
}

/// Rarer than daily is as good as never.
const RANGE_EVERY_S_MAX: u64 = 86_400;

/// How much larger an export may be as messages than the largest body: as few bytes as a span or an attribute that says
/// something can be written in become 8 to 13 times as many.
const MESSAGES_PER_BODY: usize = 16;

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 8083)),
            body_bytes_max: 4 << 20,
            queue_bytes_max: 64 << 20,
            flush_ms_max: 200,
            answer_ms_max: 8000,
            range_every_s: 10,
            export: ExportConfig::default(),
        }
    }
}

impl TracesConfig {
    /// All that is wrong, as field and reason. Empty: nothing is.
    #[must_use]
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut require = |holds: bool, field: &'static str, reason: &str| {
            if !holds {
                wrong.push((field, reason.to_owned()));
            }
        };
        let body = (1 << 10..=64 << 20).contains(&self.body_bytes_max);
        require(body, "body_bytes_max", "must be 1024 to 67108864");
        let least = self.body_bytes_max.saturating_mul(4);
        let queue = self.queue_bytes_max >= least && self.queue_bytes_max <= 1 << 34;
        require(queue, "queue_bytes_max", "must be four times body_bytes_max to 16 GiB");
        require((1..=10_000).contains(&self.flush_ms_max), "flush_ms_max", "must be 1 to 10000");
        let answer = self.answer_ms_max > self.flush_ms_max && self.answer_ms_max <= 60_000;
        require(answer, "answer_ms_max", "must be more than flush_ms_max and at most 60000");
        require(self.range_every_s <= RANGE_EVERY_S_MAX, "range_every_s", "must be at most 86400");
        wrong.extend(self.export.check());
        wrong
    }

    /// What the spans of one export may take as rows: a small export can be large rows, since each repeats its resource.
    pub(super) fn export_bytes_max(&self) -> usize {
        usize::try_from(self.queue_bytes_max / 4).unwrap_or(usize::MAX)
    }

    pub(super) fn body_bytes_max(&self) -> usize {
        usize::try_from(self.body_bytes_max).unwrap_or(usize::MAX)
    }

    /// What one export may take as messages, bytes, before its spans are rows.
    pub(super) fn messages_bytes_max(&self) -> usize {
        self.body_bytes_max().saturating_mul(MESSAGES_PER_BODY)
    }

    pub(super) fn flush_after(&self) -> Duration {
        Duration::from_millis(self.flush_ms_max)
    }

    pub(super) fn answer_after(&self) -> Duration {
        Duration::from_millis(self.answer_ms_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_right_and_everything_wrong_is_said_at_once() {
        assert_eq!(TracesConfig::default().check(), []);
        let config = TracesConfig {
            body_bytes_max: 0,
            queue_bytes_max: u64::MAX,
            flush_ms_max: 0,
            answer_ms_max: 0,
            range_every_s: u64::MAX,
            export: ExportConfig { timeout_ms: 0, ..ExportConfig::default() },
            ..TracesConfig::default()
        };
        let fields: Vec<_> = config.check().into_iter().map(|(field, _)| field).collect();
        let all = "body_bytes_max queue_bytes_max flush_ms_max answer_ms_max range_every_s export.timeout_ms";
        assert_eq!(fields, all.split(' ').collect::<Vec<_>>());
    }
}
