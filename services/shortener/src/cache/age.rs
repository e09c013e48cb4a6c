//! How old a cached link is, and what follows: whether it is served, read again, or left alone for a moment.
//! No clock but the monotonic one, and no lock: a redirect looks at it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// From this share of its fresh time on, per cent, a link that is asked for is read again in the background, …
const REFRESH_FROM: u32 = 70;
/// … or up to this much later, so that links read together are not read again together.
const REFRESH_SPREAD: u32 = 20;

/// The age of what was read.
pub(super) struct Age {
    read_at: Instant,
    refresh_share: u32,
    /// Age, in milliseconds, from which it may be refreshed (again).
    refresh_ms: AtomicU64,
    /// Age up to which it is served without asking, since nobody could be asked.
    rest_ms: AtomicU64,
    outdated: AtomicBool,
}

/// What may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Serve it.
    Fresh,
    /// Serve it, and read it again meanwhile.
    Due,
    /// Ask first.
    Old,
}

impl Age {
    pub(super) fn since(read_at: Instant) -> Self {
        Self {
            read_at,
            refresh_share: REFRESH_FROM + spread(),
            refresh_ms: AtomicU64::new(0),
            rest_ms: AtomicU64::new(0),
            outdated: AtomicBool::new(false),
        }
    }

    /// At a time, with links fresh for `fresh`, and messages lost before `unsure`.
    pub(super) fn standing(&self, now: Instant, fresh: Duration, unsure: Instant) -> Standing {
        let age = now.saturating_duration_since(self.read_at);
        if age >= fresh || self.is_outdated() {
            return Standing::Old;
        }
        let due = age >= fresh * self.refresh_share / 100 || self.read_at < unsure;
        if due && ms(age) >= self.refresh_ms.load(Ordering::Relaxed) {
            Standing::Due
        } else {
            Standing::Fresh
        }
    }

    /// Below this age nobody reads a link again.
    pub(super) fn young(fresh: Duration) -> Duration {
        fresh * REFRESH_FROM / 100
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.read_at.elapsed()
    }

    /// It has changed since, as another instance says.
    pub(super) fn outdate(&self) {
        self.outdated.store(true, Ordering::Relaxed);
        // Whoever rested because nobody answered has an answer now.
        self.rest_ms.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    /// Whether the caller is the one to refresh it; nobody else is for a time.
    pub(super) fn claim_refresh(&self, pause: Duration) -> bool {
        let age = self.read_at.elapsed();
        let from = self.refresh_ms.load(Ordering::Relaxed);
        let next = ms(age.saturating_add(pause)).max(1);
        ms(age) >= from
            && self.refresh_ms.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Nobody could say whether it still holds: it is served as it is for a time.
    pub(super) fn rest(&self, pause: Duration) {
        self.rest_ms.store(ms(self.read_at.elapsed().saturating_add(pause)), Ordering::Relaxed);
    }

    pub(super) fn rests(&self) -> bool {
        let until = self.rest_ms.load(Ordering::Relaxed);
        until > 0 && ms(self.read_at.elapsed()) < until
    }
}

impl fmt::Debug for Age {
    /// Its parts say nothing by themselves, and two links of another age are the same link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Age")
    }
}

fn ms(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// 0 to below `REFRESH_SPREAD`, evenly: multiples of the golden ratio never cluster.
fn spread() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let place = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9);
    u32::try_from((u64::from(place) * u64::from(REFRESH_SPREAD)) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Duration = Duration::from_secs(100);

    fn aged(s: u64) -> Age {
        Age::since(Instant::now().checked_sub(Duration::from_secs(s)).unwrap())
    }

    #[test]
    fn a_link_is_fresh_then_due_then_old() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(1_000)).unwrap();
        assert_eq!(aged(0).standing(Instant::now(), FRESH, long_ago), Standing::Fresh);
        assert_eq!(aged(69).standing(Instant::now(), FRESH, long_ago), Standing::Fresh);
        assert_eq!(aged(91).standing(Instant::now(), FRESH, long_ago), Standing::Due);
        assert_eq!(aged(101).standing(Instant::now(), FRESH, long_ago), Standing::Old);
        assert_eq!(
            aged(10).standing(Instant::now(), FRESH, Instant::now()),
            Standing::Due,
            "messages were lost since"
        );
        let outdated = aged(1);
        outdated.outdate();
        assert_eq!(outdated.standing(Instant::now(), FRESH, long_ago), Standing::Old);
        let due =
            (0..100).filter(|_| aged(80).standing(Instant::now(), FRESH, long_ago) == Standing::Due).count();
        assert!((40..=60).contains(&due), "they come due at different ages: {due}");
    }

    #[test]
    fn one_refreshes_and_one_rests() {
        let age = aged(95);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(1_000)).unwrap();
        assert!(age.claim_refresh(Duration::from_secs(60)));
        assert!(!age.claim_refresh(Duration::from_secs(60)));
        assert_eq!(
            age.standing(Instant::now(), FRESH, long_ago),
            Standing::Fresh,
            "somebody reads it already"
        );
        assert!(!age.rests());
        age.rest(Duration::from_secs(60));
        assert!(age.rests());
    }
}
