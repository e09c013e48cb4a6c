//! The state that instances share.

use serde::Deserialize;

use super::{SecretText, Wrong};

/// Redis for what instances share: cached links, invalidation, limits, leases.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://user:password@host:port`, or several, separated by commas, of one Redis Cluster. Default empty: this
    /// instance shares nothing.
    pub url: SecretText,
}

impl RedisConfig {
    pub(super) fn check(&self, _: &mut Wrong) {}
}
