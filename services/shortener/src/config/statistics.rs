//! Counts and visits out of ClickHouse.

use serde::Deserialize;

use super::Wrong;

/// Counts and visits out of ClickHouse.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatisticsConfig {}

impl StatisticsConfig {
    pub(super) fn check(&self, _: &mut Wrong) {}
}
