//! What is noted of a hop while it runs: small values and the usual strings in place, long strings on the heap.
//!
//! Strings are copied and not borrowed from header values: a header value keeps its connection's whole read buffer
//! alive, so thousands of queued events would hold far more memory than the queue's limit says. No JSON, no
//! redaction and no parsing of headers here: [`crate::batch`] does that, off the request path.

use std::fmt;
use std::net::IpAddr;

use wide_event::stages::{Noted, Stages, System};
use wide_event::{Cache, Orphan, Outcome, Timestamp};

use crate::identity::Trace;
use crate::requests::RouteId;

/// The strings of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    RequestId,
    Host,
    UserAgent,
    Referrer,
    Domain,
    Code,
    OrphanPath,
    TargetHost,
    ApiKeyId,
    ErrorMessage,
}

impl Part {
    const COUNT: usize = Self::ErrorMessage as usize + 1;

    /// Most bytes that are kept: what the event's field takes, or what redaction looks at.
    pub(crate) const fn bytes_max(self) -> usize {
        match self {
            Self::RequestId | Self::ApiKeyId => 128,
            // As long as a slug may be.
            Self::Code | Self::OrphanPath => 255,
            // A host name of 253 and a port.
            Self::Host | Self::Domain | Self::TargetHost => 260,
            // As much as `wide_event::agent` looks at.
            Self::UserAgent => 1_024,
            // Only the host within is of interest: credentials before it are rarer than long paths behind it.
            Self::Referrer => 512,
            Self::ErrorMessage => 1_024,
        }
    }
}

/// Bytes of strings that a record holds in place. Id (36), host, user agent (about 120), referrer, code and target
/// take about 250 together; what finds no room goes to the heap.
const NEAR_BYTES: usize = 320;

/// How the hop ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealed {
    pub(crate) seq: u64,
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
    pub(crate) duration_us: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Whether its event is certain to be kept: somebody asked for that, or it failed, or was slow.
    pub(crate) certain: bool,
    /// What it counts for in the queue's limit, in bytes.
    pub(crate) size: usize,
    /// When it was sealed, for the publisher's lag.
    pub(crate) at: std::time::Instant,
}

/// What is noted of a hop.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) ts: Timestamp,
    pub(crate) trace: Trace,
    pub(crate) method: &'static str,
    pub(crate) scheme: &'static str,
    pub(crate) route: RouteId,
    pub(crate) client: Option<IpAddr>,
    pub(crate) error_type: &'static str,
    pub(crate) breaker: &'static str,
    pub(crate) limiter: &'static str,
    pub(crate) country: [u8; 2],
    pub(crate) link_id: u64,
    pub(crate) link_version: u32,
    pub(crate) redis_us: u32,
    pub(crate) store_us: u32,
    pub(crate) store_calls: u16,
    pub(crate) cache: Cache,
    pub(crate) orphan: Orphan,
    pub(crate) rule: u8,
    pub(crate) click: bool,
    pub(crate) coalesced: bool,
    pub(crate) synthetic: bool,
    pub(crate) forced: bool,
    pub(crate) panicked: bool,
    /// What the handler says the outcome is, where the status does not tell.
    pub(crate) verdict: Option<Outcome>,
    pub(crate) sealed: Option<Sealed>,
    /// On the heap: most hops wait for nothing.
    pub(crate) stages: Option<Box<Stages>>,
    pub(crate) texts: Texts,
}

/// The strings, behind each other: first in place, then in a buffer on the heap. Places in that begin at
/// [`NEAR_BYTES`].
#[derive(Debug)]
pub(crate) struct Texts {
    spans: [(u32, u16); Part::COUNT],
    near_used: usize,
    near: [u8; NEAR_BYTES],
    far: Vec<u8>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { spans: [(0, 0); Part::COUNT], near_used: 0, near: [0; NEAR_BYTES], far: Vec::new() }
    }
}

impl Texts {
    /// Where `bytes` bytes are that are kept at a place.
    fn slot(&mut self, at: usize, bytes: usize) -> &mut [u8] {
        match at.checked_sub(NEAR_BYTES) {
            None => &mut self.near[at..at + bytes],
            Some(at) => &mut self.far[at..at + bytes],
        }
    }

    /// Makes a place of this size, which is not 0.
    fn place(&mut self, bytes: usize) -> usize {
        if self.near_used + bytes <= NEAR_BYTES {
            self.near_used += bytes;
            return self.near_used - bytes;
        }
        // Grows by each longer note, and each part has a greatest length: bounded.
        let at = self.far.len();
        self.far.resize(at + bytes, 0);
        NEAR_BYTES + at
    }
}

impl Record {
    /// Notes a string, cut to what the part may hold. A second note takes the place of the first.
    pub(crate) fn put(&mut self, part: Part, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(part.bytes_max())];
        let (at, len) = self.texts.spans[part as usize];
        let at = if bytes.len() <= usize::from(len) { at as usize } else { self.texts.place(bytes.len()) };
        self.texts.slot(at, bytes.len()).copy_from_slice(bytes);
        // A part is at most 1,024 bytes long, and all that can be appended stays below 1 MiB.
        self.texts.spans[part as usize] =
            (u32::try_from(at).unwrap_or(0), u16::try_from(bytes.len()).unwrap_or(0));
    }

    /// The bytes of a string; empty if never noted.
    pub(crate) fn get(&self, part: Part) -> &[u8] {
        let (at, len) = self.texts.spans[part as usize];
        let (at, len) = (at as usize, usize::from(len));
        match at.checked_sub(NEAR_BYTES) {
            None => &self.texts.near[at..at + len],
            Some(at) => &self.texts.far[at..at + len],
        }
    }

    /// A string up to where it stops to be UTF-8, which a cut in the middle of a character is, too.
    pub(crate) fn text(&self, part: Part) -> &str {
        let bytes = self.get(part);
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        }
    }

    /// Notes an error: its class and, joined, its message and those of its causes.
    pub(crate) fn fail(&mut self, error_type: &'static str, error: &dyn std::error::Error) {
        let mut joined = Bounded(String::new());
        // An error means the limit is reached; what is there is kept.
        let mut result = fmt::write(&mut joined, format_args!("{error}"));
        let mut cause = error.source();
        while let (Ok(()), Some(error)) = (result, cause) {
            result = fmt::write(&mut joined, format_args!(": {error}"));
            cause = error.source();
        }
        self.error_type = error_type;
        self.put(Part::ErrorMessage, joined.0.as_bytes());
    }

    /// Notes a failure that has a text and no error.
    pub(crate) fn fail_text(&mut self, error_type: &'static str, message: &dyn fmt::Display) {
        let mut bounded = Bounded(String::new());
        // As above.
        let _ = fmt::write(&mut bounded, format_args!("{message}"));
        self.error_type = error_type;
        self.put(Part::ErrorMessage, bounded.0.as_bytes());
    }

    /// Notes what was waited for.
    pub(crate) fn waited(&mut self, stage: Noted) {
        match stage.system {
            System::Redis => self.redis_us = self.redis_us.saturating_add(stage.duration_us),
            System::Postgresql | System::Sqlite => {
                self.store_us = self.store_us.saturating_add(stage.duration_us);
                self.store_calls = self.store_calls.saturating_add(1);
            }
        }
        self.stages.get_or_insert_default().push(stage);
    }

    /// Memory beside the record itself, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.texts.far.capacity() + self.stages.as_ref().map_or(0, |_| size_of::<Stages>())
    }
}

/// Takes text up to the limit of an error message, and then no more: an error's `Display` may be endless.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = Part::ErrorMessage.bytes_max() - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_cut_and_replaced_in_place() {
        let mut record = Record::default();
        record.put(Part::Code, b"longest");
        record.put(Part::Host, b"example.org");
        let used = record.texts.near_used;
        record.put(Part::Code, b"short");
        assert_eq!((record.text(Part::Code), record.text(Part::Host)), ("short", "example.org"));
        assert_eq!((record.texts.near_used, record.texts.far.len()), (used, 0));
        record.put(Part::Code, &[b'x'; 1000]);
        assert_eq!(record.get(Part::Code).len(), 255);
        assert_eq!(record.text(Part::Host), "example.org");
        record.put(Part::Code, "é".repeat(200).as_bytes());
        assert_eq!(record.text(Part::Code), "é".repeat(127), "cut in the middle of one");
        record.put(Part::Referrer, b"ab\xffcd");
        assert_eq!((record.get(Part::Referrer).len(), record.text(Part::Referrer)), (5, "ab"));
        assert_eq!(record.text(Part::ApiKeyId), "");
    }

    #[test]
    fn errors_are_joined_with_their_causes_and_bounded() {
        #[derive(Debug, thiserror::Error)]
        #[error("link store")]
        struct Outer(#[source] std::io::Error);
        let mut record = Record::default();
        record.fail("store_unavailable", &Outer(std::io::Error::other("disk gone")));
        assert_eq!(
            (record.error_type, record.text(Part::ErrorMessage)),
            ("store_unavailable", "link store: disk gone")
        );
        record.fail("huge", &Outer(std::io::Error::other("ü".repeat(100_000))));
        let text = record.text(Part::ErrorMessage);
        assert!(
            text.len() <= 1024 && text.len() > 1020 && text.starts_with("link store: ü"),
            "{}",
            text.len()
        );
    }
}
