//! The caches before the link store.

use serde::Deserialize;

use super::{Wrong, positive};

/// The in-process cache of links.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Bytes that cached links may take. Default 67,108,864 (64 MiB, about 150,000 links).
    pub bytes_max: u64,
    /// Age up to which a link is served without asking. Default 60,000; an edit made by another process is seen after
    /// it at the latest, should the message of it be lost, and with replicas by `store.postgres.replica_lag_ms_max` later. Links that are asked for are read again before.
    pub fresh_ms: u64,
    /// Age up to which a link is served when the store fails. Default 86,400 (a day).
    pub stale_s: u64,
    /// How long an unknown code stays unknown without asking the store. Default 2,000.
    pub negative_ms: u64,
    /// Unknown codes remembered. Default 100,000, bounding what a scan of codes can take to some 20 MB. So many links that were
    /// deleted are remembered besides, for `fresh_ms`.
    pub negative_entries_max: u64,
    /// After nobody could say whether a stale link still holds, how long it is served without asking again.
    /// Default 1,000.
    pub retry_ms: u64,
    /// How long a visit of a link that is past its time waits for the store before it is served as it is. Default 100.
    pub stale_wait_ms_max: u64,
    /// Links read from the store at once, so that neither a cold start nor its return floods it. Default 16, below the
    /// connections that a store of one's own gives away.
    pub store_reads_max: usize,
    /// How long such a read may wait for its turn. Default 1,000; a visit that waits longer is answered 503.
    pub store_wait_ms_max: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            fresh_ms: 60_000,
            stale_s: 86_400,
            negative_ms: 2_000,
            negative_entries_max: 100_000,
            retry_ms: 1_000,
            stale_wait_ms_max: 100,
            store_reads_max: 16,
            store_wait_ms_max: 1_000,
        }
    }
}

impl CacheConfig {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        if self.stale_s.saturating_mul(1_000) < self.fresh_ms {
            wrong.push(("cache.stale_s", "must not be shorter than cache.fresh_ms".to_owned()));
        }
        positive(wrong, "cache.fresh_ms", self.fresh_ms);
        positive(wrong, "cache.negative_ms", self.negative_ms);
        positive(wrong, "cache.store_reads_max", self.store_reads_max as u64);
    }
}
