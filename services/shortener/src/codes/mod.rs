//! Short codes: a counter, leased in ranges from the store, through a keyed permutation.
//!
//! Two generated codes are never equal: ids are leased once and the permutation is a bijection, so nothing is
//! checked and nothing retried. A custom slug may be what the permutation gives for some later id. The store's
//! unique alias decides that case: the id is spent and the next one taken (see [`crate::links`]).

mod lease;
mod permutation;
mod slug;
mod suggest;

pub use lease::{CodeError, Codes};
pub use permutation::Permutation;
pub use slug::{SlugError, is_possible, normalise, normalise_prefix};
pub use suggest::{RANDOM_BYTES, candidates};

/// Shortest generated code. Shlink's minimum; 14.7 million codes.
pub const CODE_LENGTH_MIN: u32 = 4;

/// Longest generated code. 62^20 still fits the 128 bits that the permutation works on.
pub const CODE_LENGTH_MAX: u32 = 20;
