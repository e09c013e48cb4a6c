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
}

impl Redactor {
    /// With the secret under which visitors are hashed. All instances of a service share it, or one visitor
    /// counts once an instance.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret, agents: Agents::default() }
    }

    /// Fills in the fields that describe the client.
    pub fn redact(&mut self, client: Client<'_>, event: &mut Event<'_>) {
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
    fn visitor(&self, ts: Timestamp, address: IpAddr, user_agent: &[u8]) -> Visitor {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&ts.day().to_le_bytes());
        match address.to_canonical() {
            IpAddr::V4(v4) => hasher.update(&v4.octets()),
            IpAddr::V6(v6) => hasher.update(&v6.octets()),
        };
        hasher.update(&[0]); // keeps address and agent apart
        hasher.update(user_agent);
        let mut hash = [0; 8];
        hasher.finalize_xof().fill(&mut hash);
        Visitor(u64::from_le_bytes(hash))
    }
}

/// The host of an absolute URL, in lower case, without port, credentials and a leading `www.`; `None` where there
/// is no such host.
fn referrer_host(referrer: &[u8]) -> Option<Host<'static>> {
    let text = std::str::from_utf8(referrer).ok()?;
    let (_scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_credentials, host)| host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => host.split(':').next()?,
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let host = host.strip_prefix("www.").unwrap_or(&host);
    if host.is_empty() { None } else { Host::parse(host.to_owned()) }
}
