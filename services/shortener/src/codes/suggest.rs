//! Slugs like one that is taken. Whether they are free is the store's to say.

use super::is_possible;

/// Numbered slugs among the candidates: they are remembered best, and are the first to be taken too.
const NUMBERED: u32 = 6;

/// Candidates with random letters, which make sure that some are free however many want the same slug.
const RANDOM: usize = 6;

/// Letters appended. 34^3 are 39,304, so six of them are hardly ever all taken.
const RANDOM_LETTERS: usize = 3;

/// Random bytes that [`candidates`] needs.
pub const RANDOM_BYTES: usize = RANDOM * RANDOM_LETTERS;

/// Lower case letters and digits without `l` and `o`, which look like digits.
const ALPHABET: &[u8; 34] = b"abcdefghijkmnpqrstuvwxyz0123456789";

/// Slugs like `slug`, the nicest first, each possible behind `prefix` and with it within `bytes_max`. Those with random
/// letters come of `random`.
pub fn candidates(prefix: &str, slug: &str, bytes_max: usize, random: &[u8; RANDOM_BYTES]) -> Vec<String> {
    let (stem, after) = numbered(slug);
    let numbers = (after..after.saturating_add(NUMBERED)).map(|number| format!("-{number}"));
    let letters = random.chunks(RANDOM_LETTERS).map(|bytes| {
        let letter = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
        format!("-{}", bytes.iter().map(letter).collect::<String>())
    });
    let mut all: Vec<String> = Vec::new();
    for tail in numbers.chain(letters) {
        let room = bytes_max.saturating_sub(prefix.len() + tail.len());
        let mut end = room.min(stem.len());
        while !stem.is_char_boundary(end) {
            end -= 1;
        }
        let candidate = format!("{}{tail}", stem[..end].trim_end_matches(['-', '/']));
        let is_possible = is_possible(&format!("{prefix}{candidate}"), bytes_max);
        if candidate != slug && is_possible && !all.contains(&candidate) {
            all.push(candidate);
        }
    }
    all
}

/// What stands before a slug's number, and the first number to try: `sale-7` goes on with 8, `sale` with 2.
fn numbered(slug: &str) -> (&str, u32) {
    match slug.rsplit_once('-') {
        Some((stem, digits)) if !stem.is_empty() && !digits.starts_with(['0', '+']) => {
            digits.parse::<u32>().ok().and_then(|number| number.checked_add(1)).map(|next| (stem, next))
        }
        _ => None,
    }
    .unwrap_or((slug, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; RANDOM_BYTES] = [0, 1, 2, 255, 254, 253, 9, 9, 9, 40, 41, 42, 7, 7, 7, 100, 101, 102];

    #[test]
    fn candidates_are_like_the_slug_and_within_the_limit() {
        let all = candidates("", "promo", 32, &BYTES);
        assert_eq!(all[..3], ["promo-2", "promo-3", "promo-4"]);
        assert_eq!(all.len(), 12, "{all:?}");
        assert!(all.iter().all(|slug| slug.starts_with("promo-")));
        assert_eq!(candidates("", "sale-7", 32, &BYTES)[0], "sale-8");
        assert_eq!(candidates("", "a/b", 32, &BYTES)[0], "a/b-2");
        assert_eq!(candidates("", "2024-01", 32, &BYTES)[0], "2024-01-2", "a month is no count");
        assert_eq!(candidates("", "x-4294967295", 32, &BYTES)[0], "x-4294967295-2");
    }

    #[test]
    fn candidates_go_behind_the_prefix() {
        assert_eq!(candidates("p/", "x", 32, &BYTES)[0], "x-2");
        assert_eq!(candidates("p-7", "", 32, &BYTES)[0], "-2", "the number is not the slug's");
        assert!(candidates("p/", "abcdefgh", 8, &BYTES).contains(&"abcd-2".to_owned()));
        assert_eq!(candidates("p/q/r/s/", "x", 8, &BYTES), [""; 0]);
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        for slug in ["grüße", "üüü", "a", "abcdefgh"] {
            for candidate in candidates("", slug, 8, &BYTES) {
                assert!(candidate.len() <= 8 && candidate != slug, "{slug}: {candidate}");
            }
        }
        assert!(candidates("", "üüüü", 8, &BYTES).contains(&"üüü-2".to_owned()));
    }
}
