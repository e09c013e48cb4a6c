//! How the collector works: how large ranges get, how much it holds, what it writes. Reads no file.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Configuration of the collector.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorConfig {
    /// Events after which a range ends. Default 200000: large enough that inserts cost little per event, small enough
    /// that one is done in about a second.
    pub range_events_max: u64,
    /// Bytes of messages after which a range ends. Default 64 MiB; bounds memory together with `buffer_bytes_max`.
    pub range_bytes_max: u64,
    /// How long an event waits for company, milliseconds. Default 1000, so that events can be queried within 5 s;
    /// raise it where ClickHouse suffers from many small inserts.
    pub flush_ms_max: u64,
    /// Bytes of messages held over all partitions, ranges that are being inserted included. Default 256 MiB; at that
    /// point no more is consumed until something is stored.
    pub buffer_bytes_max: u64,
    /// Ranges that are built and inserted at the same time, each from another partition. Default 2; raise it with
    /// partitions and cores.
    pub ranges_in_flight_max: usize,
    /// Whether each click gets a row in `clicks`, and each orphan visit one in `orphan_visits`. Default true; the rollups
    /// are exact without.
    pub clicks: bool,
    /// Whether each link's clicks are counted by country, device, browser, system and referrer: of a day in
    /// `clicks_by_day`, of a year in `clicks_by_link`. Default true. Costs about ten rows a range for each link that is
    /// clicked in it, which ClickHouse merges: switch it off where millions of links are clicked a day and only totals are
    /// asked for.
    pub clicks_by_day: bool,
    /// Whether each kept event gets its spans in `otel_traces`: the hop, what it waited for, and its way through the log.
    /// Default true. Costs a twentieth of the collector's time where one success in a hundred is kept, and more than all the
    /// rest where everything is: switch it off where nobody looks at traces.
    pub spans: bool,
    /// File with the sampling policy. Default none: the built-in one, which keeps failures, slow and rare events and
    /// one success in a hundred. Emitters take its limits of slowness for granted ([`wide_event::latency::SLOW_US`]): of
    /// requests that another policy calls slow only later, exemplars and messages name traces that are not kept.
    pub policy_file: Option<PathBuf>,
    /// How long the open range of a partition that the group gives to another collector may still take, milliseconds.
    /// Default 5000; the group waits meanwhile, so keep it far below the session timeout. What is not stored by then
    /// the next owner stores.
    pub revoke_ms_max: u64,
    /// Ranges, as `topic:partition:first-last`, that are inserted although ClickHouse may have forgotten what it has of
    /// them. Default none; named where the gate is closed for that reason and a person has looked, see the README.
    pub insert_anyway: Vec<String>,
    /// How long a stopping collector tries to store what it holds, milliseconds. Default 10000; the rest is left in the
    /// event log, where nothing is lost.
    pub shutdown_ms_max: u64,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        Self {
            range_events_max: 200_000,
            range_bytes_max: 64 << 20,
            flush_ms_max: 1000,
            buffer_bytes_max: 256 << 20,
            ranges_in_flight_max: 2,
            clicks: true,
            clicks_by_day: true,
            spans: true,
            policy_file: None,
            revoke_ms_max: 5000,
            insert_anyway: Vec::new(),
            shutdown_ms_max: 10_000,
        }
    }
}

impl CollectorConfig {
    /// All that is wrong, as field and reason. Empty: nothing is. The policy is checked when it is read.
    #[must_use]
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut require = |holds: bool, field: &'static str, reason: &str| {
            if !holds {
                wrong.push((field, reason.to_owned()));
            }
        };
        require((1..=1_000_000).contains(&self.range_events_max), "range_events_max", "must be 1 to 1000000");
        let bytes = 1 << 10..=1 << 30;
        require(bytes.contains(&self.range_bytes_max), "range_bytes_max", "must be 1024 to 1073741824");
        require((10..=60_000).contains(&self.flush_ms_max), "flush_ms_max", "must be 10 to 60000");
        let holds = self.buffer_bytes_max >= self.range_bytes_max && self.buffer_bytes_max <= 1 << 36;
        require(holds, "buffer_bytes_max", "must be range_bytes_max to 64 GiB");
        let in_flight = (1..=64).contains(&self.ranges_in_flight_max);
        require(in_flight, "ranges_in_flight_max", "must be 1 to 64");
        require((0..=60_000).contains(&self.revoke_ms_max), "revoke_ms_max", "must be 0 to 60000");
        require((100..=600_000).contains(&self.shutdown_ms_max), "shutdown_ms_max", "must be 100 to 600000");
        wrong
    }

    pub(crate) fn flush_after(&self) -> Duration {
        Duration::from_millis(self.flush_ms_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_right() {
        assert_eq!(CollectorConfig::default().check(), []);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let config = CollectorConfig {
            range_events_max: 0,
            range_bytes_max: 1,
            flush_ms_max: 0,
            buffer_bytes_max: 0,
            ranges_in_flight_max: 0,
            revoke_ms_max: 60_001,
            shutdown_ms_max: 0,
            ..CollectorConfig::default()
        };
        let fields: Vec<_> = config.check().into_iter().map(|(field, _)| field).collect();
        let all = "range_events_max range_bytes_max flush_ms_max buffer_bytes_max ranges_in_flight_max revoke_ms_max shutdown_ms_max";
        assert_eq!(fields, all.split(' ').collect::<Vec<_>>());
    }
}
