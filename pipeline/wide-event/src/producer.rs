//! What a process says of its own life, beside its events, so that loss at its end is seen as well.
//!
//! Gaps between two events of a boot show by themselves; the events that were still in memory when a process was
//! killed do not. The next boot knows how many numbers the last one had given out, and says so in this record.

use serde::{Deserialize, Serialize};

use crate::event::Symbol;
use crate::timestamp::Timestamp;

/// One boot that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BootEnd<'a> {
    /// When the record was made.
    pub ts: Timestamp,
    /// See [`crate::Event::service`].
    #[serde(borrow)]
    pub service: Symbol<'a>,
    /// See [`crate::Event::instance`].
    pub instance: Symbol<'a>,
    /// The boot that ended.
    pub boot_id: Symbol<'a>,
    /// The highest sequence number it gave out; 0 where it had no hop.
    pub issued: u64,
    /// Whether it ended in good order; `false` after a crash or a kill.
    pub clean: bool,
}
