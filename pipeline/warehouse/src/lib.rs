#![doc = include_str!("../README.md")]

mod block;
mod check;
mod client;
mod config;
mod ddl;
pub mod dead_letters;
mod error;
mod migrate;
mod schema;
mod verify;

pub use block::{
    ArrayColumn, Block, Column, CountsColumn, ListColumn, MapColumn, SymbolColumn, TextColumn, UnevenColumns,
};
pub use check::schema_check;
pub use client::Warehouse;
pub use config::{Secret, WarehouseConfig};
pub use ddl::DEDUP_WINDOW;
pub use error::WarehouseError;
pub use migrate::{migrate, statements};
pub use verify::{PartitionTotals, ProducerGap, Recent, Report, range_from, verify, verify_recent};

/// Queries that more than one place runs, as they stand in `queries/`. Parameters are named as `{name:Type}`.
pub mod queries {
    /// Whether a range was stored in full: `topic`, `partition`, `first`, `last`.
    pub const LEDGER_HAS_RANGE: &str = include_str!("../queries/ledger_has_range.sql");
    /// The last offset that was stored of a partition, if any was: `topic`, `partition`.
    pub const LEDGER_REACHES: &str = include_str!("../queries/ledger_reaches.sql");
    /// Ranges that were begun since a time, of all partitions: `topic`, `since_us`. See [`crate::DEDUP_WINDOW`].
    pub const RANGES_SINCE: &str = include_str!("../queries/ranges_since.sql");
    /// Where the first range begins that begins at or after an offset: `topic`, `partition`, `offset`.
    pub const RANGE_FROM: &str = include_str!("../queries/range_from.sql");
    /// Dead letters with how far their replay is; see [`crate::dead_letters`], which fills in the many parameters.
    pub const DEAD_LETTERS: &str = include_str!("../queries/dead_letters.sql");
    /// Whether a dead letter was replayed: `topic`, `partition`, `offset`, `line`.
    pub const REPLAY_STATE: &str = include_str!("../queries/replay_state.sql");
    /// What the ledger holds by now, the time, and when the schema was installed.
    pub const LEDGER_STATE: &str = include_str!("../queries/ledger_state.sql");
    /// The ledger's sums by partition: `topic`, `committed` and `counted_from` (offsets by partition), `now_s`.
    pub const LEDGER_TOTALS: &str = include_str!("../queries/ledger_totals.sql");
    /// Ranges that do not follow on each other or do not add up: `topic`, `committed`, `since_s`, `limit`.
    pub const LEDGER_FAULTS: &str = include_str!("../queries/ledger_faults.sql");
    /// Tables that know offsets beside the ledger: `topic`, `committed`, `since_s`.
    pub const STORED_BY_OFFSET: &str = include_str!("../queries/stored_by_offset.sql");
    /// Tables that do not, beside the ledger: `now_s`, `installed_s`, `rollups_ttl_days`, `clicks_ttl_days`.
    pub const STORED_BY_TIME: &str = include_str!("../queries/stored_by_time.sql");
    /// Events that never arrived, or twice, by boot: `committed`, `now_s`, `requests_ttl_days`.
    pub const PRODUCER_GAPS: &str = include_str!("../queries/producer_gaps.sql");
    /// Numbers of producers that are missing of late: `committed`, `since_s`, `now_s`.
    pub const RECENT_NUMBERS: &str = include_str!("../queries/recent_numbers.sql");
    /// How old the newest range and event are.
    pub const FRESHNESS: &str = include_str!("../queries/freshness.sql");
}
