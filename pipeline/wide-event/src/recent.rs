//! What was seen lately, in a table of a fixed size: what is remembered is looked up by its hash and compared, and the
//! newest takes the place of an older one of the same few places.
//!
//! So neither memory nor the time of a look-up depends on what comes in, whoever chose it: keys made up to fall on the
//! same places push each other out, and cost what they would cost if nothing was remembered. Nothing ever expires.

/// Places among which an entry is looked for. With four, a table that is a quarter full forgets next to nothing.
const PLACES: usize = 4;

/// Remembers entries.
pub(crate) struct Recent<E> {
    sets: Box<[Set<E>]>,
}

struct Set<E> {
    /// Half of each entry's hash: nearly always says that an entry is another one without looking at it.
    marks: [u32; PLACES],
    entries: [Option<E>; PLACES],
    /// Whose place the next one takes.
    next: usize,
}

impl<E> Recent<E> {
    /// Of so many entries at most, which is a multiple of the four places.
    pub(crate) fn new(entries_max: usize) -> Self {
        let set = || Set { marks: [0; PLACES], entries: std::array::from_fn(|_| None), next: 0 };
        Self { sets: std::iter::repeat_with(set).take((entries_max / PLACES).max(1)).collect() }
    }

    /// The entry with this hash that is the one looked for, or else a new one.
    pub(crate) fn get(&mut self, hash: u64, is_it: impl Fn(&E) -> bool, make: impl FnOnce() -> E) -> &E {
        let (mark, rest) = split(hash);
        let at = rest % self.sets.len();
        let Set { marks, entries, next } = &mut self.sets[at];
        let known =
            (0..PLACES).find(|&place| marks[place] == mark && entries[place].as_ref().is_some_and(&is_it));
        let place = known.unwrap_or_else(|| {
            *next = (*next + 1) % PLACES;
            marks[*next] = mark;
            entries[*next] = None;
            *next
        });
        entries[place].get_or_insert_with(make)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.sets.iter().flat_map(|set| &set.entries).filter(|entry| entry.is_some()).count()
    }
}

/// The upper half of a hash and the lower one.
fn split(hash: u64) -> (u32, usize) {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
    (half(hash >> 32), half(hash) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_lately_is_known_whatever_else_has_its_hash() {
        let mut recent = Recent::new(8);
        let mut get = |hash, key: u32| {
            let mut is_new = false;
            let found = *recent.get(
                hash,
                |entry| *entry == key,
                || {
                    is_new = true;
                    key
                },
            );
            assert_eq!(found, key);
            is_new
        };
        for key in 0..4 {
            assert!(get(7, key));
        }
        for key in 0..4 {
            assert!(!get(7, key), "{key} was pushed out");
        }
        assert!(get(7, 4) && get(7, 0), "four have room, and the oldest goes");
        for key in [2, 3, 4, 0] {
            assert!(!get(7, key));
        }
        assert!(get(6, 4), "of another hash");
        assert!(!get(6, 4) && !get(7, 4));
        for key in 0..1000 {
            get(u64::from(key % 3) << 32, key);
        }
        assert_eq!(recent.len(), 8);
    }
}
