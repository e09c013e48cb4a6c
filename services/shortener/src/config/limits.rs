//! When requests are refused.

use serde::Deserialize;

use super::{Wrong, positive};

/// When requests are refused before work is done for them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests under way at once; one more is answered 503. Default 4,096.
    pub in_flight_max: usize,
    /// Requests under way at once above which the management API is answered 503, so that redirects go on.
    /// Default 512.
    pub api_in_flight_max: usize,
    /// Largest body of the management API, in bytes. Default 65,536.
    pub body_bytes_max: usize,
    /// How long a client may take to send a body. Default 10,000.
    pub body_read_ms_max: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            in_flight_max: 4_096,
            api_in_flight_max: 512,
            body_bytes_max: 65_536,
            body_read_ms_max: 10_000,
        }
    }
}

impl LimitsConfig {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        if self.api_in_flight_max > self.in_flight_max {
            wrong.push(("limits.api_in_flight_max", "must not exceed limits.in_flight_max".to_owned()));
        }
        positive(wrong, "limits.api_in_flight_max", self.api_in_flight_max as u64);
    }
}
