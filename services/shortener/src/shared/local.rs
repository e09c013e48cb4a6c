//! One instance alone: nothing is shared, buckets are in memory, every lease is ours.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::sync::Cache;
use tokio::sync::broadcast;

use super::{Bucket, Change, Entry, SharedError, SharedState, Taken};

/// Buckets remembered: beyond it the least used are forgotten, which fills them.
const BUCKETS_MAX: u64 = 100_000;

/// Longest time that a bucket is remembered unused.
const IDLE: Duration = Duration::from_secs(3_600);

/// The state of one instance.
#[derive(Debug)]
pub struct LocalState {
    /// When each bucket will be full again: all that a token bucket needs to remember.
    full_at: Cache<String, Instant>,
    changes: broadcast::Sender<Change>,
}

impl Default for LocalState {
    fn default() -> Self {
        Self {
            full_at: Cache::builder().max_capacity(BUCKETS_MAX).time_to_idle(IDLE).build(),
            // Nobody announces to anybody else; the channel is there for receivers to wait on.
            changes: broadcast::channel(1).0,
        }
    }
}

impl LocalState {
    /// [`SharedState::kind`]: nobody else is there.
    pub const KIND: &'static str = "local";

    /// Takes tokens without waiting.
    pub fn take_now(&self, name: &str, bucket: Bucket, tokens: u32) -> Taken {
        let now = Instant::now();
        let mut taken = None;
        self.full_at.entry_by_ref(name).and_upsert_with(|entry| {
            let full_at = entry.map_or(now, |entry| entry.into_value());
            let (full_at, outcome) = pour(full_at, now, bucket, tokens);
            taken = Some(outcome);
            full_at
        });
        taken.unwrap_or(Taken {
            granted: true,
            remaining: 0,
            retry_after: Duration::ZERO,
            full_after: Duration::ZERO,
        })
    }
}

/// The generic cell rate algorithm (ITU-T I.371): a bucket is the time at which it will be full.
pub(crate) fn pour(full_at: Instant, now: Instant, bucket: Bucket, tokens: u32) -> (Instant, Taken) {
    let room = cost(bucket, bucket.burst);
    let full_at = full_at.max(now);
    let after = full_at + cost(bucket, tokens);
    let granted = after <= now + room;
    let kept = if granted { after } else { full_at };
    let left = room.saturating_sub(kept - now).as_secs_f64() * bucket.per_s;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most the burst, at least 0
    let remaining = left.clamp(0.0, f64::from(bucket.burst)) as u32;
    let retry_after = if granted { Duration::ZERO } else { (after - now).saturating_sub(room) };
    (kept, Taken { granted, remaining, retry_after, full_after: kept - now })
}

/// How long a bucket takes to fill by so many tokens. A rate of nearly nothing is taken for one a fortnight.
pub(crate) fn cost(bucket: Bucket, tokens: u32) -> Duration {
    Duration::from_secs_f64(f64::from(tokens) / bucket.per_s.max(1e-6))
}

#[async_trait]
impl SharedState for LocalState {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    async fn ping(&self) -> Result<(), SharedError> {
        Ok(())
    }

    async fn get(&self, _: &str) -> Result<Option<Entry>, SharedError> {
        Ok(None)
    }

    async fn put(&self, _: &str, _: Entry, _: Option<&Change>) -> Result<bool, SharedError> {
        Ok(true)
    }

    async fn announce(&self, _: &Change) -> Result<(), SharedError> {
        Ok(())
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    async fn take(&self, name: &str, bucket: Bucket, tokens: u32) -> Result<Taken, SharedError> {
        Ok(self.take_now(name, bucket, tokens))
    }

    async fn lease(&self, _: &str, _: &str, _: Duration) -> Result<bool, SharedError> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: Bucket = Bucket { per_s: 2.0, burst: 4 };

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut full_at = start;
        let mut take = |after_ms: u64, tokens: u32| {
            let (next, taken) = pour(full_at, start + Duration::from_millis(after_ms), BUCKET, tokens);
            full_at = next;
            taken
        };
        assert!(take(0, 3).granted);
        let last = take(0, 1);
        assert_eq!((last.granted, last.remaining), (true, 0));
        let refused = take(0, 1);
        assert_eq!((refused.granted, refused.retry_after), (false, Duration::from_millis(500)));
        assert!(!take(499, 1).granted, "half a second fills one token");
        assert!(take(500, 1).granted);
        assert!(!take(600, 1).granted);
        let rested = take(60_000, 1);
        assert_eq!((rested.granted, rested.remaining), (true, 3), "never more than the burst");
        assert!(!take(120_000, 5).granted, "more than the burst is never there");
    }

    #[test]
    fn buckets_have_names() {
        let state = LocalState::default();
        assert!(state.take_now("a", BUCKET, 4).granted);
        assert!(!state.take_now("a", BUCKET, 1).granted);
        assert!(state.take_now("b", BUCKET, 1).granted);
    }
}
