//! Who the client is: the peer, or what trusted proxies say of it, with its scheme and country.
//! It decides nothing by the answer and stores nothing; redaction is the event's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use emitter::Hop;
use http::header::HOST;
use http::{HeaderMap, HeaderName, Uri};
use serde::Deserialize;

use crate::config::HttpConfig;

/// The only header read for the address: `Forwarded` and vendors' own would each be one more way to lie.
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Hops looked at in `X-Forwarded-For`. Chains of real proxies are a few long; a longer one is an attack.
const HOPS_MAX: usize = 32;

/// A network in CIDR notation; an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// This machine.
    pub const LOOPBACK: [Self; 2] = [
        Self { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
        Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    ];

    /// Whether `address` is in the network. An IPv4 address mapped into IPv6 is looked at as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// How many leading bits of an address make a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefixes {
    ipv4_mask: u32,
    ipv6_mask: u128,
}

impl Prefixes {
    pub(crate) fn new(ipv4_prefix: u8, ipv6_prefix: u8) -> Self {
        Self {
            ipv4_mask: u32::MAX.checked_shl(32 - u32::from(ipv4_prefix.min(32))).unwrap_or(0),
            ipv6_mask: u128::MAX.checked_shl(128 - u32::from(ipv6_prefix.min(128))).unwrap_or(0),
        }
    }

    /// The number that stands for a client: its network, IPv4 mapped into IPv6.
    pub(crate) fn client(self, address: IpAddr) -> u128 {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                Ipv4Addr::from_bits(address.to_bits() & self.ipv4_mask).to_ipv6_mapped().to_bits()
            }
            IpAddr::V6(address) => address.to_bits() & self.ipv6_mask,
        }
    }
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network such as 10.0.0.0/8 or 2001:db8::/32")]
pub struct NotANetwork(String);

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotANetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        if prefix > bits { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Name of a header field that a proxy sets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FieldName(HeaderName);

/// Why a text is no name of a header field.
#[derive(Debug, thiserror::Error)]
#[error("not a name of a header field")]
pub struct NotAFieldName(#[from] http::header::InvalidHeaderName);

impl TryFrom<String> for FieldName {
    type Error = NotAFieldName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Ok(Self(HeaderName::try_from(text)?))
    }
}

/// Tells a hop what trusted proxies say of its client. Of any other peer the hop knows all there is.
pub(crate) fn tell(hop: &Hop, peer: IpAddr, headers: &HeaderMap, config: &HttpConfig) {
    if !is_trusted(peer, &config.trusted_proxies) {
        return;
    }
    hop.client_address(client_addr(peer, headers, &config.trusted_proxies));
    // A list would be of several proxies, and says nothing certain of the first.
    let mut schemes = headers.get_all(&X_FORWARDED_PROTO).iter();
    if let (Some(scheme), None) = (schemes.next(), schemes.next())
        && scheme.as_bytes().eq_ignore_ascii_case(b"https")
    {
        hop.https();
    }
    if let Some(country) = believed_country(headers, config) {
        hop.country(country);
    }
}

/// The client's country, where a trusted proxy says it.
pub(crate) fn country<'a>(peer: IpAddr, headers: &'a HeaderMap, config: &HttpConfig) -> Option<&'a str> {
    is_trusted(peer, &config.trusted_proxies).then(|| believed_country(headers, config)).flatten()
}

/// The host that was asked for: the request target's or else of `Host`, or where so configured, what a trusted proxy
/// says. A list would be of several proxies, and is not believed.
pub(crate) fn host<'a>(
    peer: Option<IpAddr>,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    config: &HttpConfig,
) -> Option<&'a str> {
    if config.forwarded_host
        && peer.is_some_and(|peer| is_trusted(peer, &config.trusted_proxies))
        && let Some(forwarded) = headers.get(&X_FORWARDED_HOST)
    {
        return forwarded.to_str().ok().filter(|host| !host.contains(',')).map(str::trim);
    }
    match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST)?.to_str().ok(),
    }
}

fn believed_country<'a>(headers: &'a HeaderMap, config: &HttpConfig) -> Option<&'a str> {
    let FieldName(name) = config.country_header.as_ref()?;
    headers.get(name)?.to_str().ok().filter(|country| !NO_COUNTRIES.contains(country))
}

/// What content delivery networks write where they know no country.
const NO_COUNTRIES: [&str; 2] = ["XX", "ZZ"];

fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// The client's address: the rightmost one that no trusted proxy has. `X-Forwarded-For` is looked at only when
/// the peer is trusted; at the first entry that is no address the walk ends with the last address believed.
pub fn client_addr(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let mut believed = peer.to_canonical();
    if !is_trusted(believed, trusted) {
        return believed;
    }
    // Several header lines are one list, so the last line's last entry is the nearest hop.
    let lines = headers.get_all(&X_FORWARDED_FOR);
    let entries = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries.take(HOPS_MAX) {
        let Some(address) = std::str::from_utf8(entry).ok().and_then(|text| parse_hop(text.trim())) else {
            return believed;
        };
        believed = address;
        if !is_trusted(address, trusted) {
            return believed;
        }
    }
    believed
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        let cases: &[(&str, &[&str], &[&str], &str)] = &[
            // peer, trusted, header lines, client
            ("203.0.113.9", &[], &["198.51.100.1"], "203.0.113.9"),
            ("203.0.113.9", &["10.0.0.0/8"], &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.0/8"], &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.0/8"], &[], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.0/8"], &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.0/8"], &["1.1.1.1, 198.51.100.1, 10.2.3.4"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.0/8"], &["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.0/8"], &["10.1.1.1, 10.2.3.4"], "10.1.1.1"),
            ("10.0.0.1", &["10.0.0.0/8"], &["198.51.100.1, rubbish"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.0/8"], &["198.51.100.1, rubbish, 10.9.9.9"], "10.9.9.9"),
            ("10.0.0.1", &["10.0.0.0/8"], &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.0/8"], &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["10.0.0.0/8"], &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["10.0.0.0/8"], &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["10.0.0.0/8"], &["\u{ff}"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.0/8"], &[""], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["10.0.0.0/8"], &["198.51.100.1"], "198.51.100.1"),
            ("::1", &["::1"], &["198.51.100.1"], "198.51.100.1"),
            ("2001:db8::1", &["2001:db8::/32"], &["198.51.100.1"], "198.51.100.1"),
            ("2001:db9::1", &["2001:db8::/32"], &["198.51.100.1"], "2001:db9::1"),
            ("192.0.2.1", &["0.0.0.0/0"], &["198.51.100.1, 192.0.2.7"], "198.51.100.1"),
        ];
        for (peer, trusted, lines, client) in cases {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(&X_FORWARDED_FOR, http::HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
            let found = client_addr(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }

    #[test]
    fn a_long_chain_ends() {
        let mut headers = HeaderMap::new();
        let chain = vec!["10.0.0.2"; 10_000].join(",");
        headers.append(&X_FORWARDED_FOR, chain.parse().unwrap());
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let found = client_addr("10.0.0.1".parse().unwrap(), &headers, &trusted);
        assert_eq!(found, "10.0.0.2".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "host/8", "10.0.0.1/", "10.0.0.1/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
