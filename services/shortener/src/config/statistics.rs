//! Counts and visits out of ClickHouse.

use serde::Deserialize;

use super::{Wrong, positive};

/// Counts and visits out of ClickHouse.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatisticsConfig {
    /// Longest time that a question may take, waiting included, milliseconds. Default 3,000; raise it on slow disks.
    pub query_ms_max: u64,
    /// Questions that ClickHouse is asked at once; others wait for their turn within their time. Default 8.
    pub queries_max: usize,
    /// Rows that one question may read in ClickHouse. Default 500,000,000, seconds of work; lower it where others work on
    /// the same server.
    pub rows_read_max: u64,
    /// How long ClickHouse is left alone after it did not answer, milliseconds. Default 2,000.
    pub retry_ms: u64,
    /// Memory for the last known answers, in bytes. Default 67,108,864.
    pub remembered_bytes_max: u64,
    /// How long a last known answer may still be given while ClickHouse is away, seconds. Default 86,400, a day.
    pub remembered_s: u64,
    /// Links that one question may be about: those of a tag, or of a key's owner. Of more, the newest are counted, and
    /// the answer says so. Default 1,000; the time of a question grows with it, to seconds at a billion clicks where it
    /// names a span of time.
    pub links_max: u32,
    /// Links that a list ordered by visits may be of, or tags ordered by visits may be on together: all of them are counted for
    /// each page. Lists of more are refused. Default 10,000; lower it where such lists take too long.
    pub ordered_links_max: u32,
    /// The longest that a visit may take from its first byte to its event, and clocks of instances may differ, seconds:
    /// what is said to be complete ends so long ago at least. Default 30, above every deadline of a redirect.
    pub hold_back_s: u32,
    /// How long another instance may be silent until it is no longer waited for, seconds. Default 600.
    pub silence_s: u32,
}

impl Default for StatisticsConfig {
    fn default() -> Self {
        Self {
            query_ms_max: 3_000,
            queries_max: 8,
            rows_read_max: 500_000_000,
            retry_ms: 2_000,
            remembered_bytes_max: 64 << 20,
            remembered_s: 86_400,
            links_max: 1_000,
            ordered_links_max: 10_000,
            hold_back_s: 30,
            silence_s: 600,
        }
    }
}

/// Text of a question about so many links stays below ClickHouse's limit as we set it.
const LINKS_MAX: u32 = 20_000;

impl StatisticsConfig {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        positive(wrong, "statistics.query_ms_max", self.query_ms_max);
        positive(wrong, "statistics.queries_max", self.queries_max as u64);
        positive(wrong, "statistics.rows_read_max", self.rows_read_max);
        positive(wrong, "statistics.remembered_s", self.remembered_s);
        for (name, links) in [
            ("statistics.links_max", self.links_max),
            ("statistics.ordered_links_max", self.ordered_links_max),
        ] {
            if !(1..=LINKS_MAX).contains(&links) {
                wrong.push((name, format!("must be 1 to {LINKS_MAX}")));
            }
        }
    }
}
