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

/// Bytes in a part of the whole, at least: a link that is larger than its part would not be kept.
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
        .shards(usize::try_from(parts).unwrap_or(1))
        .build()
        .expect("it lacks nothing");
    Cache::with_options(options, Bytes, RandomState::new(), DefaultLifecycle::default())
}
