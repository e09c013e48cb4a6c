//! Popularity as short links have it: a few get most of the traffic. Rank `k` is chosen in proportion to `1/k^s`.

/// A table of cumulative weights: 8 bytes a link, a binary search a request.
#[derive(Debug, Clone)]
pub struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    /// `count` ranks with exponent `s`: 0 is uniform, about 1 is web traffic.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "ranks are far below 2^53")]
    pub fn new(count: usize, s: f64) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=count)
            .map(|rank| {
                sum += (rank as f64).powf(-s);
                sum
            })
            .collect();
        Self { cumulative }
    }

    /// The rank, from 0, for a uniform number in `[0, 1)`; 0 where there are no ranks.
    #[must_use]
    pub fn rank(&self, unit: f64) -> usize {
        let Some(total) = self.cumulative.last() else { return 0 };
        let wanted = unit * total;
        self.cumulative.partition_point(|sum| *sum <= wanted).min(self.cumulative.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Zipf;
    use crate::rng::Rng;

    proptest! {
        #[test]
        fn a_rank_is_always_within_the_table(count in 1_usize..2_000, s in 0.0_f64..3.0, unit in 0.0_f64..1.0) {
            prop_assert!(Zipf::new(count, s).rank(unit) < count);
        }

        #[test]
        fn a_larger_number_never_gives_a_smaller_rank(a in 0.0_f64..1.0, b in 0.0_f64..1.0) {
            let zipf = Zipf::new(100, 1.0);
            prop_assert!(zipf.rank(a.min(b)) <= zipf.rank(a.max(b)));
        }
    }

    #[test]
    fn ranks_come_in_proportion() {
        let zipf = Zipf::new(3, 1.0);
        let mut counts = [0_u32; 3];
        for index in 0..110_000 {
            counts[zipf.rank(Rng::new(1, index).unit())] += 1;
        }
        // 1 : 1/2 : 1/3 of 110,000 is 60,000 : 30,000 : 20,000; five standard deviations are at most 830.
        for (found, wanted) in counts.into_iter().zip([60_000_u32, 30_000, 20_000]) {
            assert!(found.abs_diff(wanted) < 830, "{counts:?}");
        }
    }

    #[test]
    fn an_empty_table_does_not_panic() {
        assert_eq!(Zipf::new(0, 1.0).rank(0.5), 0);
    }
}
