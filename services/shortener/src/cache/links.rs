//! What holds links by their codes: of a bounded size, and what nobody asks for goes first.
//!
//! A library that does little when something is found, which is nearly always: moka, which the rest here is kept in, notes
//! each find for later, and orders its entries anew every so often, within a request. It knows no time either, so whoever
//! finds a link looks at its age.

use std::collections::hash_map::RandomState;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::entry::{self, CachedLink};

/// Links by code. The hash is keyed: who chooses codes can't choose where they are kept.
pub(super) type Links = Cache<Box<str>, Arc<CachedLink>, Bytes, RandomState>;

/// Bytes in a part of the whole, at least, where there are so many: a link that is larger than its part is not kept.
const PART_BYTES_MIN: u64 = 4 << 20;
/// Parts at most, each with a lock of its own.
const PARTS_MAX: u64 = 64;

/// Weighs links by what they take.
#[derive(Clone)]
pub(super) struct Bytes;

impl Weighter<Box<str>, Arc<CachedLink>> for Bytes {
    fn weight(&self, code: &Box<str>, link: &Arc<CachedLink>) -> u64 {
        entry::weight(code, link)
    }
}

/// None yet, and never more than take about so many bytes.
pub(super) fn of_bytes(bytes_max: u64) -> Links {
    let parts = (bytes_max / PART_BYTES_MIN).clamp(1, PARTS_MAX);
    let options = OptionsBuilder::new()
        // Only an estimate: by it, room is made for remembering what went.
        .estimated_items_capacity(usize::try_from(bytes_max).unwrap_or(usize::MAX) / entry::ENTRY_BYTES)
        .weight_capacity(bytes_max)
        // It would take the next power of two.
        .shards(1 << parts.ilog2())
        .build()
        .expect("it lacks nothing");
    Cache::with_options(options, Bytes, RandomState::new(), DefaultLifecycle::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Link, Settings};

    fn link(title_bytes: usize) -> Arc<CachedLink> {
        let link = Link {
            id: 1,
            domain: String::new(),
            code: "12345".to_owned(),
            target: "https://example.com/".to_owned(),
            version: 1,
            revision: 1,
            created_at: 1_700_000_000,
            visits: 0,
            visits_from: None,
            owner: None,
            settings: Settings { title: Some("x".repeat(title_bytes)), ..Settings::default() },
            rules: Vec::new(),
        };
        Arc::new(CachedLink::of(&link).unwrap())
    }

    #[test]
    fn what_is_kept_fits_and_is_most_of_what_fits() {
        let small = link(0);
        let bytes = entry::weight("12345", &small);
        for bytes_max in [0, 1_000, 40_000, 20 << 20] {
            let links = of_bytes(bytes_max);
            for number in 10_000..80_000 {
                links.insert(number.to_string().into(), Arc::clone(&small));
            }
            let fit = bytes_max / bytes;
            let kept = links.len() as u64;
            assert!(kept <= fit && kept + 1 >= fit * 9 / 10, "{kept} of {fit} in {bytes_max}");
        }
    }

    #[test]
    fn one_that_grows_counts_for_what_it_is_and_one_that_is_too_large_is_not_kept() {
        let links = of_bytes(20 << 20);
        let (small, large, huge) = (link(0), link(1 << 20), link(5 << 20));
        for (link, kept) in [(&small, true), (&large, true), (&small, true), (&huge, false)] {
            links.insert("12345".into(), Arc::clone(link));
            assert_eq!(links.get("12345").is_some(), kept);
            assert_eq!(links.weight(), if kept { entry::weight("12345", link) } else { 0 });
        }
    }
}
