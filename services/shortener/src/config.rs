//! Configuration of the shortener, nested by concern, with a check that names every mistake at once.
//! It does not read files or the environment: the binary does.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use crate::client_addr::{FieldName, Network};
use crate::codes::{CODE_LENGTH_MAX, CODE_LENGTH_MIN};

/// Everything the shortener can be told.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShortenerConfig {
    /// What links may look like.
    pub links: LinksConfig,
    /// The in-process cache of links.
    pub cache: CacheConfig,
    /// The link store.
    pub store: StoreConfig,
    /// When requests are refused before work is done for them.
    pub limits: LimitsConfig,
    /// The public listener.
    pub http: HttpConfig,
}

/// What links may look like.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinksConfig {
    /// The origin that short URLs are made with. Default `http://127.0.0.1:8080`; set it to the public one.
    pub base_url: String,
    /// Further hosts that lead here (`host` or `host:port`): links to them are refused, as they would loop.
    /// The host of `base_url` is always one. Default none.
    pub own_hosts: Vec<String>,
    /// Longest target accepted, in bytes, as given and as serialised. Default 2,048, what every browser and
    /// proxy takes; raise it for targets with long queries.
    pub url_bytes_max: usize,
    /// Longest custom slug, in bytes. Default 255, Shlink's limit.
    pub slug_bytes_max: usize,
    /// Length of generated codes where a request names none. Default 7.
    pub code_length: u32,
    /// Codes reserved by one write to the store. Default 1,000; a crash forgets at most so many of the
    /// 3.5 million million. Raise it when links are created by the thousand a second.
    pub lease_ids: u32,
    /// The 256-bit key that codes are permuted with, 64 hexadecimal digits. Default: generated at the first
    /// start and kept in the store. Never change it on a store with links: codes would repeat.
    pub codes_key: Option<SecretKey>,
    /// Most tags on a link. Default 32.
    pub tags_max: usize,
}

impl Default for LinksConfig {
    fn default() -> Self {
        Self {
            base_url: "http://127.0.0.1:8080".to_owned(),
            own_hosts: Vec::new(),
            url_bytes_max: 2_048,
            slug_bytes_max: 255,
            code_length: 7,
            lease_ids: 1_000,
            codes_key: None,
            tags_max: 32,
        }
    }
}

/// The in-process cache of links.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Bytes that cached links may take. Default 67,108,864 (64 MiB, about 150,000 links).
    pub bytes_max: u64,
    /// Age up to which a link is served without asking the store. Default 60,000; an edit made by another
    /// process is seen after it at the latest.
    pub fresh_ms: u64,
    /// Age up to which a link is served when the store fails. Default 86,400 (a day).
    pub stale_s: u64,
    /// How long an unknown code stays unknown without asking the store. Default 2,000.
    pub negative_ms: u64,
    /// Unknown codes remembered. Default 100,000, bounding what a scan of codes can take to some 20 MB.
    pub negative_entries_max: u64,
    /// After a failure of the store, how long stale links are served at once instead of waiting for the store
    /// again. Default 1,000.
    pub retry_ms: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            fresh_ms: 60_000,
            stale_s: 86_400,
            negative_ms: 2_000,
            negative_entries_max: 100_000,
            retry_ms: 1_000,
        }
    }
}

/// The SQLite link store.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The database file. Default `links.db` in the working directory; the binary puts it under `--data`.
    pub path: PathBuf,
    /// Connections that read. Default 4. Writes have one of their own: SQLite has one writer.
    pub read_connections_max: u32,
    /// Deadline of a read, waiting for a connection included. Default 1,000.
    pub read_ms_max: u64,
    /// Deadline of a write, waiting for its turn included. Default 5,000.
    pub write_ms_max: u64,
    /// Whether a commit waits for the disk, so that an acknowledged link survives a power cut. Default true;
    /// without it, it survives a killed process only, and writes are several times faster.
    pub sync_commits: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("links.db"),
            read_connections_max: 4,
            read_ms_max: 1_000,
            write_ms_max: 5_000,
            sync_commits: true,
        }
    }
}

/// When requests are refused before work is done for them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests under way at once; one more is answered 503. Default 4,096.
    pub in_flight_max: usize,
    /// Requests under way at once above which the management API is answered 503, so that redirects go on.
    /// Default 512.
    pub api_in_flight_max: usize,
    /// Largest body of the management API, in bytes. Default 65,536.
    pub body_bytes_max: usize,
    /// How long a client may take to send a body. Default 10,000.
    pub body_read_ms_max: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            in_flight_max: 4_096,
            api_in_flight_max: 512,
            body_bytes_max: 65_536,
            body_read_ms_max: 10_000,
        }
    }
}

/// The public listener.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. Default none: the peer
    /// is the client.
    pub trusted_proxies: Vec<Network>,
    /// Header field in which trusted proxies name the client's country (ISO 3166-1 alpha-2), such as
    /// `CF-IPCountry`. Default none: events have no country. Name one only if the proxy sets or removes it always.
    pub country_header: Option<FieldName>,
    /// Connections open at once; further ones wait in the backlog of the system. Default 10,000.
    pub connections_max: usize,
    /// How long the head of a request may take, and how long an idle connection is kept. Default 15,000.
    pub header_read_ms_max: u64,
    /// Header fields in a request. Default 100.
    pub headers_max: usize,
    /// Bytes of a request's head. Default 16,384; at least 8,192.
    pub header_bytes_max: usize,
    /// How long a client may take no byte of an answer. Default 15,000.
    pub write_stall_ms_max: u64,
    /// How long requests under way are waited for at shutdown. Default 10,000.
    pub drain_ms_max: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            country_header: None,
            connections_max: 10_000,
            header_read_ms_max: 15_000,
            headers_max: 100,
            header_bytes_max: 16_384,
            write_stall_ms_max: 15_000,
            drain_ms_max: 10_000,
        }
    }
}

/// A 256-bit key that never shows itself.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Makes a key of its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

impl TryFrom<String> for SecretKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // blake3::Hash is 32 bytes with a strict hexadecimal parser: no second one is needed here.
        blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| "not 64 hexadecimal digits")
    }
}

impl ShortenerConfig {
    /// All that is wrong, each with the path of its field. Empty when nothing is.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        match Url::parse(&self.links.base_url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
                    wrong.push(("links.base_url", "must be an origin without path or query".to_owned()));
                }
            }
            Ok(_) => wrong.push(("links.base_url", "must be an http or https URL".to_owned())),
            Err(error) => wrong.push(("links.base_url", error.to_string())),
        }
        let length = self.links.code_length;
        if !(CODE_LENGTH_MIN..=CODE_LENGTH_MAX).contains(&length) {
            wrong.push(("links.code_length", format!("must be {CODE_LENGTH_MIN} to {CODE_LENGTH_MAX}")));
        }
        if self.http.header_bytes_max < 8_192 {
            wrong.push(("http.header_bytes_max", "must be at least 8192".to_owned()));
        }
        if self.limits.api_in_flight_max > self.limits.in_flight_max {
            wrong.push(("limits.api_in_flight_max", "must not exceed limits.in_flight_max".to_owned()));
        }
        if self.cache.stale_s.saturating_mul(1_000) < self.cache.fresh_ms {
            wrong.push(("cache.stale_s", "must not be shorter than cache.fresh_ms".to_owned()));
        }
        let positive: [(&'static str, u64); 11] = [
            ("links.url_bytes_max", self.links.url_bytes_max as u64),
            ("links.slug_bytes_max", self.links.slug_bytes_max as u64),
            ("links.lease_ids", u64::from(self.links.lease_ids)),
            ("cache.fresh_ms", self.cache.fresh_ms),
            ("cache.negative_ms", self.cache.negative_ms),
            ("store.read_connections_max", u64::from(self.store.read_connections_max)),
            ("store.read_ms_max", self.store.read_ms_max),
            ("store.write_ms_max", self.store.write_ms_max),
            ("limits.api_in_flight_max", self.limits.api_in_flight_max as u64),
            ("http.connections_max", self.http.connections_max as u64),
            ("http.headers_max", self.http.headers_max as u64),
        ];
        wrong.extend(
            positive.iter().filter(|(_, n)| *n == 0).map(|(name, _)| (*name, "must not be 0".to_owned())),
        );
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_right_and_mistakes_are_all_named() {
        assert_eq!(ShortenerConfig::default().check(), []);
        let mut config = ShortenerConfig::default();
        config.links.base_url = "ftp://s.example/".to_owned();
        config.links.code_length = 3;
        config.http.header_bytes_max = 100;
        config.limits.in_flight_max = 1;
        config.cache.stale_s = 0;
        config.links.lease_ids = 0;
        let named: Vec<_> = config.check().into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            named,
            [
                "links.base_url",
                "links.code_length",
                "http.header_bytes_max",
                "limits.api_in_flight_max",
                "cache.stale_s",
                "links.lease_ids"
            ]
        );
    }

    #[test]
    fn a_key_is_parsed_and_never_shown() {
        let key = SecretKey::try_from("ab".repeat(32)).unwrap();
        assert_eq!(key.expose(), &[0xab; 32]);
        assert_eq!(format!("{key:?}"), "SecretKey(redacted)");
        assert!(SecretKey::try_from("ab".repeat(31)).is_err());
    }
}
