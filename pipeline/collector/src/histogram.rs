//! The latency histogram: fixed buckets, eight an octave, so that ranges, instances and versions add up and a quantile
//! read from it is at most 12.5 % off. Bounds are part of the contract: they are stored, and never change.

/// Buckets: 0 to 7 µs exactly, then eight an octave up to 2^32 µs, which is more than an hour.
const BUCKETS: usize = 240;

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
            Self::Dense(counts) => {
                (0u8..).zip(counts.iter()).map(|(index, count)| (bound(index), u64::from(*count))).collect()
            }
        };
        counts.retain(|(_, count)| *count > 0);
        counts.sort_unstable();
        counts
    }
}

#[allow(clippy::cast_possible_truncation)] // at most 28 * 8 + 15
fn bucket(duration_us: u64) -> u8 {
    let us = duration_us.min(u64::from(u32::MAX)) as u32;
    if us < 8 {
        return us as u8;
    }
    let octave = us.ilog2() - 3;
    (octave * 8 + (us >> octave)) as u8
}

fn bound(bucket: u8) -> u32 {
    let bucket = u32::from(bucket);
    if bucket < 16 {
        return bucket;
    }
    let octave = bucket / 8 - 1;
    // The last bound is 2^32 - 1: the shift drops the highest bit, and the subtraction brings it back.
    ((bucket % 8 + 9) << octave).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_bucket_ends_at_its_bound() {
        for index in 0..240u8 {
            assert_eq!(bucket(u64::from(bound(index))), index);
            assert_eq!(bucket(u64::from(bound(index)) + 1), if index == 239 { 239 } else { index + 1 });
        }
        assert_eq!((bound(239), bucket(u64::MAX)), (u32::MAX, 239));
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
