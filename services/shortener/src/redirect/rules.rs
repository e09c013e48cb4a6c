//! Redirect rules as the cache holds them, and whether one holds for a visit.
//! Everything that can be is made once, so that a link without rules pays nothing and one with rules little.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, header};
use url::{Url, form_urlencoded};
use wide_event::agent::{Agent, Agents};

use crate::client_addr::Network;
use crate::link::UnixSeconds;
use crate::rule::{Browser, Condition, Device, Rule};
use crate::target::host_of;

/// Languages looked at in `Accept-Language`, and parameters in a query. Browsers send up to ten and campaigns twenty;
/// more is somebody who wants it to cost.
const LANGUAGES_MAX: usize = 32;
const PARAMETERS_MAX: usize = 64;

/// Below this quality a language is not what the client wants; Shlink's.
const QUALITY_MIN: f32 = 0.9;

/// What an allocation takes besides what was asked for: the allocator's head, rounding, and counts of what is shared.
const ALLOCATION_BYTES: usize = 32;

/// The rules of a link.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Box<[Prepared]>,
    /// On what of a visitor they depend.
    pub(crate) depends: Depends,
}

/// What rules look at that another request of the same client for the same URL may have changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depends {
    /// The header `User-Agent`.
    pub(crate) agent: bool,
    /// The header `Accept-Language`.
    pub(crate) language: bool,
    /// The address or the country, which no header of the client says.
    pub(crate) place: bool,
}

/// Where a link leads under a rule.
#[derive(Debug)]
pub(crate) struct Decision<'a> {
    pub(crate) location: &'a HeaderValue,
    pub(crate) target_host: &'a str,
    /// Place of the rule, from 1.
    pub(crate) place: u8,
}

#[derive(Debug)]
struct Prepared {
    location: HeaderValue,
    target_host: Box<str>,
    tests: Box<[Test]>,
}

#[derive(Debug)]
enum Test {
    Device(Device),
    Browser(Browser),
    Language { language: Box<str>, region: Option<Box<str>> },
    Parameter { name: Box<str>, value: Wanted },
    Address(Option<Addresses>),
    Country(Box<str>),
    Before(UnixSeconds),
    After(UnixSeconds),
}

#[derive(Debug)]
enum Wanted {
    This(Box<str>),
    Any,
    None,
}

#[derive(Debug, PartialEq)]
enum Addresses {
    Network(Network),
    /// `11.22.*.*`: the octets that are given.
    Wildcard([Option<u8>; 4]),
}

impl Rules {
    /// Nothing when a target is no URL, which no store of ours holds.
    pub(crate) fn of(rules: &[Rule]) -> Option<Self> {
        let mut depends = Depends::default();
        for condition in rules.iter().flat_map(|rule| &rule.conditions) {
            match condition {
                Condition::Device { .. } | Condition::Browser { .. } => depends.agent = true,
                Condition::Language { .. } => depends.language = true,
                Condition::IpAddress { .. } | Condition::Country { .. } => depends.place = true,
                _ => {}
            }
        }
        let rules = rules.iter().map(Prepared::of).collect::<Option<_>>()?;
        Some(Self { rules, depends })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Where each rule leads, with the host of it.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (&HeaderValue, &str)> {
        self.rules.iter().map(|rule| (&rule.location, &*rule.target_host))
    }

    /// The first rule whose conditions all hold.
    pub(crate) fn decide(&self, visitor: &Visitor<'_>) -> Option<Decision<'_>> {
        let (index, rule) = self
            .rules
            .iter()
            .enumerate()
            .find(|(_, rule)| rule.tests.iter().all(|test| test.holds(visitor)))?;
        let place = u8::try_from(index + 1).unwrap_or(u8::MAX);
        Some(Decision { location: &rule.location, target_host: &rule.target_host, place })
    }

    /// When a date next changes what these rules say.
    pub(crate) fn changes_at(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        let tests = self.rules.iter().flat_map(|rule| &rule.tests);
        let dates = tests.filter_map(|test| match test {
            Test::Before(at) | Test::After(at) => Some(*at),
            _ => None,
        });
        dates.filter(|at| *at > now).min()
    }

    /// Bytes on the heap, about.
    pub(crate) fn bytes(&self) -> usize {
        let of = |rule: &Prepared| {
            let texts = rule.location.len() + rule.target_host.len() + 2 * ALLOCATION_BYTES;
            size_of::<Prepared>() + texts + rule.tests.iter().map(Test::bytes).sum::<usize>()
        };
        self.rules.iter().map(of).sum()
    }
}

impl Prepared {
    fn of(rule: &Rule) -> Option<Self> {
        let url = Url::parse(&rule.target).ok()?;
        Some(Self {
            location: HeaderValue::from_str(&rule.target).ok()?,
            target_host: host_of(&url).into(),
            tests: rule.conditions.iter().map(Test::of).collect(),
        })
    }
}

impl Test {
    /// With its texts, of which there are two at most.
    fn bytes(&self) -> usize {
        let texts = match self {
            Self::Language { language, region } => {
                language.len() + region.as_ref().map_or(0, |region| region.len())
            }
            Self::Parameter { name, value: Wanted::This(value) } => name.len() + value.len(),
            Self::Parameter { name, .. } => name.len(),
            Self::Country(country) => country.len(),
            Self::Device(_) | Self::Browser(_) | Self::Address(_) | Self::Before(_) | Self::After(_) => 0,
        };
        size_of::<Self>() + texts + 2 * ALLOCATION_BYTES
    }

    fn of(condition: &Condition) -> Self {
        let parameter = |name: &String, value| Self::Parameter { name: name.as_str().into(), value };
        match condition {
            Condition::Device { device } => Self::Device(*device),
            Condition::Browser { browser } => Self::Browser(*browser),
            Condition::Language { language } => {
                let mut parts = language.split(['-', '_']);
                let language = parts.next().unwrap_or_default().into();
                Self::Language { language, region: parts.next().map(Into::into) }
            }
            Condition::QueryParam { name, value } => parameter(name, Wanted::This(value.as_str().into())),
            Condition::AnyValueQueryParam { name } => parameter(name, Wanted::Any),
            Condition::ValuelessQueryParam { name } => parameter(name, Wanted::None),
            Condition::IpAddress { pattern } => Self::Address(addresses(pattern)),
            Condition::Country { country } => Self::Country(country.as_str().into()),
            Condition::Before { at } => Self::Before(*at),
            Condition::After { at } => Self::After(*at),
        }
    }

    fn holds(&self, visitor: &Visitor<'_>) -> bool {
        match self {
            Self::Device(device) => is_device(visitor.agent(), *device),
            Self::Browser(browser) => visitor.agent().browser == family(*browser),
            Self::Language { language, region } => accepts(visitor.headers, language, region.as_deref()),
            Self::Parameter { name, value } => match (visitor.parameter(name), value) {
                (Some(found), Wanted::This(value)) => *found == **value,
                (Some(_), Wanted::Any) => true,
                (Some(found), Wanted::None) => found.is_empty(),
                (None, _) => false,
            },
            Self::Address(addresses) => addresses
                .as_ref()
                .zip(visitor.address)
                .is_some_and(|(addresses, address)| addresses.contain(address)),
            Self::Country(country) => {
                visitor.country.is_some_and(|found| found.eq_ignore_ascii_case(country))
            }
            Self::Before(at) => visitor.now < *at,
            Self::After(at) => visitor.now >= *at,
        }
    }
}

/// What rules ask of a visit.
pub(crate) struct Visitor<'a> {
    headers: &'a HeaderMap,
    query: &'a str,
    address: Option<IpAddr>,
    country: Option<&'a str>,
    now: UnixSeconds,
    agents: &'a Mutex<Agents>,
    agent: OnceCell<Agent>,
    parameters: OnceCell<Vec<(String, String)>>,
}

impl<'a> Visitor<'a> {
    pub(crate) fn new(
        headers: &'a HeaderMap,
        query: &'a str,
        address: Option<IpAddr>,
        country: Option<&'a str>,
        now: UnixSeconds,
        agents: &'a Mutex<Agents>,
    ) -> Self {
        let (agent, parameters) = (OnceCell::new(), OnceCell::new());
        Self { headers, query, address, country, now, agents, agent, parameters }
    }

    fn agent(&self) -> &Agent {
        self.agent.get_or_init(|| {
            let text = self.headers.get(header::USER_AGENT).map_or(&[][..], HeaderValue::as_bytes);
            // Held for a look into a map, or a few microseconds for a user agent that is new.
            self.agents.lock().unwrap_or_else(PoisonError::into_inner).classify(text)
        })
    }

    /// The value of a parameter; of several, as in Shlink, the last one's.
    fn parameter(&self, name: &str) -> Option<&str> {
        let parameters = self.parameters.get_or_init(|| {
            let pairs = form_urlencoded::parse(self.query.as_bytes()).take(PARAMETERS_MAX);
            pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
        });
        parameters.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// As Shlink sees devices. A bot has none: it gets what visitors get for whom no rule is.
fn is_device(agent: &Agent, device: Device) -> bool {
    match device {
        Device::Android => agent.os == "Android",
        Device::Ios => agent.os == "iOS",
        Device::Mobile => matches!(agent.os, "Android" | "iOS") || agent.device == "mobile",
        Device::Windows => agent.os == "Windows",
        Device::Macos => agent.os == "macOS",
        Device::Linux => agent.os == "Linux",
        Device::Chromeos => agent.os == "ChromeOS",
        Device::Desktop => agent.device == "desktop",
    }
}

/// As the event's classifier names it. A browser inside an app, or one that names itself, is none of these, and a bot has none.
fn family(browser: Browser) -> &'static str {
    match browser {
        Browser::Chrome => "Chrome",
        Browser::Firefox => "Firefox",
        Browser::Edge => "Edge",
        Browser::Safari => "Safari",
        Browser::Opera => "Opera",
        Browser::AndroidBrowser => "Android Browser",
    }
}

/// Whether the client wants a language, of a region where one is asked for.
fn accepts(headers: &HeaderMap, language: &str, region: Option<&str>) -> bool {
    let lines = headers.get_all(header::ACCEPT_LANGUAGE).into_iter();
    let entries = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    entries.take(LANGUAGES_MAX).any(|entry| {
        let mut parts = entry.split(';');
        let mut subtags = parts.next().unwrap_or_default().trim().split(['-', '_']);
        let quality =
            parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        quality.is_ok_and(|quality| quality >= QUALITY_MIN)
            && subtags.next().is_some_and(|found| found.eq_ignore_ascii_case(language))
            && region
                .is_none_or(|region| subtags.next().is_some_and(|found| found.eq_ignore_ascii_case(region)))
    })
}

/// Nothing when the pattern is none: then nobody has such an address.
fn addresses(pattern: &str) -> Option<Addresses> {
    if !pattern.contains('*') {
        return pattern.parse().ok().map(Addresses::Network);
    }
    let mut octets = [None; 4];
    let mut parts = pattern.split('.');
    for octet in &mut octets {
        *octet = match parts.next()? {
            "*" => None,
            part => Some(part.parse().ok()?),
        };
    }
    parts.next().is_none().then_some(Addresses::Wildcard(octets))
}

impl Addresses {
    fn contain(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::Network(network), address) => network.contains(address),
            (Self::Wildcard(wanted), IpAddr::V4(address)) => wanted
                .iter()
                .zip(address.octets())
                .all(|(wanted, octet)| wanted.is_none_or(|wanted| wanted == octet)),
            (Self::Wildcard(_), IpAddr::V6(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_accepted_as_in_shlink() {
        let cases = [
            // header, language, region, whether it holds
            ("en", "en", None, true),
            ("en-GB,de;q=0.9", "en", None, true),
            ("en-GB", "en", Some("gb"), true),
            ("en_gb", "en", Some("gb"), true),
            ("en", "en", Some("gb"), false),
            ("en-US", "en", Some("gb"), false),
            ("de;q=0.9", "de", None, true),
            ("de;q=0.8", "de", None, false),
            ("de;q=x", "de", None, false),
            ("fr, de ; q=1.0", "de", None, true),
            ("*", "de", None, false),
            ("", "de", None, false),
            ("deu", "de", None, false),
        ];
        for (accepted, language, region, holds) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(accepted));
            assert_eq!(accepts(&headers, language, region), holds, "{accepted} {language} {region:?}");
        }
    }

    #[test]
    fn the_texts_of_rules_count_in_full() {
        let long = || "x".repeat(500);
        let conditions = vec![Condition::QueryParam { name: long(), value: long() }; 20];
        let rule = Rule { target: format!("https://e.example/{}", long()), conditions };
        let rules = Rules::of(&vec![rule; 20]).unwrap();
        assert!(rules.bytes() > 20 * (500 + 20 * 1_000), "{}", rules.bytes());
    }

    #[test]
    fn addresses_match_one_a_network_or_a_wildcard() {
        let cases = [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("203.0.113.0/24", "203.0.113.8", true),
            ("203.0.112.0/24", "203.0.113.8", false),
            ("2001:db8::/32", "2001:db8::1", true),
            ("203.*.113.*", "203.9.113.8", true),
            ("203.*.113.*", "203.9.112.8", false),
            ("203.*.113.*", "::ffff:203.9.113.8", true),
            ("*.*.*.*", "2001:db8::1", false),
            ("203.*", "203.0.113.8", false),
            ("203.*.113.*.1", "203.9.113.8", false),
            ("203.x.113.*", "203.9.113.8", false),
            ("rubbish", "203.9.113.8", false),
        ];
        for (pattern, address, holds) in cases {
            let address = address.parse().unwrap();
            let found = addresses(pattern).is_some_and(|addresses| addresses.contain(address));
            assert_eq!(found, holds, "{pattern} {address}");
        }
    }

    #[test]
    fn a_date_that_is_to_come_ends_what_holds_now() {
        let condition = |at| vec![Condition::Before { at }, Condition::After { at: at - 50 }];
        let target = "https://e.example/".to_owned();
        let rules = [100, 200].map(|at| Rule { target: target.clone(), conditions: condition(at) });
        let rules = Rules::of(&rules).unwrap();
        let next = [(0, Some(50)), (50, Some(100)), (120, Some(150)), (199, Some(200)), (200, None)];
        for (now, expected) in next {
            assert_eq!(rules.changes_at(now), expected, "{now}");
        }
    }
}
