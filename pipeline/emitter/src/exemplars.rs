//! Exemplars of a histogram: of each bucket the newest request whose event is certain to be kept, by its trace. Which requests
//! those are is not decided here.

use std::sync::{Mutex, OnceLock, PoisonError};

use wide_event::latency::BOUNDS_US;
use wide_event::{Timestamp, TraceId};

/// One a bound, and one for what is beyond all of them.
pub(crate) const BUCKETS: usize = BOUNDS_US.len() + 1;

/// A request that somebody may want to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: TraceId,
    pub(crate) took_us: u64,
    /// When it ended.
    pub(crate) at: Timestamp,
}

/// The exemplars of a histogram's buckets; without any, no memory: 800 bytes with.
#[derive(Debug, Default)]
pub(crate) struct Exemplars(OnceLock<Box<Mutex<[Option<Exemplar>; BUCKETS]>>>);

impl Exemplars {
    /// Notes a request. Never waits: when another one is just being noted, that one will do.
    pub(crate) fn note(&self, exemplar: Exemplar) {
        if let Ok(mut buckets) = self.0.get_or_init(Box::default).try_lock() {
            buckets[bucket(exemplar.took_us)] = Some(exemplar);
        }
    }

    /// One a bucket, where there is one.
    pub(crate) fn get(&self) -> [Option<Exemplar>; BUCKETS] {
        // An array of plain values is never half-written.
        self.0.get().map_or([None; BUCKETS], |held| *held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The bucket that a duration belongs to: bounds are inclusive.
pub(crate) fn bucket(took_us: u64) -> usize {
    BOUNDS_US.partition_point(|&bound| bound < took_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_bucket_is_kept() {
        let exemplars = Exemplars::default();
        assert_eq!(exemplars.get(), [None; BUCKETS]);
        let of = |id, took_us| Exemplar { trace_id: TraceId(id), took_us, at: Timestamp(0) };
        for exemplar in [of(1, 100), of(2, 90), of(3, 101), of(4, u64::MAX)] {
            exemplars.note(exemplar);
        }
        let held = exemplars.get();
        assert_eq!(
            (held[0], held[1], held[BUCKETS - 1]),
            (Some(of(2, 90)), Some(of(3, 101)), Some(of(4, u64::MAX)))
        );
        assert_eq!(held.iter().flatten().count(), 3);
    }
}
