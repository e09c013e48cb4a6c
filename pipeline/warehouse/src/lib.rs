#![doc = include_str!("../README.md")]

mod block;
mod client;
mod config;
mod error;
mod migrate;
mod schema;
mod verify;

pub use block::{Block, Column, CountsColumn, ListColumn, SymbolColumn, TextColumn, UnevenColumns};
pub use client::Warehouse;
pub use config::{Secret, WarehouseConfig};
pub use error::WarehouseError;
pub use migrate::{migrate, schema_check};
pub use verify::{PartitionTotals, ProducerGap, Report, verify};

/// Queries that more than one place runs, as they stand in `queries/`. Parameters are named as `{name:Type}`.
pub mod queries {
    /// Whether a range was stored in full: `topic`, `partition`, `first`, `last`.
    pub const LEDGER_HAS_RANGE: &str = include_str!("../queries/ledger_has_range.sql");
    /// The last offset that was stored of a partition, if any was: `topic`, `partition`.
    pub const LEDGER_REACHES: &str = include_str!("../queries/ledger_reaches.sql");
    /// Consumed ranges in their order: `topic`.
    pub const LEDGER_RANGES: &str = include_str!("../queries/ledger_ranges.sql");
    /// What the tables hold beside what the ledger says: `topic` and the times to live.
    pub const STORED: &str = include_str!("../queries/stored.sql");
    /// Events that never arrived, or twice, by boot: `requests_ttl_days`.
    pub const PRODUCER_GAPS: &str = include_str!("../queries/producer_gaps.sql");
    /// How old the newest range and event are.
    pub const FRESHNESS: &str = include_str!("../queries/freshness.sql");
}
