//! From what a request carries to what an event may say of it.
//!
//! This is the only place where a whole client address, a Referer or a user agent meets the event, and it runs in
//! the publisher, off the request path. Nothing here logs, and what goes in does not come out in an error.

use std::net::IpAddr;

use crate::agent::Agents;
use crate::event::Event;
use crate::timestamp::Timestamp;
use crate::value::{Host, Network, Text, Visitor};

/// What a request says of its client, as it came. Deliberately without `Debug`.
#[derive(Clone, Copy, Default)]
pub struct Client<'r> {
    /// The client's address, after trusted proxies.
    pub address: Option<IpAddr>,
    /// The User-Agent header.
    pub user_agent: &'r [u8],
    /// The Referer header.
    pub referrer: &'r [u8],
}

/// Turns [`Client`]s into fields of events.
pub struct Redactor {
    secret: [u8; 32],
    agents: Agents,
    /// What is hashed; kept for its memory.
    hashed: Vec<u8>,
}

impl Redactor {
    /// With the secret under which visitors are hashed. All instances of a service share it, or one visitor
    /// counts once an instance.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret, agents: Agents::default(), hashed: Vec::new() }
    }

    /// Fills in the fields that describe the client.
    pub fn redact<'r>(&mut self, client: Client<'r>, event: &mut Event<'r>) {
        if let Some(address) = client.address {
            event.client_net = Network::of(address);
            event.visitor = self.visitor(event.ts, address, client.user_agent);
        }
        if let Some(host) = referrer_host(client.referrer) {
            event.referrer_host = host;
        }
        let agent = self.agents.classify(client.user_agent);
        event.browser = Text::new(agent.browser);
        event.os = Text::new(agent.os);
        event.device = Text::new(agent.device);
        event.bot = agent.bot_reason.is_some();
        event.bot_reason = Text::new(agent.bot_reason.unwrap_or_default());
    }

    /// Keyed BLAKE3 of the day, the address and the user agent. Without the secret it can't be turned back, and
    /// with the day inside it, two days of one visitor have nothing in common.
    fn visitor(&mut self, ts: Timestamp, address: IpAddr, user_agent: &[u8]) -> Visitor {
        // At one stroke: a hasher that is fed piece by piece costs several times as much for so few bytes.
        let hashed = &mut self.hashed;
        hashed.clear();
        hashed.extend_from_slice(&ts.day().to_le_bytes());
        match address.to_canonical() {
            IpAddr::V4(v4) => hashed.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => hashed.extend_from_slice(&v6.octets()),
        }
        hashed.push(0); // keeps address and agent apart
        hashed.extend_from_slice(user_agent);
        let hash = blake3::keyed_hash(&self.secret, hashed);
        let (first, _) = hash.as_bytes().as_chunks::<8>();
        Visitor(u64::from_le_bytes(first[0]))
    }
}

/// The host of an absolute URL, in lower case, without port, credentials and a leading `www.`; `None` where there
/// is no such host.
fn referrer_host(referrer: &[u8]) -> Option<Host<'_>> {
    let text = std::str::from_utf8(referrer).ok()?;
    let (_scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_credentials, host)| host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => host.split(':').next()?,
    };
    let host = host.trim_end_matches('.');
    let host = match host.split_at_checked("www.".len()) {
        Some((www, rest)) if www.eq_ignore_ascii_case("www.") => rest,
        _ => host,
    };
    match host {
        "" => None,
        host if host.bytes().any(|byte| byte.is_ascii_uppercase()) => Host::parse(host.to_ascii_lowercase()),
        host => Host::parse(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_referrer_is_its_host() {
        let cases: &[(&str, Option<&str>)] = &[
            ("http://example.com/a?token=1#x", Some("example.com")),
            ("https://WWW.Example.COM:8443/", Some("example.com")),
            ("https://user:secret@example.com/", Some("example.com")),
            ("https://a@b@example.com/", Some("example.com")),
            ("http://[2001:db8::1]:80/", Some("2001:db8::1")),
            ("http://example.com.", Some("example.com")),
            ("http://www.Example.com/", Some("example.com")),
            ("http://www.example.com/", Some("example.com")),
            ("http://www.", Some("www")),
            ("http://wwé/", Some("wwé")),
            ("android-app://com.google.android.gm/", Some("com.google.android.gm")),
            ("https://xn--bcher-kva.example/", Some("xn--bcher-kva.example")),
            ("http://evil.example\\@good.example/", Some("evil.example")),
            ("http://?token=1", None),
            ("example.com/path", None),
            ("javascript:alert(1)", None),
            ("http://a b/", None),
            ("-", None),
            ("", None),
        ];
        for (referrer, host) in cases {
            let found = referrer_host(referrer.as_bytes());
            assert_eq!(found.as_ref().map(Host::as_str), *host, "{referrer}");
        }
        assert_eq!(referrer_host(b"http://\xff/"), None);
        assert_eq!(referrer_host(format!("http://{}/", "a".repeat(300)).as_bytes()), None);
    }

    #[test]
    fn visitors_differ_by_address_agent_day_and_secret_and_by_nothing_else() {
        let visitor = |secret: u8, us: i64, address: &str, user_agent: &str| {
            Redactor::new([secret; 32]).visitor(
                Timestamp(us),
                address.parse().unwrap(),
                user_agent.as_bytes(),
            )
        };
        const DAY: i64 = 86_400_000_000;
        let one = visitor(1, 5, "203.0.113.9", "a");
        assert_eq!(one, visitor(1, DAY - 1, "203.0.113.9", "a"), "the same day");
        assert_eq!(one, visitor(1, 5, "::ffff:203.0.113.9", "a"), "IPv4 in IPv6 clothes");
        for other in [
            visitor(1, DAY, "203.0.113.9", "a"),
            visitor(1, 5, "203.0.113.8", "a"),
            visitor(1, 5, "203.0.113.9", "b"),
            visitor(2, 5, "203.0.113.9", "a"),
        ] {
            assert_ne!(one, other);
        }
    }

    /// A visitor counts once a day, also on the day when hoplog is upgraded: what is hashed, and how, is fixed.
    #[test]
    fn the_hash_of_a_visitor_never_changes() {
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let cases = [
            (1, 0, "203.0.113.9", String::new(), "a860bc33c86cb43a"),
            (7, 1_763_764_620_000_000, "203.0.113.9", agent.to_owned(), "3d145da90a6e5c9f"),
            (7, 1_763_764_620_000_000, "2001:db8:1:2:3:4:5:6", agent.to_owned(), "6d6e69e548422acd"),
            // More than a block of BLAKE3, and more than a chunk.
            (9, -1, "::1", "a".repeat(100), "e81b389526f5ac9a"),
            (9, 1 << 50, "198.51.100.77", "é".repeat(3000), "1ca82d3bcc732e3d"),
        ];
        for (secret, us, address, agent, expected) in cases {
            let mut redactor = Redactor::new([secret; 32]);
            for _ in 0..2 {
                let visitor = redactor.visitor(Timestamp(us), address.parse().unwrap(), agent.as_bytes());
                assert_eq!(visitor.to_string(), expected, "{address}");
            }
        }
    }

    #[test]
    fn nothing_whole_comes_out() {
        let mut event = Event { ts: Timestamp(1), ..Event::default() };
        let client = Client {
            address: Some("2001:db8:1:2:3:4:5:6".parse().unwrap()),
            user_agent:
                b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 secret-agent",
            referrer: b"https://search.example/?q=secret",
        };
        Redactor::new([7; 32]).redact(client, &mut event);
        let json = serde_json::to_string(&event).unwrap();
        for leak in ["2001:db8:1:2", "140.0", "secret", "?"] {
            assert!(!json.contains(leak), "{leak} in {json}");
        }
        assert_eq!(event.client_net.to_string(), "2001:db8:1::/48");
        assert_eq!((event.browser.as_str(), event.os.as_str()), ("Firefox", "Linux"));
        assert_eq!(event.referrer_host.as_str(), "search.example");
    }
}
