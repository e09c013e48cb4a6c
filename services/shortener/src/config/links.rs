//! What links may look like.

use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use super::{SecretKey, Wrong, positive};
use crate::codes::{CODE_LENGTH_MAX, CODE_LENGTH_MIN};
use crate::target::check_scheme;

/// Longest slug that may be configured: with its domain, PostgreSQL's index takes some 2,700 bytes of it.
const SLUG_BYTES_MAX: usize = 2_048;

/// What links may look like.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinksConfig {
    /// The origin that short URLs are made with. Default `http://127.0.0.1:8080`; set it to the public one.
    pub base_url: String,
    /// Further hosts that lead here (`host` or `host:port`): links to them are refused, as they would loop.
    /// The host of `base_url` is always one. Default none.
    pub own_hosts: Vec<String>,
    /// Schemes that targets may have, in lower case; all of them, so name `http` and `https`, too. Default these two; add
    /// `mailto`, `tel` or that of an app of yours where links shall open one. Schemes that run code, reach the visitor's
    /// own machine or hide another URL (`javascript`, `data`, `file`, `intent`, …) can't be added where they are known; what
    /// any other does is up to its handler, so add only those whose handler you trust with any URL. It is about new targets:
    /// links, rules and domain redirects that lead elsewhere since before go on as they are when the list is narrowed. Add to it
    /// only when all instances run a version that knows it, and none is to go back: an earlier one takes a link whose target has
    /// no host for corrupt, and answers 503.
    pub schemes: Vec<String>,
    /// Longest target accepted, in bytes, as given and as serialised. Default 2,048, what every browser and
    /// proxy takes; raise it for targets with long queries.
    pub url_bytes_max: usize,
    /// Longest custom slug, in bytes. Default 255, Shlink's limit; at most 2,048.
    pub slug_bytes_max: usize,
    /// Length of generated codes where a request names none. Default 7.
    pub code_length: u32,
    /// Codes reserved by one write to the store. Default 1,000; a crash forgets at most so many of the
    /// 3.5 million million. Raise it when links are created by the thousand a second.
    pub lease_ids: u32,
    /// The 256-bit key that codes are permuted with, 64 hexadecimal digits. Default: generated at the first
    /// start and kept in the store. Never change it on a store with links: codes would repeat.
    pub codes_key: Option<SecretKey>,
    /// Most domains, the default one included. Default 10,000, which is 3 MB in memory, read every few seconds; a link that
    /// would begin one more is refused, also within a call that makes many. Calls at the same moment, here and on other
    /// instances, don't know of each other: with each there may be as many more as it begins. Raise it where more customers
    /// than that bring their own.
    pub domains_max: usize,
    /// Most tags on a link. Default 32.
    pub tags_max: usize,
    /// Whether links may lead to private networks, this machine and names without a dot (these are always allowed of schemes
    /// like `myapp`, where they are no hosts). Default true, since shorteners
    /// on intranets are for nothing else and targets are never fetched; false where strangers make links.
    pub private_targets: bool,
    /// Files with hosts that no link may lead to: one host a line, which stands for all names below it, or lines of a
    /// hosts file. Read again when they change. Links that exist already answer 410. Default none.
    pub blocklist_files: Vec<PathBuf>,
}

impl Default for LinksConfig {
    fn default() -> Self {
        Self {
            base_url: "http://127.0.0.1:8080".to_owned(),
            own_hosts: Vec::new(),
            schemes: ["http", "https"].map(str::to_owned).to_vec(),
            url_bytes_max: 2_048,
            slug_bytes_max: 255,
            code_length: 7,
            lease_ids: 1_000,
            codes_key: None,
            domains_max: 10_000,
            tags_max: 32,
            private_targets: true,
            blocklist_files: Vec::new(),
        }
    }
}

impl LinksConfig {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        match Url::parse(&self.base_url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
                    wrong.push(("links.base_url", "must be an origin without path or query".to_owned()));
                }
            }
            Ok(_) => wrong.push(("links.base_url", "must be an http or https URL".to_owned())),
            Err(error) => wrong.push(("links.base_url", error.to_string())),
        }
        if self.schemes.is_empty() {
            wrong.push(("links.schemes", "names none".to_owned()));
        }
        let schemes = self.schemes.iter();
        wrong.extend(schemes.filter_map(|scheme| {
            let error = check_scheme(scheme).err()?;
            Some(("links.schemes", format!("{scheme:?} {error}")))
        }));
        if !(CODE_LENGTH_MIN..=CODE_LENGTH_MAX).contains(&self.code_length) {
            wrong.push(("links.code_length", format!("must be {CODE_LENGTH_MIN} to {CODE_LENGTH_MAX}")));
        }
        positive(wrong, "links.url_bytes_max", self.url_bytes_max as u64);
        if !(1..=SLUG_BYTES_MAX).contains(&self.slug_bytes_max) {
            wrong.push(("links.slug_bytes_max", format!("must be 1 to {SLUG_BYTES_MAX}")));
        }
        positive(wrong, "links.lease_ids", u64::from(self.lease_ids));
        positive(wrong, "links.domains_max", self.domains_max as u64);
    }
}
