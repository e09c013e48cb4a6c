//! The public listener.

use serde::Deserialize;

use super::{SecretText, Wrong, positive};
use crate::client_addr::{FieldName, Network};

/// Too long to be guessed, where half of it is random.
const PROBE_TOKEN_BYTES_MIN: usize = 16;

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
    /// Whether trusted proxies name the host that was asked for in `X-Forwarded-Host`. Default false: they pass `Host`
    /// on. Set it only if they set or remove the field always: what a client writes there chooses the domain.
    pub forwarded_host: bool,
    /// What `hoplog probe` sends as `Hoplog-Probe`, 16 bytes at least. Default none: no request is a probe. Whoever knows it
    /// can follow links without being counted, and no more.
    pub probe_token: SecretText,
    /// Connections open at once; further ones wait in the backlog of the system. Default 10,000.
    pub connections_max: usize,
    /// Connections of a client open at once, so that none takes all places; one more is closed. Clients are those of the
    /// limits (`limits.ipv4_prefix`, `limits.ipv6_prefix`, `limits.allow`); trusted proxies may have all. Default 1,000:
    /// people behind one address have a few each. More where many come through a proxy that is not trusted.
    pub connections_per_client_max: usize,
    /// How long the head of a request may take, and how long an idle connection is kept. Default 15,000.
    pub header_read_ms_max: u64,
    /// Header fields in a request. Default 100.
    pub headers_max: usize,
    /// Bytes of a request's head. Default 16,384; at least 8,192.
    pub header_bytes_max: usize,
    /// How long a client may take no byte of an answer. Default 15,000.
    pub write_stall_ms_max: u64,
    /// Bytes a second that a client has to take of an answer, on average, once it has used up `write_stall_ms_max` by
    /// making it wait. Default 1,024, less than any network of today has; 0 for none: then one byte now and then keeps
    /// an answer, and its connection, for ever.
    pub write_bytes_per_s_min: u32,
    /// How long requests are still taken after the order to end, while `/readyz` says that no more should come and each
    /// answer that its connection closes. Default 0; behind a load balancer, as long as it takes to notice: 5,000 for two
    /// checks of 2 s each.
    pub drain_delay_ms: u64,
    /// How long requests under way are waited for at shutdown. Default 10,000.
    pub drain_ms_max: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            country_header: None,
            forwarded_host: false,
            probe_token: SecretText::default(),
            connections_max: 10_000,
            connections_per_client_max: 1_000,
            header_read_ms_max: 15_000,
            headers_max: 100,
            header_bytes_max: 16_384,
            write_stall_ms_max: 15_000,
            write_bytes_per_s_min: 1_024,
            drain_delay_ms: 0,
            drain_ms_max: 10_000,
        }
    }
}

impl HttpConfig {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        if self.header_bytes_max < 8_192 {
            wrong.push(("http.header_bytes_max", "must be at least 8192".to_owned()));
        }
        if !self.probe_token.is_empty() && self.probe_token.expose().len() < PROBE_TOKEN_BYTES_MIN {
            wrong.push(("http.probe_token", format!("must have at least {PROBE_TOKEN_BYTES_MIN} bytes")));
        }
        positive(wrong, "http.connections_max", self.connections_max as u64);
        positive(wrong, "http.connections_per_client_max", self.connections_per_client_max as u64);
        positive(wrong, "http.headers_max", self.headers_max as u64);
    }
}
