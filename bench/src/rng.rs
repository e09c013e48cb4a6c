//! A seeded generator: the same seed makes the same run on every machine and with every version of a library.
//! Not for secrets.

/// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, good enough to choose requests by.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator for item `index` of the run with that seed; items don't depend on one another's order.
    #[must_use]
    pub fn new(seed: u64, index: u64) -> Self {
        let mut rng = Self(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        rng.next_u64();
        rng
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `[0, 1)`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An index below `n`, which must not be 0.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    pub fn below(&mut self, n: usize) -> usize {
        (self.next_u64() % n as u64) as usize
    }

    /// True with that probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn the_same_seed_and_index_give_the_same_numbers() {
        let numbers = |seed, index| {
            let mut rng = Rng::new(seed, index);
            [rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(numbers(7, 3), numbers(7, 3));
        assert_ne!(numbers(7, 3), numbers(7, 4));
        assert_ne!(numbers(7, 3), numbers(8, 3));
    }

    #[test]
    fn the_first_numbers_of_neighbouring_items_are_even() {
        let items = 100_000;
        let below_a_tenth = (0..items).filter(|index| Rng::new(42, *index).chance(0.1)).count();
        // Five standard deviations of a binomial with n = 100,000 and p = 0.1 are 474.
        assert!((9_526..=10_474).contains(&below_a_tenth), "{below_a_tenth}");
    }
}
