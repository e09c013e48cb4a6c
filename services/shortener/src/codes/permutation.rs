//! A keyed permutation of `0..62^length`, written in 62 letters: a Feistel network with cycle walking.
//! It knows no counter and no store, and keeps nothing but its key.

use std::fmt;

/// Letters of generated codes: what needs no encoding in a URL and what Shlink uses.
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Feistel rounds. FF1 (NIST SP 800-38G) takes 10; the domains of short codes are small in the same way.
const ROUNDS: u8 = 10;

/// A bijection of `0..domain` onto itself that can't be told from a random one without the key.
#[derive(Clone)]
pub struct Permutation {
    key: [u8; 32],
    length: u32,
    domain: u128,
    half_bits: u32,
}

impl Permutation {
    /// The permutation of codes of `length` letters under `secret`. Lengths have keys of their own, so that
    /// codes of one length say nothing about those of another.
    ///
    /// # Panics
    /// When `length` is 0 or above 21: 62^22 exceeds 128 bits.
    pub fn for_length(secret: &[u8; 32], length: u32) -> Self {
        assert!((1..=21).contains(&length), "codes have 1 to 21 letters");
        Self::of_domain(secret, length, 62_u128.pow(length))
    }

    fn of_domain(secret: &[u8; 32], length: u32, domain: u128) -> Self {
        let mut material = [0_u8; 36];
        material[..32].copy_from_slice(secret);
        material[32..].copy_from_slice(&length.to_le_bytes());
        let key = blake3::derive_key("hoplog short codes v1", &material);
        // The least even number of bits that holds the domain: at most four walks are expected.
        let bits = 128 - (domain - 1).leading_zeros();
        Self { key, length, domain, half_bits: bits.div_ceil(2).max(1) }
    }

    /// Codes there are.
    pub fn domain(&self) -> u128 {
        self.domain
    }

    /// The code of `id`, or nothing when the domain has no such id.
    pub fn code(&self, id: u128) -> Option<String> {
        (id < self.domain).then(|| self.letters(self.permute(id)))
    }

    fn permute(&self, id: u128) -> u128 {
        let mut value = id;
        loop {
            value = self.feistel(value);
            // Walking the cycle from inside the domain always comes back into it, so this ends.
            if value < self.domain {
                return value;
            }
        }
    }

    fn feistel(&self, value: u128) -> u128 {
        let mask = (1_u128 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (self.round(round, right) & mask));
        }
        (left << self.half_bits) | right
    }

    fn round(&self, round: u8, half: u128) -> u128 {
        let mut input = [0_u8; 17];
        input[0] = round;
        input[1..].copy_from_slice(&half.to_le_bytes());
        let hash = blake3::keyed_hash(&self.key, &input);
        let mut word = [0_u8; 16];
        word.copy_from_slice(&hash.as_bytes()[..16]);
        u128::from_le_bytes(word)
    }

    fn letters(&self, mut value: u128) -> String {
        let mut code = vec![b'0'; self.length as usize];
        for letter in code.iter_mut().rev() {
            let index = usize::try_from(value % 62).unwrap_or_default();
            *letter = LETTERS[index];
            value /= 62;
        }
        code.into_iter().map(char::from).collect()
    }
}

impl fmt::Debug for Permutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permutation").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn small_domains_are_permuted(secret in any::<[u8; 32]>(), domain in 2_u128..2_000) {
            let permutation = Permutation::of_domain(&secret, 1, domain);
            let seen: HashSet<u128> = (0..domain).map(|id| permutation.permute(id)).collect();
            prop_assert_eq!(seen.len() as u128, domain);
            prop_assert!(seen.iter().all(|value| *value < domain));
        }

        #[test]
        fn codes_have_their_length_and_letters(
            secret in any::<[u8; 32]>(), length in 4_u32..=20, id in any::<u64>()
        ) {
            let permutation = Permutation::for_length(&secret, length);
            let code = permutation.code(u128::from(id));
            prop_assert_eq!(code.is_some(), u128::from(id) < permutation.domain());
            if let Some(code) = code {
                prop_assert_eq!(code.len(), length as usize);
                prop_assert!(code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }

        #[test]
        fn two_ids_never_share_a_code(secret in any::<[u8; 32]>(), a in any::<u32>(), b in any::<u32>()) {
            prop_assume!(a != b);
            let permutation = Permutation::for_length(&secret, 7);
            prop_assert_ne!(permutation.code(a.into()), permutation.code(b.into()));
        }
    }

    /// Of two following ids, each letter of the code is another one as often as chance would have it.
    #[test]
    fn following_ids_have_unrelated_codes() {
        let permutation = Permutation::for_length(&[7; 32], 7);
        let ids = 20_000_u32;
        let mut same = [0_u32; 7];
        let mut ascending = 0_u32;
        for id in 0..u128::from(ids) {
            let (a, b) = (permutation.code(id).unwrap(), permutation.code(id + 1).unwrap());
            ascending += u32::from(a < b);
            for (position, (x, y)) in a.bytes().zip(b.bytes()).enumerate() {
                same[position] += u32::from(x == y);
            }
        }
        // Expected ids/62 = 323 with a standard deviation of 18: six of them either way.
        assert!(same.iter().all(|count| (215..431).contains(count)), "{same:?}");
        // Order tells nothing either: half of the pairs ascend (standard deviation at most 71).
        assert!((9_500..10_500).contains(&ascending), "{ascending}");
    }

    /// One bit of the key, or of the id, changes about half the bits of the value.
    #[test]
    fn a_bit_of_key_or_id_changes_half_of_the_value() {
        let (mut by_key, mut by_id) = (0_u32, 0_u32);
        let rounds = 2_000_u32;
        for sample in 0..rounds {
            let mut secret = [0x5a; 32];
            let a = Permutation::for_length(&secret, 7);
            secret[(sample % 32) as usize] ^= 1 << (sample % 8);
            let b = Permutation::for_length(&secret, 7);
            let id = u128::from(sample) * 104_729;
            by_key += (a.permute(id) ^ b.permute(id)).count_ones();
            by_id += (a.permute(id) ^ a.permute(id ^ (1 << (sample % 40)))).count_ones();
        }
        // 41.7 bits: the mean is near 20.8 and its error below 0.1.
        for bits in [by_key, by_id] {
            let mean = f64::from(bits) / f64::from(rounds);
            assert!((19.8..21.8).contains(&mean), "{mean}");
        }
    }

    #[test]
    fn a_key_gives_the_same_codes_for_ever() {
        // Changing these would give codes twice on stores that exist.
        let permutation = Permutation::for_length(&[1; 32], 7);
        let codes: Vec<_> = (0..3).map(|id| permutation.code(id).unwrap()).collect();
        assert_eq!(codes, ["ixZqAxP", "5Cs7wLo", "0Z9wXaX"]);
    }
}
