//! When requests are refused.

use serde::Deserialize;

use super::{Wrong, positive};
use crate::client_addr::Network;
use crate::shared::Bucket;

/// When requests are refused: for all together before work is done for them, and by client and key.
///
/// Each limit by client or key is a bucket of tokens: `…_per_s` fill it, `…_burst` are in it at most. A rate of 0
/// switches the limit off. The defaults stop scripts that run wild and scans, and no people: an office or a mobile
/// network behind one address stays far below them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests under way at once; one more is answered 503. Default 4,096.
    pub in_flight_max: usize,
    /// Requests under way at once above which the management API is answered 503, so that redirects go on.
    /// Default 512.
    pub api_in_flight_max: usize,
    /// Requests under way at once above which bulk calls and statistics are answered 503, so that the
    /// rest of the API goes on; never more than `api_in_flight_max`. Default 64.
    pub bulk_in_flight_max: usize,
    /// Largest body of the management API, in bytes. Default 65,536.
    pub body_bytes_max: usize,
    /// How long a client may take to send a body. Default 10,000.
    pub body_read_ms_max: u64,
    /// Networks that no limit by client or key holds for. Default the loopback networks: whoever is there is this
    /// machine, or a proxy on it that `http.trusted_proxies` does not name, which would make one client of all.
    pub allow: Vec<Network>,
    /// Leading bits of an IPv4 address that make a client. Default 32, one address; 24 where clients change theirs
    /// within a network to get round the limits.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that make a client. Default 64, the least that a household has; 56 or 48 where
    /// clients with more get round the limits.
    pub ipv6_prefix: u8,
    /// Clients remembered by each limit; beyond it those are forgotten first who asked for least. 48 bytes each.
    /// Default 100,000.
    pub clients_max: usize,
    /// Redirects, previews and pages of a client a second, and what of the API needs no key. Default 100.
    pub visits_per_s: f64,
    /// The same at once. Default 1,000.
    pub visits_burst: u32,
    /// Unknown codes of a client a second. A client beyond it gets only links that are in memory, so that neither it
    /// learns codes nor the store works for it. Default 1: links that are gone are asked for now and then, codes that
    /// are guessed thousands of times.
    pub unknown_per_s: f64,
    /// The same at once. Default 120.
    pub unknown_burst: u32,
    /// API keys that are none, of a client a second. A client beyond it is refused without the store being asked, unless
    /// its key was accepted before. Default 1: nobody guesses a key, and a script with an old one is told each time.
    pub wrong_keys_per_s: f64,
    /// The same at once. Default 60.
    pub wrong_keys_burst: u32,
    /// Calls that read, of a key a second. Default 1,000.
    pub read_per_s: f64,
    /// The same at once. Default 10,000.
    pub read_burst: u32,
    /// Calls that write, of a key a second. Default 1,000.
    pub write_per_s: f64,
    /// The same at once. Default 10,000.
    pub write_burst: u32,
    /// Bulk calls and imports of a key a second. Default 10, which is 10,000 links in bulk calls, and
    /// 100,000 in imports.
    pub bulk_per_s: f64,
    /// The same at once. Default 100.
    pub bulk_burst: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            in_flight_max: 4_096,
            api_in_flight_max: 512,
            bulk_in_flight_max: 64,
            body_bytes_max: 65_536,
            body_read_ms_max: 10_000,
            allow: Network::LOOPBACK.to_vec(),
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            clients_max: 100_000,
            visits_per_s: 100.0,
            visits_burst: 1_000,
            unknown_per_s: 1.0,
            unknown_burst: 120,
            wrong_keys_per_s: 1.0,
            wrong_keys_burst: 60,
            read_per_s: 1_000.0,
            read_burst: 10_000,
            write_per_s: 1_000.0,
            write_burst: 10_000,
            bulk_per_s: 10.0,
            bulk_burst: 100,
        }
    }
}

impl LimitsConfig {
    /// The bucket of a rate and a burst; none where it is switched off.
    pub(crate) fn bucket(per_s: f64, burst: u32) -> Option<Bucket> {
        (per_s > 0.0).then_some(Bucket { per_s, burst })
    }

    pub(super) fn check(&self, wrong: &mut Wrong) {
        if self.api_in_flight_max > self.in_flight_max {
            wrong.push(("limits.api_in_flight_max", "must not exceed limits.in_flight_max".to_owned()));
        }
        positive(wrong, "limits.api_in_flight_max", self.api_in_flight_max as u64);
        positive(wrong, "limits.bulk_in_flight_max", self.bulk_in_flight_max as u64);
        if !(8..=32).contains(&self.ipv4_prefix) {
            wrong.push(("limits.ipv4_prefix", "must be 8 to 32".to_owned()));
        }
        if !(16..=128).contains(&self.ipv6_prefix) {
            wrong.push(("limits.ipv6_prefix", "must be 16 to 128".to_owned()));
        }
        positive(wrong, "limits.clients_max", self.clients_max as u64);
        for (field, per_s, burst_field, burst) in [
            ("limits.visits_per_s", self.visits_per_s, "limits.visits_burst", self.visits_burst),
            ("limits.unknown_per_s", self.unknown_per_s, "limits.unknown_burst", self.unknown_burst),
            (
                "limits.wrong_keys_per_s",
                self.wrong_keys_per_s,
                "limits.wrong_keys_burst",
                self.wrong_keys_burst,
            ),
            ("limits.read_per_s", self.read_per_s, "limits.read_burst", self.read_burst),
            ("limits.write_per_s", self.write_per_s, "limits.write_burst", self.write_burst),
            ("limits.bulk_per_s", self.bulk_per_s, "limits.bulk_burst", self.bulk_burst),
        ] {
            // Below that, a bucket takes longer than a day to get a token.
            if per_s != 0.0 && !(1e-5..=1e9).contains(&per_s) {
                wrong.push((field, "must be 0 or 0.00001 to 1,000,000,000".to_owned()));
            }
            if per_s > 0.0 {
                positive(wrong, burst_field, u64::from(burst));
            }
        }
    }
}
