//! The domain: a link, what creates one, what changes one, what lists them.
//! No I/O and no HTTP: endpoints translate into these and stores keep them.

use std::collections::BTreeSet;

use crate::domain::DEFAULT_DOMAIN;
use crate::rule::Rule;
use crate::target::Target;

/// Seconds since the Unix epoch.
pub type UnixSeconds = i64;

/// What names a link: two domains may have the same code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkRef<'a> {
    /// See [`crate::domain::Domain::authority`].
    pub domain: &'a str,
    /// The short code or custom slug.
    pub code: &'a str,
}

impl<'a> LinkRef<'a> {
    /// A link of the default domain.
    pub const fn on_default(code: &'a str) -> Self {
        Self { domain: DEFAULT_DOMAIN, code }
    }
}

/// A short URL as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Never given twice, not even after a deletion.
    pub id: i64,
    /// See [`crate::domain::Domain::authority`].
    pub domain: String,
    /// The short code or custom slug.
    pub code: String,
    /// Serialised target, valid as a `Location`.
    pub target: String,
    /// Starts at 1; one more with each edit of the target or the rules.
    pub version: u32,
    /// Starts at 1; one more with each edit of anything. Orders what caches see.
    pub revision: i64,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// Visits that count towards `max_visits`: those served since there is one, and those before as far as they were counted
    /// when it was set. Of a link without one, what was counted of an earlier one.
    pub visits: i64,
    /// Since when its visits are shown: those before were deleted. Without it, since its creation.
    pub visits_from: Option<UnixSeconds>,
    /// [`crate::keys::ApiKey::owner`] of the key that made it.
    pub owner: Option<String>,
    /// What can be set.
    pub settings: Settings,
    /// Tried in order before the target.
    pub rules: Vec<Rule>,
}

impl Link {
    /// What names it.
    pub fn name(&self) -> LinkRef<'_> {
        LinkRef { domain: &self.domain, code: &self.code }
    }

    /// Which link it is, and in which state.
    pub fn state(&self) -> LinkState {
        LinkState { id: self.id, revision: self.revision }
    }

    /// Since when its visits count: a slug that was deleted and made again starts anew.
    pub fn counts_from(&self) -> UnixSeconds {
        self.visits_from.unwrap_or(self.created_at)
    }
}

/// A link as it was at some time. A name is no link: what is deleted can be made anew under it, at the first revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkState {
    /// [`Link::id`].
    pub id: i64,
    /// [`Link::revision`].
    pub revision: i64,
}

/// Where a link leads, or has led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkVersion {
    /// See [`Link::version`]: clicks say which one they were served.
    pub version: u32,
    /// Serialised target.
    pub target: String,
    /// See [`Link::rules`]; `None` where they are not known: what was replaced before schema 6 (PostgreSQL) or 5 (SQLite)
    /// was kept without.
    pub rules: Option<Vec<Rule>>,
    /// Since when it leads there.
    pub since: UnixSeconds,
    /// Of a version from before those schemas: when they came. Until then it may have had other rules.
    pub rules_since: Option<UnixSeconds>,
    /// [`crate::keys::ApiKey::owner`] of the key that set it.
    pub owner: Option<String>,
}

/// What can be set on a link besides its code and target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Shown in listings and on the preview page.
    pub title: Option<String>,
    /// Lower case, without spaces.
    pub tags: BTreeSet<String>,
    /// Before it, the link is unknown.
    pub valid_since: Option<UnixSeconds>,
    /// From it on, the link is gone.
    pub valid_until: Option<UnixSeconds>,
    /// Redirects it gives, exactly.
    pub max_visits: Option<i64>,
    /// Whether robots may follow it.
    pub crawlable: bool,
    /// Whether the query of a visit is added to the target.
    pub forward_query: bool,
    /// Status of the redirect; without one, the configured default.
    pub redirect_status: Option<RedirectStatus>,
    /// How long clients may keep the redirect, seconds; without one, the configured default.
    pub cache_lifetime_s: Option<u32>,
}

/// Statuses that redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RedirectStatus {
    /// 301: for good; clients may turn a POST into a GET.
    MovedPermanently,
    /// 302: for now; the default.
    Found,
    /// 307: for now, method kept.
    Temporary,
    /// 308: for good, method kept.
    Permanent,
}

impl RedirectStatus {
    /// Whether the target is asked with the method, and the body, that the link was asked with.
    pub fn keeps_method(self) -> bool {
        matches!(self, Self::Temporary | Self::Permanent)
    }
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> Self {
        match status {
            RedirectStatus::MovedPermanently => 301,
            RedirectStatus::Found => 302,
            RedirectStatus::Temporary => 307,
            RedirectStatus::Permanent => 308,
        }
    }
}

impl TryFrom<u16> for RedirectStatus {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        match status {
            301 => Ok(Self::MovedPermanently),
            302 => Ok(Self::Found),
            307 => Ok(Self::Temporary),
            308 => Ok(Self::Permanent),
            _ => Err("is none of 301, 302, 307, 308"),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            title: None,
            tags: BTreeSet::new(),
            valid_since: None,
            valid_until: None,
            max_visits: None,
            crawlable: false,
            // Shlink's default.
            forward_query: true,
            redirect_status: None,
            cache_lifetime_s: None,
        }
    }
}

/// A link to be stored.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// See [`crate::domain::Domain::authority`].
    pub domain: String,
    /// The alias.
    pub code: String,
    /// Whether the alias was generated: then another will do where this one is taken.
    pub generated: bool,
    /// Where it leads.
    pub target: Target,
    /// The rest.
    pub settings: Settings,
    /// See [`Link::rules`].
    pub rules: Vec<Rule>,
    /// [`crate::keys::ApiKey::owner`] of the key that creates it.
    pub owner: Option<String>,
    /// When it was created, for one that is imported; without it, now.
    pub created_at: Option<UnixSeconds>,
    /// See [`Link::visits_from`].
    pub visits_from: Option<UnixSeconds>,
    /// Take a link to the same target that is as good instead.
    pub unless: Option<Match>,
}

impl NewLink {
    /// A link with a chosen alias on the default domain, and nothing else set.
    pub fn with_alias(code: impl Into<String>, target: Target) -> Self {
        Self {
            domain: DEFAULT_DOMAIN.to_owned(),
            code: code.into(),
            generated: false,
            target,
            settings: Settings::default(),
            rules: Vec::new(),
            owner: None,
            created_at: None,
            visits_from: None,
            unless: None,
        }
    }
}

/// Which links are as good as a new one (`findIfExists`): the same target and every field that is named here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// The alias.
    pub code: Option<String>,
    /// The domain; always asked for.
    pub domain: String,
    /// The owner, for keys that may use only their own links.
    pub owner: Option<String>,
    /// The title.
    pub title: Option<String>,
    /// All the tags, no others.
    pub tags: Option<BTreeSet<String>>,
    /// Start of validity.
    pub valid_since: Option<UnixSeconds>,
    /// End of validity.
    pub valid_until: Option<UnixSeconds>,
    /// Visits allowed.
    pub max_visits: Option<i64>,
    /// Whether robots may follow it.
    pub crawlable: Option<bool>,
    /// Whether the query of a visit is added to the target.
    pub forward_query: Option<bool>,
    /// Status of the redirect; that of the configuration is none.
    pub redirect_status: Option<RedirectStatus>,
    /// How long clients may keep the redirect; that of the configuration is none.
    pub cache_lifetime_s: Option<u32>,
}

impl Match {
    /// Whether a link with these settings would do: stores compare the same, and target, alias, domain and owner.
    pub(crate) fn suits(&self, settings: &Settings) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none() || wanted == found
        }
        is(self.title.as_ref(), settings.title.as_ref())
            && is(self.tags.as_ref(), Some(&settings.tags))
            && is(self.valid_since.as_ref(), settings.valid_since.as_ref())
            && is(self.valid_until.as_ref(), settings.valid_until.as_ref())
            && is(self.max_visits.as_ref(), settings.max_visits.as_ref())
            && is(self.crawlable.as_ref(), Some(&settings.crawlable))
            && is(self.forward_query.as_ref(), Some(&settings.forward_query))
            && is(self.redirect_status.as_ref(), settings.redirect_status.as_ref())
            && is(self.cache_lifetime_s.as_ref(), settings.cache_lifetime_s.as_ref())
    }

    /// The tags as stores compare them: one text, in the order of their bytes. Tags hold no comma.
    pub(crate) fn tags_text(&self) -> Option<String> {
        let tags = self.tags.as_ref()?;
        Some(tags.iter().map(String::as_str).collect::<Vec<_>>().join(","))
    }
}

/// A change to a link. Outer `None` leaves a field alone, inner `None` clears it.
#[derive(Debug, Clone, Default)]
pub struct LinkEdit {
    /// Where it leads from now on.
    pub target: Option<Target>,
    /// See [`Settings::title`].
    pub title: Option<Option<String>>,
    /// See [`Settings::tags`].
    pub tags: Option<BTreeSet<String>>,
    /// See [`Settings::valid_since`].
    pub valid_since: Option<Option<UnixSeconds>>,
    /// See [`Settings::valid_until`].
    pub valid_until: Option<Option<UnixSeconds>>,
    /// See [`Settings::max_visits`].
    pub max_visits: Option<Option<i64>>,
    /// Visits so far: where a limit begins that the link did not have.
    pub visits: Option<Visited>,
    /// See [`Settings::crawlable`].
    pub crawlable: Option<bool>,
    /// See [`Settings::forward_query`].
    pub forward_query: Option<bool>,
    /// See [`Settings::redirect_status`].
    pub redirect_status: Option<Option<RedirectStatus>>,
    /// See [`Settings::cache_lifetime_s`].
    pub cache_lifetime_s: Option<Option<u32>>,
    /// See [`Link::rules`].
    pub rules: Option<Vec<Rule>>,
    /// See [`Link::visits_from`].
    pub visits_from: Option<UnixSeconds>,
    /// [`crate::keys::ApiKey::owner`] of the key that makes the change, for the history.
    pub by: Option<String>,
    /// Make the change only to this state (`If-Match`).
    pub if_state: Option<LinkState>,
}

impl LinkEdit {
    /// Whether it gives a limit to a link that has none.
    pub fn begins_limit(&self, link: &Link) -> bool {
        link.settings.max_visits.is_none() && matches!(self.max_visits, Some(Some(_)))
    }

    /// Makes the change. The version moves only when the target or the rules are others.
    pub fn apply(&self, link: &mut Link) {
        fn set<T: Clone>(field: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                *field = value.clone();
            }
        }
        let target = self.target.as_ref().map(Target::as_str).filter(|target| *target != link.target);
        let rules = self.rules.as_ref().filter(|rules| **rules != link.rules);
        if target.is_some() || rules.is_some() {
            link.version += 1;
        }
        if let Some(target) = target {
            link.target = target.to_owned();
        }
        set(&mut link.rules, rules);
        if self.begins_limit(link) {
            let so_far =
                self.visits.filter(|visited| visited.link_id == link.id).map_or(0, |visited| visited.visits);
            link.visits = link.visits.max(so_far);
        }
        let settings = &mut link.settings;
        set(&mut settings.title, self.title.as_ref());
        set(&mut settings.tags, self.tags.as_ref());
        set(&mut settings.valid_since, self.valid_since.as_ref());
        set(&mut settings.valid_until, self.valid_until.as_ref());
        set(&mut settings.max_visits, self.max_visits.as_ref());
        set(&mut settings.crawlable, self.crawlable.as_ref());
        set(&mut settings.forward_query, self.forward_query.as_ref());
        set(&mut settings.redirect_status, self.redirect_status.as_ref());
        set(&mut settings.cache_lifetime_s, self.cache_lifetime_s.as_ref());
        link.visits_from = self.visits_from.or(link.visits_from);
        link.revision += 1;
    }
}

/// How many visits a link has had. It says which one: another may have the name by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visited {
    /// [`Link::id`].
    pub link_id: i64,
    /// How many.
    pub visits: i64,
}

/// What to list. By default it is all links in the order of their creation, not counted; how many has to be said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only links of this domain.
    pub domain: Option<String>,
    /// Only links of this owner.
    pub owner: Option<String>,
    /// Only links made with a key of this name, see [`crate::keys::ApiKey::name`], or one that it was rotated from or into.
    pub key_name: Option<String>,
    /// Without links that have one of these tags.
    pub exclude_tags: BTreeSet<String>,
    /// Whether all of `exclude_tags` are needed to be left out, or one.
    pub exclude_tags_all: bool,
    /// Only links below this one in the order: where the page before ended. With it, `offset` is 0 and nothing is
    /// counted.
    pub after: Option<Cursor>,
    /// Whether [`Page::total`] is wanted; counting costs more than a page.
    pub count: bool,
    /// Part of the target, code, title or a tag. The case of ASCII letters is ignored; in tags, that of all letters.
    pub search: Option<String>,
    /// Tags, lower case.
    pub tags: BTreeSet<String>,
    /// Whether all of `tags` are needed, or one.
    pub tags_all: bool,
    /// Created at or after.
    pub created_from: Option<UnixSeconds>,
    /// Created at or before.
    pub created_to: Option<UnixSeconds>,
    /// Without links that have no visit left.
    pub exclude_exhausted: bool,
    /// Without links expired at this time.
    pub exclude_expired_at: Option<UnixSeconds>,
    /// Order.
    pub order: Order,
    /// Whether the order is reversed.
    pub descending: bool,
    /// Links to skip.
    pub offset: u64,
    /// Links at most; 0, the default, is none.
    pub limit: u32,
}

/// Where a page ended: the last link's place in the order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cursor {
    /// What it is ordered by: the text of the code, target or title, or the seconds of the creation.
    pub value: String,
    /// Settles ties.
    pub id: i64,
}

impl Cursor {
    /// Where a page ends whose last link is `link`.
    pub fn at(order: Order, link: &Link) -> Self {
        let value = match order {
            Order::Created => link.created_at.to_string(),
            Order::Code => link.code.clone(),
            Order::Target => link.target.chars().take(ORDERED_CHARS_MAX).collect(),
            Order::Title => link.settings.title.clone().unwrap_or_default(),
        };
        Self { value, id: link.id }
    }
}

/// Characters of a target that lists are ordered by; among those that begin alike so far, the id decides. So a cursor has
/// a limit and targets need none. It is all of a target of the longest that is configured by default.
pub const ORDERED_CHARS_MAX: usize = 2_048;

/// What links are listed by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// By creation.
    #[default]
    Created,
    /// By code.
    Code,
    /// By target, see [`ORDERED_CHARS_MAX`].
    Target,
    /// By title.
    Title,
}

/// Some of the links asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order asked for.
    pub links: Vec<Link>,
    /// How many there are in all, where that was asked for.
    pub total: Option<u64>,
}
