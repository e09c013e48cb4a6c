//! What targets may be that whoever runs the service decides: how long, of which schemes, and which hosts are its own.
//! What holds for all targets is no part of it.

use url::Url;

use super::scheme::check_scheme;
use super::{OwnHosts, is_private};
use crate::config::LinksConfig;

/// What is configured of targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPolicy {
    pub(super) bytes_max: usize,
    pub(crate) own_hosts: OwnHosts,
    schemes: Vec<String>,
    private_targets: bool,
}

impl TargetPolicy {
    /// That of a service at `base_url`. Schemes that can't be allowed are left out: `ShortenerConfig::check` has the say on
    /// them.
    pub fn new(base_url: &Url, links: &LinksConfig) -> Self {
        Self::with(OwnHosts::new(base_url, &links.own_hosts), links)
    }

    fn with(own_hosts: OwnHosts, links: &LinksConfig) -> Self {
        let schemes = links.schemes.iter().filter(|scheme| check_scheme(scheme).is_ok());
        Self {
            bytes_max: links.url_bytes_max,
            own_hosts,
            schemes: schemes.cloned().collect(),
            private_targets: links.private_targets,
        }
    }

    /// Whether targets may have this scheme, in whichever case.
    pub(super) fn allows(&self, scheme: &str) -> bool {
        self.schemes.iter().any(|allowed| allowed.eq_ignore_ascii_case(scheme))
    }

    /// Whether a target may be where this one is.
    pub(super) fn reaches(&self, url: &Url) -> bool {
        self.private_targets || !is_private(url)
    }
}

impl Default for TargetPolicy {
    /// The one that is configured by default, where no host is its own.
    fn default() -> Self {
        Self::with(OwnHosts::default(), &LinksConfig::default())
    }
}
