//! How long to wait before the next try: exponential, with full jitter, so that collectors which failed together don't
//! come back together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first wait is up to this long.
const FIRST: Duration = Duration::from_secs(1);
/// No wait is longer: an engine that is back is used within half a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts the tries in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let limit = FIRST.saturating_mul(1 << self.tries.min(5)).min(LONGEST);
        self.tries += 1;
        // The standard library's per-process random keys, once more hashed: even enough for jitter.
        let random = RandomState::new().hash_one(self.tries);
        // At least a fiftieth, so that a failing call is never repeated in a tight loop.
        limit / 50 + limit.mul_f64(random as f64 / u64::MAX as f64 * 0.98)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_are_never_zero() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..200).map(|_| backoff.next()).collect();
        assert!(waits.iter().all(|wait| *wait >= FIRST / 50 && *wait <= LONGEST));
        assert!(waits[0] <= FIRST);
        // 195 draws from up to 30 s: the chance that none is above 10 s is below 10^-30.
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(10)));
    }
}
