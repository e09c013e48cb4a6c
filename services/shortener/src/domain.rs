//! Domains that links live on, and where they send visits that name no link.
//! The default domain is the host of `links.base_url`; its name in the store is the empty string.

use crate::target::Target;

/// Name of the default domain in the store, the cache and the events.
pub const DEFAULT_DOMAIN: &str = "";

/// A domain as stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domain {
    /// Host and, where it is not the scheme's own, port; lower case. Empty for the default domain.
    pub authority: String,
    /// Where visits go that name no link.
    pub redirects: DomainRedirects,
}

/// Where visits go that name no link; without one, they get a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainRedirects {
    /// Visits of `/`.
    pub base_url: Option<String>,
    /// Visits of a path that can't be a code.
    pub regular_404: Option<String>,
    /// Visits of a code that is unknown, expired or exhausted.
    pub invalid_short_url: Option<String>,
}

/// A change. Outer `None` leaves a field alone, inner `None` clears it.
#[derive(Debug, Clone, Default)]
pub struct DomainRedirectsEdit {
    /// See [`DomainRedirects::base_url`].
    pub base_url: Option<Option<Target>>,
    /// See [`DomainRedirects::regular_404`].
    pub regular_404: Option<Option<Target>>,
    /// See [`DomainRedirects::invalid_short_url`].
    pub invalid_short_url: Option<Option<Target>>,
}
