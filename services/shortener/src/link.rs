//! The domain: a link, what creates one, what changes one, what lists them.
//! No I/O and no HTTP: endpoints translate into these and stores keep them.

use std::collections::BTreeSet;

use crate::target::Target;

/// Seconds since the Unix epoch.
pub type UnixSeconds = i64;

/// A short URL as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Never given twice, not even after a deletion.
    pub id: i64,
    /// The short code or custom slug.
    pub code: String,
    /// Serialised target, valid as a `Location`.
    pub target: String,
    /// Starts at 1; one more with each edit of the target.
    pub version: u32,
    /// Starts at 1; one more with each edit of anything. Orders what caches see.
    pub revision: i64,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// Visits served of a link with `max_visits`; others are not counted here.
    pub visits: i64,
    /// What can be set.
    pub settings: Settings,
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
        }
    }
}

/// A link to be stored.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// The alias.
    pub code: String,
    /// Where it leads.
    pub target: Target,
    /// The rest.
    pub settings: Settings,
    /// The key that creates it.
    pub api_key_id: Option<String>,
}

/// Which links are as good as a new one (`findIfExists`): the same target and every field that is named here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// The alias.
    pub code: Option<String>,
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
}

impl Match {
    /// Whether `link`, which has the same target, is as good.
    pub fn accepts(&self, link: &Link) -> bool {
        let settings = &link.settings;
        self.code.as_ref().is_none_or(|code| *code == link.code)
            && (self.title.is_none() || self.title == settings.title)
            && self.tags.as_ref().is_none_or(|tags| *tags == settings.tags)
            && (self.valid_since.is_none() || self.valid_since == settings.valid_since)
            && (self.valid_until.is_none() || self.valid_until == settings.valid_until)
            && (self.max_visits.is_none() || self.max_visits == settings.max_visits)
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
    /// See [`Settings::crawlable`].
    pub crawlable: Option<bool>,
    /// See [`Settings::forward_query`].
    pub forward_query: Option<bool>,
}

impl LinkEdit {
    /// Makes the change. The version moves only when the target is another one.
    pub fn apply(&self, link: &mut Link) {
        fn set<T: Clone>(field: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                *field = value.clone();
            }
        }
        if let Some(target) = &self.target
            && target.as_str() != link.target
        {
            link.target = target.as_str().to_owned();
            link.version += 1;
        }
        let settings = &mut link.settings;
        set(&mut settings.title, self.title.as_ref());
        set(&mut settings.tags, self.tags.as_ref());
        set(&mut settings.valid_since, self.valid_since.as_ref());
        set(&mut settings.valid_until, self.valid_until.as_ref());
        set(&mut settings.max_visits, self.max_visits.as_ref());
        set(&mut settings.crawlable, self.crawlable.as_ref());
        set(&mut settings.forward_query, self.forward_query.as_ref());
        link.revision += 1;
    }
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Part of the target, code, title or a tag.
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
    /// Links at most.
    pub limit: u32,
}

/// What links are listed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By creation.
    Created,
    /// By code.
    Code,
    /// By target.
    Target,
    /// By title.
    Title,
}

/// Some of the links asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order asked for.
    pub links: Vec<Link>,
    /// How many there are in all.
    pub total: u64,
}
