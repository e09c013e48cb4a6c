//! When a dependency that fails is left alone.

use serde::Deserialize;

use super::{Wrong, positive};

/// Circuit breakers around the link store and Redis, one each, all with these settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Failures in a row that open it. Default 5. Timeouts are failures; answers such as "unknown" are not.
    pub failures_max: u32,
    /// Share of failures among the calls of `window_ms` that opens it, per cent. Default 50.
    pub failed_percent_max: u32,
    /// Calls in `window_ms` below which that share says nothing. Default 20.
    pub calls_min: u32,
    /// Time over which calls are counted. Default 10,000.
    pub window_ms: u64,
    /// How long nothing is asked once it is open. Default 1,000; then a few calls are let through to find out.
    pub open_ms: u64,
    /// Calls let through at once to find out, and successes in a row that close it. Default 2.
    pub probes: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures_max: 5,
            failed_percent_max: 50,
            calls_min: 20,
            window_ms: 10_000,
            open_ms: 1_000,
            probes: 2,
        }
    }
}

impl BreakerConfig {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        positive(wrong, "breaker.failures_max", u64::from(self.failures_max));
        positive(wrong, "breaker.calls_min", u64::from(self.calls_min));
        positive(wrong, "breaker.window_ms", self.window_ms);
        positive(wrong, "breaker.probes", u64::from(self.probes));
        if !(1..=100).contains(&self.failed_percent_max) {
            wrong.push(("breaker.failed_percent_max", "must be 1 to 100".to_owned()));
        }
    }
}
