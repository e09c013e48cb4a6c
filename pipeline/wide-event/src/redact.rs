//! From what a request carries to what an event may say of it.
//!
//! This is the only place where a whole client address, a Referer or a user agent meets the event, and it runs in
//! the publisher, off the request path. Nothing here logs, and what goes in does not come out in an error.

mod visitors;

use std::net::IpAddr;

use crate::agent::Agents;
use crate::event::Event;
use crate::value::{self, Host, Network, Text};
use visitors::Visitors;

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

/// Turns [`Client`]s into fields of events. Remembers what it has seen lately, in a few hundred kilobytes.
pub struct Redactor {
    agents: Agents,
    visitors: Visitors,
}

impl Redactor {
    /// With the secret under which visitors are hashed. All instances of a service share it, or one visitor
    /// counts once an instance.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self { agents: Agents::default(), visitors: Visitors::new(secret) }
    }

    /// Fills in the fields that describe the client.
    pub fn redact<'r>(&mut self, client: Client<'r>, event: &mut Event<'r>) {
        let seen = self.agents.see(client.user_agent);
        if let Some(address) = client.address {
            event.client_net = Network::of(address);
            event.visitor = self.visitors.visitor(event.ts.day(), address, client.user_agent, seen.number);
        }
        if let Some(host) = referrer_host(client.referrer) {
            event.referrer_host = host;
        }
        let agent = seen.agent;
        event.browser = Text::new(agent.browser);
        event.os = Text::new(agent.os);
        event.device = Text::new(agent.device);
        event.bot = agent.bot_reason.is_some();
        event.bot_reason = Text::new(agent.bot_reason.unwrap_or_default());
    }
}

/// The host of an absolute URL, in lower case, without port, credentials and a leading `www.`; `None` where there
/// is no such host.
fn referrer_host(referrer: &[u8]) -> Option<Host<'_>> {
    if referrer.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(referrer).ok()?;
    // Nearly all have one of the two; to look for `://` anywhere costs more than all the rest.
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.or_else(|| text.split_once("://").map(|(_scheme, rest)| rest))?;
    let end = rest.as_bytes().iter().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\'));
    let host = value::bare(&rest[..end.unwrap_or(rest.len())]);
    let host = if host.ends_with('.') { host.trim_end_matches('.') } else { host };
    let host = match host.split_at_checked("www.".len()) {
        Some((www, rest)) if www.eq_ignore_ascii_case("www.") => rest,
        _ => host,
    };
    if host.is_empty() { None } else { Host::parse_lower(host) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;
    use proptest::prelude::*;

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

    /// The same by what the library has for it, step by step.
    fn referrer_host_plainly(referrer: &[u8]) -> Option<Host<'_>> {
        let text = std::str::from_utf8(referrer).ok()?;
        let (_scheme, rest) = text.split_once("://")?;
        let authority = rest.split(['/', '?', '#', '\\']).next()?;
        let host = authority.rsplit_once('@').map_or(authority, |(_credentials, host)| host);
        let host = match host.strip_prefix('[') {
            Some(v6) => v6.split_once(']')?.0,
            None => host.split(':').next()?,
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match host.strip_prefix("www.").unwrap_or(&host) {
            "" => None,
            host => Host::parse(host.to_owned()),
        }
    }

    proptest! {
        #[test]
        fn a_referrer_is_its_host_whatever_it_is(referrer in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "(https?|HTTP|ftp|a:|)(://|:/|//){0,2}([\\PC]{0,3}@)?(www\\.|WWW\\.)?[a-zA-Z.é\\[\\]:@]{0,12}(:[0-9]{0,5})?[/?#\\\\]?.{0,20}"
                .prop_map(String::into_bytes),
        ]) {
            prop_assert_eq!(referrer_host(&referrer), referrer_host_plainly(&referrer));
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
