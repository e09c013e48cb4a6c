//! The intent: what the collector writes down before it stores a range, as metadata of the offset's commit. With it any
//! collector builds the very same range again. Everything that a range depends on and that is not in its messages
//! stands here; nothing else may.

use event_log::METADATA_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// Layout of the metadata. One that is not known is refused: going on without would store events twice, or some of a
/// range's tables and not the others. Version 1 is from before visits were counted, 2 from before `clicks_by_link`; their
/// ranges are stored as they say.
const VERSION: u32 = 3;
const VERSION_READ_MIN: u32 = 1;

/// How many rows of a range ClickHouse may refuse before that is called a fault of the table, not of the rows. Their
/// places must fit into the metadata: 64 of at most 34 bytes are about half of it.
pub(crate) const REFUSED_MAX: usize = 64;

/// The place of an event: offset of the message and line within it, from 1.
pub(crate) type Place = (u64, u32);

/// A range that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) v: u32,
    /// Last offset of the range, inclusive; the first one is the position itself.
    pub(crate) last: u64,
    /// Version of the sampling policy.
    pub(crate) policy: String,
    /// When it was begun, microseconds since 1970: what the rows say of their collection.
    pub(crate) at: i64,
    /// Whether clicks and orphan visits get rows.
    pub(crate) clicks: bool,
    /// Whether visits are counted, and not only clicks by hour.
    #[serde(default)]
    pub(crate) visits: bool,
    /// Whether, with them, each link's clicks are counted by day.
    #[serde(default)]
    pub(crate) link_days: bool,
    /// Whether all clicks of a link are counted side by side.
    #[serde(default)]
    pub(crate) links: bool,
    /// Whether kept events get their spans. A collector of before does not know it, and stores the range without: nothing
    /// is counted by spans, so its version is no reason to refuse.
    #[serde(default)]
    pub(crate) spans: bool,
    /// Whether ClickHouse refused rows of `requests`, so that they are inserted in parts.
    #[serde(default)]
    pub(crate) bisect: bool,
    /// Which ones, once that is known.
    #[serde(default)]
    pub(crate) refused: Option<Vec<Place>>,
}

impl Intent {
    pub(crate) fn new(last: u64, policy: String, at: i64, clicks: bool) -> Self {
        Self {
            v: VERSION,
            last,
            policy,
            at,
            clicks,
            visits: true,
            link_days: true,
            links: true,
            spans: true,
            bisect: false,
            refused: None,
        }
    }

    /// As metadata.
    pub(crate) fn to_metadata(&self) -> String {
        // Numbers, flags and a hexadecimal string: nothing that JSON can't hold.
        let metadata = sonic_rs::to_string(self).unwrap_or_default();
        debug_assert!(metadata.len() <= METADATA_BYTES_MAX);
        metadata
    }

    /// Reads metadata; `None` where there is none.
    pub(crate) fn from_metadata(metadata: &str) -> Result<Option<Self>, String> {
        if metadata.is_empty() {
            return Ok(None);
        }
        let intent: Self = sonic_rs::from_str(metadata)
            .map_err(|_| "its metadata can't be read; another version may have written it".to_owned())?;
        if !(VERSION_READ_MIN..=VERSION).contains(&intent.v) {
            return Err(format!(
                "its metadata is of version {}, known are {VERSION_READ_MIN} to {VERSION}",
                intent.v
            ));
        }
        Ok(Some(intent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_intent_fits_and_survives() {
        let intent = Intent {
            bisect: true,
            refused: Some(vec![(u64::MAX, u32::MAX); REFUSED_MAX]),
            ..Intent::new(u64::MAX, "0123456789abcdef".to_owned(), i64::MIN, false)
        };
        let metadata = intent.to_metadata();
        assert!(metadata.len() < METADATA_BYTES_MAX, "{}", metadata.len());
        assert_eq!(Intent::from_metadata(&metadata), Ok(Some(intent)));
        assert_eq!(Intent::from_metadata(""), Ok(None));
        assert!(Intent::from_metadata("{").is_err());
        assert!(Intent::from_metadata(&metadata.replace("\"v\":3", "\"v\":4")).is_err());
        assert!(Intent::from_metadata(&metadata.replace("\"v\":3", "\"v\":0")).is_err());
    }

    /// A range is stored as the collector meant to that began it, also by one that knows more.
    #[test]
    fn an_intent_from_before_visits_says_that_there_are_none() {
        let metadata =
            r#"{"v":1,"last":7,"policy":"p","at":5,"clicks":true,"bisect":true,"refused":[[3,1]]}"#;
        let intent = Intent::from_metadata(metadata).unwrap().unwrap();
        assert_eq!((intent.v, intent.clicks, intent.visits), (1, true, false));
        assert_eq!((intent.link_days, intent.links, intent.spans), (false, false, false));
        let amended = Intent { refused: None, ..intent };
        assert!(amended.to_metadata().starts_with(r#"{"v":1,"#), "an older one may still go on with it");
    }
}
