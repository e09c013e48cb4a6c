//! How links redirect that do not say so themselves.

use serde::Deserialize;

use super::Wrong;
use crate::link::RedirectStatus;

/// Longest cache lifetime, seconds: a year, beyond which no client keeps anything.
pub const CACHE_LIFETIME_S_MAX: u32 = 31_536_000;

/// How links redirect that do not say so themselves.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedirectConfig {
    /// Status of redirects: 301, 302, 307 or 308. Default 302: the browser asks again, so an edit is seen by all.
    pub status: RedirectStatus,
    /// How long clients may keep a redirect, in seconds. Default 0: not at all (`no-store`), so every click is
    /// counted and every edit seen. With more, the same client's further clicks are not seen until it has passed.
    pub cache_lifetime_s: u32,
}

impl Default for RedirectConfig {
    fn default() -> Self {
        Self { status: RedirectStatus::Found, cache_lifetime_s: 0 }
    }
}

impl RedirectConfig {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        if self.cache_lifetime_s > CACHE_LIFETIME_S_MAX {
            wrong.push(("redirect.cache_lifetime_s", format!("must be at most {CACHE_LIFETIME_S_MAX}")));
        }
    }
}
