//! Redirect rules: conditions under which a link leads elsewhere, tried in order; the first whose conditions all
//! hold decides. Only what a rule is: whether one holds for a request is `redirect`'s to say.

use serde::{Deserialize, Serialize};

use crate::link::UnixSeconds;

/// Rules of a link at most. Each is tried on each visit.
pub const RULES_MAX: usize = 20;

/// Conditions of a rule at most.
pub const CONDITIONS_MAX: usize = 20;

/// Where a link leads when all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Serialised target, valid as a `Location`.
    pub target: String,
    /// All of them must hold; at least one.
    pub conditions: Vec<Condition>,
}

/// What is asked of a request. Stored as JSON, so names are for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Condition {
    /// The kind of device.
    Device {
        /// Which one.
        device: Device,
    },
    /// The browser, by its family.
    Browser {
        /// Which one.
        browser: Browser,
    },
    /// A language that the client accepts: `en`, or `en-GB`, which `en` alone does not satisfy.
    Language {
        /// A language tag, lower case.
        language: String,
    },
    /// A parameter of the query with this value.
    QueryParam {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A parameter of the query with any value.
    AnyValueQueryParam {
        /// Its name.
        name: String,
    },
    /// A parameter of the query without a value.
    ValuelessQueryParam {
        /// Its name.
        name: String,
    },
    /// The client's address: one, a network (CIDR) or with `*` for parts.
    IpAddress {
        /// The pattern.
        pattern: String,
    },
    /// The client's country.
    Country {
        /// ISO 3166-1 alpha-2, upper case.
        country: String,
    },
    /// The visit is before this time.
    Before {
        /// Exclusive.
        at: UnixSeconds,
    },
    /// The visit is at this time or later.
    After {
        /// Inclusive.
        at: UnixSeconds,
    },
}

/// Browsers that rules tell apart; Shlink's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Browser {
    /// Google's, and Chromium where it says nothing else of itself.
    Chrome,
    /// Mozilla's.
    Firefox,
    /// Microsoft's.
    Edge,
    /// Apple's.
    Safari,
    /// Opera.
    Opera,
    /// Android's own, before Chrome.
    AndroidBrowser,
}

/// Kinds of devices that rules tell apart; Shlink's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// Android.
    Android,
    /// iOS.
    Ios,
    /// Any mobile one.
    Mobile,
    /// Windows.
    Windows,
    /// macOS.
    Macos,
    /// Linux.
    Linux,
    /// ChromeOS.
    Chromeos,
    /// Any desktop.
    Desktop,
}
