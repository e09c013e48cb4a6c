//! The latency histogram: fixed buckets, eight an octave, so that ranges, instances and versions add up and a quantile
//! read from it is at most 12.5 % off; and a bound wherever an objective may be stated, so that a share below it is exact.
//! Bounds are part of the contract: they are stored, and none is ever taken away. Rows from before there were those of
//! objectives lack them, and are read like any other.

use wide_event::latency::BOUNDS_US;

/// 0 to 7 µs exactly, then eight an octave up to 2^32 µs, which is more than an hour.
const OCTAVES: usize = 240;

/// Each bound of an objective lies within such a bucket and cuts it in two: just as many as a byte can number.
const BUCKETS: usize = OCTAVES + BOUNDS_US.len();

/// Number of the first bucket of each eighth of an octave, and where that is cut.
const PARTS: [(u8, u32); OCTAVES] = parts();

/// Inclusive upper bounds of all buckets.
const BOUNDS: [u32; BUCKETS] = bounds();

/// As long as there are few buckets in use they are kept as a list, which is 1 KB smaller.
const SPARSE_MAX: usize = 16;

/// Counts by bucket.
#[derive(Debug, Clone)]
pub(crate) enum Histogram {
    Sparse(Vec<(u8, u32)>),
    Dense(Box<[u32; BUCKETS]>),
}

impl Default for Histogram {
    fn default() -> Self {
        Self::Sparse(Vec::new())
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, duration_us: u64) {
        let bucket = bucket(duration_us);
        match self {
            Self::Dense(counts) => counts[bucket as usize] += 1,
            Self::Sparse(counts) => match counts.iter().position(|(known, _)| *known == bucket) {
                Some(index) => counts[index].1 += 1,
                None if counts.len() < SPARSE_MAX => counts.push((bucket, 1)),
                None => {
                    let mut dense = Box::new([0; BUCKETS]);
                    for (known, count) in counts {
                        dense[*known as usize] = *count;
                    }
                    dense[bucket as usize] += 1;
                    *self = Self::Dense(dense);
                }
            },
        }
    }

    /// Inclusive upper bounds in microseconds and counts, ascending, empty buckets left out.
    pub(crate) fn counts(&self) -> Vec<(u32, u64)> {
        let mut counts: Vec<(u32, u64)> = match self {
            Self::Sparse(counts) => {
                counts.iter().map(|(index, count)| (bound(*index), u64::from(*count))).collect()
            }
            Self::Dense(counts) => (0..=u8::MAX)
                .zip(counts.iter())
                .map(|(index, count)| (bound(index), u64::from(*count)))
                .collect(),
        };
        counts.retain(|(_, count)| *count > 0);
        counts.sort_unstable();
        counts
    }
}

fn bucket(duration_us: u64) -> u8 {
    let us = u32::try_from(duration_us).unwrap_or(u32::MAX);
    let (first, cut) = PARTS[eighth(us)];
    first + u8::from(us > cut)
}

fn bound(bucket: u8) -> u32 {
    BOUNDS[bucket as usize]
}

const fn eighth(us: u32) -> usize {
    if us < 8 {
        return us as usize;
    }
    let octave = us.ilog2() - 3;
    (octave * 8 + (us >> octave)) as usize
}

const fn end_of(eighth: u32) -> u32 {
    if eighth < 16 {
        return eighth;
    }
    let octave = eighth / 8 - 1;
    // The last one ends at 2^32 - 1: the shift drops the highest bit, and the subtraction brings it back.
    ((eighth % 8 + 9) << octave).wrapping_sub(1)
}

#[allow(clippy::cast_possible_truncation)] // bounds of objectives are seconds; there are 256 buckets
const fn parts() -> [(u8, u32); OCTAVES] {
    let mut parts = [(0, u32::MAX); OCTAVES];
    let (mut at, mut cuts) = (0, 0);
    while at < OCTAVES {
        parts[at].0 = (at + cuts) as u8;
        if cuts < BOUNDS_US.len() && eighth(BOUNDS_US[cuts] as u32) == at {
            parts[at].1 = BOUNDS_US[cuts] as u32;
            cuts += 1;
        }
        at += 1;
    }
    assert!(cuts == BOUNDS_US.len(), "two bounds in one eighth of an octave");
    parts
}

#[allow(clippy::cast_possible_truncation)] // at most 240 eighths
const fn bounds() -> [u32; BUCKETS] {
    let mut bounds = [0; BUCKETS];
    let mut at = 0;
    while at < OCTAVES {
        let (first, cut) = PARTS[at];
        let mut last = first as usize;
        if cut < u32::MAX {
            bounds[last] = cut;
            last += 1;
        }
        bounds[last] = end_of(at as u32);
        at += 1;
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_bucket_ends_at_its_bound() {
        for index in 0..=255u8 {
            assert_eq!(bucket(u64::from(bound(index))), index);
            assert_eq!(bucket(u64::from(bound(index)) + 1), index.saturating_add(1));
        }
        assert_eq!((bound(255), bucket(u64::MAX)), (u32::MAX, 255));
    }

    #[test]
    fn objectives_have_bounds() {
        for us in BOUNDS_US {
            assert_eq!(u64::from(bound(bucket(us))), us);
            assert!(u64::from(bound(bucket(us + 1))) > us);
        }
        // Bounds that stored rows have from before there were those of objectives.
        for us in [7, 15, 17, 95, 103, 106_495, u32::MAX] {
            assert!(BOUNDS.contains(&us), "{us}");
        }
    }

    proptest! {
        #[test]
        fn bounds_are_close(us in 0u64..=u64::from(u32::MAX)) {
            let bound = u64::from(bound(bucket(us)));
            prop_assert!(bound >= us && bound - us <= us / 8);
        }

        #[test]
        fn lists_and_arrays_count_alike(durations in prop::collection::vec(0u64..100_000_000, 0..300)) {
            let mut histogram = Histogram::default();
            let mut expected = std::collections::BTreeMap::new();
            for us in durations {
                histogram.add(us);
                *expected.entry(bound(bucket(us))).or_insert(0u64) += 1;
            }
            prop_assert_eq!(histogram.counts(), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
