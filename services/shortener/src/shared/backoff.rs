//! Pauses between attempts to reach Redis: each twice as long, up to a bound, and never quite the same.

use std::time::Duration;

/// The first pause: a restarted Redis is back in less.
const FIRST: Duration = Duration::from_millis(50);

/// The longest: how long a Redis that is back may go unnoticed. An attempt a second costs nobody anything.
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses that grow.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    doublings: u32,
}

impl Backoff {
    /// The next pause, between half of its length and all of it, so that instances do not come all at once.
    pub(super) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.doublings.min(16)).min(LONGEST);
        self.doublings += 1;
        let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
        full.mul_f64(0.5 + share / 2.0)
    }

    /// Begins again with the first.
    pub(super) fn reset(&mut self) {
        self.doublings = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2, "{pauses:?}");
        assert!(pauses[10..].iter().all(|pause| *pause <= LONGEST && *pause >= LONGEST / 2), "{pauses:?}");
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
