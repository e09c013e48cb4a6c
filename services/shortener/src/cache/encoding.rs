//! Links as instances share them: what a redirect needs, as JSON behind a byte for the schema and a code that only this
//! installation can make. What is damaged, planted, of another link or of another schema is nothing.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::CachedLink;
use crate::link::{Link, LinkRef, RedirectStatus, Settings, UnixSeconds};
use crate::rule::Rule;
use crate::shared::{Entry, Version};

/// Another one is ignored, and replaced by whoever writes next.
const SCHEMA: u8 = 1;

/// Bytes of the authentication code: nobody makes 2^64 tries against a Redis unnoticed.
const CODE_BYTES: usize = 16;

/// Reads and writes entries.
#[derive(Clone)]
pub(super) struct Encoding {
    key: [u8; 32],
}

/// What an entry says.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) version: Version,
    /// None: there is no such link.
    pub(super) link: Option<CachedLink>,
    pub(super) age: Duration,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    /// How long it was to be kept when it was read from the store: with what is left of it, this gives its age.
    #[serde(rename = "k")]
    keep_ms: u64,
    #[serde(rename = "l", borrow, default, skip_serializing_if = "Option::is_none")]
    link: Option<LinkBody<'a>>,
}

/// Short names, and nothing that has its default: there are millions of these.
#[derive(Serialize, Deserialize)]
struct LinkBody<'a> {
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "t", borrow)]
    target: Cow<'a, str>,
    #[serde(rename = "at", default)]
    created_at: UnixSeconds,
    #[serde(rename = "h", borrow, default, skip_serializing_if = "Option::is_none")]
    title: Option<Cow<'a, str>>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    valid_since: Option<UnixSeconds>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    valid_until: Option<UnixSeconds>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    max_visits: Option<i64>,
    #[serde(rename = "n", default, skip_serializing_if = "is_default")]
    visits: i64,
    #[serde(rename = "c", default, skip_serializing_if = "is_default")]
    crawlable: bool,
    #[serde(rename = "q", default, skip_serializing_if = "is_default")]
    forward_query: bool,
    #[serde(rename = "st", default, skip_serializing_if = "Option::is_none")]
    redirect_status: Option<RedirectStatus>,
    #[serde(rename = "cl", default, skip_serializing_if = "Option::is_none")]
    cache_lifetime_s: Option<u32>,
    #[serde(rename = "r", default, skip_serializing_if = "is_default")]
    rules: Cow<'a, [Rule]>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Encoding {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The entry of a link that was read (or written) at a time.
    pub(super) fn link(&self, code: &str, link: &Link, keep: Duration, read_at: Instant) -> Entry {
        let settings = &link.settings;
        let body = LinkBody {
            version: link.version,
            target: link.target.as_str().into(),
            created_at: link.created_at,
            title: settings.title.as_deref().map(Into::into),
            valid_since: settings.valid_since,
            valid_until: settings.valid_until,
            max_visits: settings.max_visits,
            visits: link.visits,
            crawlable: settings.crawlable,
            forward_query: settings.forward_query,
            redirect_status: settings.redirect_status,
            cache_lifetime_s: settings.cache_lifetime_s,
            rules: Cow::Borrowed(&link.rules),
        };
        self.entry(code, Version { id: link.id, revision: link.revision }, Some(body), keep, read_at)
    }

    /// The entry that says that there is no link.
    pub(super) fn nothing(&self, code: &str, version: Version, keep: Duration, read_at: Instant) -> Entry {
        self.entry(code, version, None, keep, read_at)
    }

    /// What an entry says, if it is one of ours.
    pub(super) fn read(&self, name: LinkRef<'_>, code: &str, entry: &Entry) -> Option<Shared> {
        let (&schema, rest) = entry.value.split_first()?;
        let (given, body) = rest.split_first_chunk::<CODE_BYTES>()?;
        // Compared in constant time, as every code of this kind.
        let made = blake3::Hash::from_bytes(widened(self.authenticate(code, entry.version, body)));
        if schema != SCHEMA || made != blake3::Hash::from_bytes(widened(*given)) {
            return None;
        }
        let body: Body<'_> = serde_json::from_slice(body).ok()?;
        let age = Duration::from_millis(body.keep_ms).saturating_sub(entry.keep);
        let link = match body.link {
            Some(body) => {
                let read_at = Instant::now().checked_sub(age)?;
                Some(CachedLink::read_at(&link_of(name, entry.version, body), read_at)?)
            }
            None => None,
        };
        Some(Shared { version: entry.version, link, age })
    }

    fn entry(
        &self,
        code: &str,
        version: Version,
        link: Option<LinkBody<'_>>,
        keep: Duration,
        read_at: Instant,
    ) -> Entry {
        let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        // Texts and numbers alone: nothing in it can fail to be written.
        let body = serde_json::to_vec(&Body { keep_ms, link }).unwrap_or_default();
        let mut value = Vec::with_capacity(1 + CODE_BYTES + body.len());
        value.push(SCHEMA);
        value.extend_from_slice(&self.authenticate(code, version, &body));
        value.extend_from_slice(&body);
        Entry { version, value: Bytes::from(value), keep: keep.saturating_sub(read_at.elapsed()) }
    }

    fn authenticate(&self, code: &str, version: Version, body: &[u8]) -> [u8; CODE_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&version.id.to_be_bytes()).update(&version.revision.to_be_bytes());
        hasher.update(&(code.len() as u64).to_be_bytes()).update(code.as_bytes()).update(body);
        let mut made = [0; CODE_BYTES];
        made.copy_from_slice(&hasher.finalize().as_bytes()[..CODE_BYTES]);
        made
    }
}

fn widened(code: [u8; CODE_BYTES]) -> [u8; 32] {
    let mut wide = [0; 32];
    wide[..CODE_BYTES].copy_from_slice(&code);
    wide
}

fn link_of(name: LinkRef<'_>, version: Version, body: LinkBody<'_>) -> Link {
    Link {
        id: version.id,
        domain: name.domain.to_owned(),
        code: name.code.to_owned(),
        target: body.target.into_owned(),
        version: body.version,
        revision: version.revision,
        created_at: body.created_at,
        visits: body.visits,
        // Listings and keys, which these are for, read the store.
        visits_from: None,
        owner: None,
        settings: Settings {
            title: body.title.map(Cow::into_owned),
            tags: std::collections::BTreeSet::new(),
            valid_since: body.valid_since,
            valid_until: body.valid_until,
            max_visits: body.max_visits,
            crawlable: body.crawlable,
            forward_query: body.forward_query,
            redirect_status: body.redirect_status,
            cache_lifetime_s: body.cache_lifetime_s,
        },
        rules: body.rules.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Condition, Device};
    use proptest::prelude::*;

    const NAME: LinkRef<'_> = LinkRef { domain: "s.example", code: "ü" };
    const KEEP: Duration = Duration::from_secs(600);

    fn link() -> Link {
        Link {
            id: 7,
            domain: NAME.domain.to_owned(),
            code: NAME.code.to_owned(),
            target: "https://example.com/a?b=c#d".to_owned(),
            version: 2,
            revision: 5,
            created_at: 1_700_000_000,
            visits: 3,
            visits_from: None,
            owner: None,
            settings: Settings {
                title: Some("Title \"x\"".to_owned()),
                tags: ["t".to_owned()].into(),
                valid_since: Some(1),
                valid_until: Some(2),
                max_visits: Some(3),
                crawlable: true,
                forward_query: false,
                redirect_status: Some(RedirectStatus::Permanent),
                cache_lifetime_s: Some(9),
            },
            rules: vec![Rule {
                target: "https://example.com/ios".to_owned(),
                conditions: vec![Condition::Device { device: Device::Ios }],
            }],
        }
    }

    fn encoding() -> Encoding {
        Encoding::new([7; 32])
    }

    #[test]
    fn a_redirect_finds_all_it_needs() {
        let link = link();
        let entry = encoding().link("code", &link, KEEP, Instant::now());
        assert_eq!(entry.version, Version { id: 7, revision: 5 });
        let read = encoding().read(NAME, "code", &entry).unwrap();
        assert_eq!(format!("{:?}", read.link.unwrap()), format!("{:?}", CachedLink::of(&link).unwrap()));
        assert!(read.age < Duration::from_secs(60));
        let plain = Link { settings: Settings::default(), rules: Vec::new(), ..link };
        let entry = encoding().link("code", &plain, KEEP, Instant::now());
        assert!(entry.value.len() < 110, "{}", entry.value.len());
        let old = Entry { keep: Duration::from_secs(100), ..entry };
        assert_eq!(encoding().read(NAME, "code", &old).unwrap().age, Duration::from_secs(500));
    }

    #[test]
    fn what_is_not_ours_is_nothing() {
        let entry = encoding().link("code", &link(), KEEP, Instant::now());
        assert!(encoding().read(NAME, "other", &entry).is_none(), "of another link");
        assert!(Encoding::new([8; 32]).read(NAME, "code", &entry).is_none(), "of another installation");
        let later = Entry { version: Version { id: 7, revision: 6 }, ..entry.clone() };
        assert!(encoding().read(NAME, "code", &later).is_none(), "of another version");
        for at in 0..entry.value.len() {
            let mut value = entry.value.to_vec();
            value[at] ^= 1;
            let damaged = Entry { value: value.into(), ..entry.clone() };
            assert!(encoding().read(NAME, "code", &damaged).is_none(), "damaged at {at}");
        }
        let nothing = encoding().nothing("code", Version::gone(7), KEEP, Instant::now());
        assert!(encoding().read(NAME, "code", &nothing).unwrap().link.is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_crash(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let entry = Entry { version: Version { id: 1, revision: 1 }, value: bytes.into(), keep: KEEP };
            prop_assert!(encoding().read(NAME, "code", &entry).is_none());
        }
    }
}
