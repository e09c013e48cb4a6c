//! A link as the cache holds it: everything a redirect needs, made once, so that serving it makes nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http::HeaderValue;
use url::Url;

use super::age::Age;
use crate::link::{Link, RedirectStatus, UnixSeconds};
use crate::redirect::Rules;
use crate::shared::Version;
use crate::target::host_of;

/// Bytes of an entry besides its texts: the struct; its counts (16), what the cache says of `memory_used` for each, with what
/// it remembers of those that went (84 to 100), and what four allocations are rounded up by.
pub(super) const ENTRY_BYTES: usize = size_of::<CachedLink>() + 152;

/// What a redirect needs of a link.
#[derive(Debug)]
pub struct CachedLink {
    /// See [`Link::id`].
    pub id: i64,
    /// See [`Link::domain`].
    pub domain: Box<str>,
    /// See [`Link::version`].
    pub version: u32,
    /// See [`Link::revision`].
    pub revision: i64,
    /// The serialised target.
    pub location: HeaderValue,
    /// Its host as the web writes it; empty where it has none.
    pub target_host: Box<str>,
    /// For the preview.
    pub title: Option<Box<str>>,
    /// See [`crate::link::Settings::valid_since`].
    pub valid_since: Option<UnixSeconds>,
    /// See [`crate::link::Settings::valid_until`].
    pub valid_until: Option<UnixSeconds>,
    /// See [`crate::link::Settings::max_visits`]: such a visit is taken from the store.
    pub max_visits: Option<i64>,
    /// See [`crate::link::Settings::forward_query`].
    pub forward_query: bool,
    /// See [`crate::link::Settings::redirect_status`].
    pub redirect_status: Option<RedirectStatus>,
    /// See [`crate::link::Settings::cache_lifetime_s`].
    pub cache_lifetime_s: Option<u32>,
    /// See [`Link::rules`].
    pub(crate) rules: Rules,
    pub(super) age: Age,
    exhausted: AtomicBool,
}

impl CachedLink {
    /// Nothing when a target is no URL, which no store of ours holds.
    pub fn of(link: &Link) -> Option<Self> {
        Self::read_at(link, Instant::now())
    }

    pub(super) fn read_at(link: &Link, read_at: Instant) -> Option<Self> {
        let url = Url::parse(&link.target).ok()?;
        let settings = &link.settings;
        Some(Self {
            id: link.id,
            domain: link.domain.as_str().into(),
            version: link.version,
            revision: link.revision,
            location: HeaderValue::from_str(&link.target).ok()?,
            target_host: host_of(&url).into(),
            title: settings.title.as_deref().map(Into::into),
            valid_since: settings.valid_since,
            valid_until: settings.valid_until,
            max_visits: settings.max_visits,
            forward_query: settings.forward_query,
            redirect_status: settings.redirect_status,
            cache_lifetime_s: settings.cache_lifetime_s,
            rules: Rules::of(&link.rules)?,
            age: Age::since(read_at),
            exhausted: AtomicBool::new(settings.max_visits.is_some_and(|max| link.visits >= max)),
        })
    }

    /// Where it stands among all that its alias has been.
    pub(super) fn order(&self) -> Version {
        Version { id: self.id, revision: self.revision }
    }

    /// Whether the store said that no visit is left. It stays so until an edit.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// Spares the store further questions.
    pub fn set_exhausted(&self) {
        self.exhausted.store(true, Ordering::Relaxed);
    }
}

/// Bytes that a link takes under its code.
pub(super) fn weight(code: &str, link: &CachedLink) -> u64 {
    let texts =
        code.len() + link.domain.len() + link.location.len() + link.target_host.len() + link.rules.bytes();
    (ENTRY_BYTES + texts + link.title.as_ref().map_or(0, |title| title.len())) as u64
}
