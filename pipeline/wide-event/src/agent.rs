//! User agents to families: browser, operating system, device, and whether a rule says that no person asked.
//!
//! The tables in `rules` come first, then the woothee data set, which knows old browsers and phones. A bot has no
//! browser, system or device, whatever it claims, so that a count by browser is one of people. Versions are not kept:
//! they single people out. No header is parsed here but this one.

mod rules;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, BuildHasherDefault};
use std::sync::{Mutex, PoisonError};

use rustc_hash::{FxHashSet, FxHasher};
use woothee::parser::Parser;

use crate::recent::Recent;

/// What a user agent says of its request. A bot has a reason and nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agent {
    /// Family of the browser, empty where unknown.
    pub browser: &'static str,
    /// Family of the operating system, empty where unknown.
    pub os: &'static str,
    /// `desktop`, `mobile`, `appliance` or empty.
    pub device: &'static str,
    /// The rule that says no person asked: `class:name`, such as `crawler:googlebot` or `library:curl`, or
    /// `no_user_agent`. People query these: they are added to and never renamed.
    pub bot_reason: Option<&'static str>,
}

/// User agents that are remembered. A site sees a few thousand; beyond that somebody makes them up, and looking at each
/// costs a few microseconds.
const REMEMBERED_MAX: usize = 8_192;

/// The longest part of a user agent that is looked at, in bytes. Real ones stay below 512.
pub(crate) const LOOKED_AT_BYTES: usize = 1_024;

/// Different names that are kept for good. woothee's data set has about 300.
const NAMES_MAX: usize = 1_024;

/// Classifies user agents, remembering what it has seen.
pub struct Agents {
    seen: Recent<Box<Seen>>,
    /// Numbers given out.
    numbers: u64,
}

/// A user agent that is remembered.
pub(crate) struct Seen {
    /// Told only of this one, as long as it is remembered: two of the same number are the same.
    pub(crate) number: u64,
    pub(crate) agent: Agent,
    user_agent: Box<[u8]>,
}

impl Default for Agents {
    fn default() -> Self {
        Self { seen: Recent::new(REMEMBERED_MAX), numbers: 0 }
    }
}

impl Agents {
    /// The families of one User-Agent header; an empty one counts as a bot, since every browser sends one.
    pub fn classify(&mut self, user_agent: &[u8]) -> Agent {
        self.see(user_agent).agent
    }

    /// The same, and under which number what was looked at of the header is remembered.
    pub(crate) fn see(&mut self, user_agent: &[u8]) -> &Seen {
        let user_agent = &user_agent[..user_agent.len().min(LOOKED_AT_BYTES)];
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(user_agent);
        let Self { seen, numbers } = self;
        seen.get(
            hash,
            // Two that are empty are equal without looking: what compares them would begin at an address where nothing is,
            // which some processors take a hundred times as long for.
            |seen| seen.user_agent.is_empty() && user_agent.is_empty() || *seen.user_agent == *user_agent,
            || {
                *numbers += 1;
                let agent = classify(&String::from_utf8_lossy(user_agent));
                Box::new(Seen { number: *numbers, agent, user_agent: user_agent.into() })
            },
        )
    }
}

fn classify(user_agent: &str) -> Agent {
    let lower = user_agent.to_ascii_lowercase();
    let parsed = Parser::new().parse(user_agent).unwrap_or_default();
    let bot_reason = bot(&lower, parsed.category);
    if bot_reason.is_some() {
        return Agent { bot_reason, ..Agent::default() };
    }
    Agent {
        browser: first(rules::BROWSERS, &lower).unwrap_or_else(|| browser(parsed.name, &lower)),
        os: first(rules::SYSTEMS, &lower).unwrap_or_else(|| system(parsed.os, &lower)),
        device: first(rules::DEVICES, &lower).unwrap_or(match parsed.category {
            "pc" => "desktop",
            "smartphone" | "mobilephone" => "mobile",
            "appliance" => "appliance",
            _ if lower.contains("windows nt") => "desktop",
            _ => "",
        }),
        bot_reason,
    }
}

fn first(rules: &[(&str, &'static str)], lower: &str) -> Option<&'static str> {
    rules.iter().find(|(part, _)| lower.contains(part)).map(|(_, value)| *value)
}

fn browser(woothee: &str, lower: &str) -> &'static str {
    match woothee {
        // Android's own browser, until 2013, called itself Safari, which has never run there.
        "Safari" if lower.contains("android") => "Android Browser",
        name if is_unknown(name) && lower.contains("msie ") => "Internet Explorer",
        name => known(name),
    }
}

/// woothee names versions of Windows, as far as it knows them, and models of Apple's devices.
fn system(woothee: &str, lower: &str) -> &'static str {
    match woothee {
        "Windows Phone OS" => "Windows Phone",
        name if name.starts_with("Windows") => "Windows",
        "Mac OSX" => "macOS",
        "iPhone" | "iPad" | "iPod" | "iOS" => "iOS",
        name if is_unknown(name) && lower.contains("windows nt") => "Windows",
        name => known(name),
    }
}

/// The rule, if any, that says no person asked.
fn bot(lower: &str, category: &str) -> Option<&'static str> {
    if lower.trim().is_empty() || lower == "-" {
        return Some("no_user_agent");
    }
    program(lower).or_else(|| first(rules::BOTS, lower)).or_else(|| {
        if is_bot_word(lower) {
            Some("crawler:generic")
        } else if category == "crawler" {
            Some("crawler:woothee")
        } else {
            None
        }
    })
}

fn program(lower: &str) -> Option<&'static str> {
    let begins = |start: &str| {
        let rest = lower.strip_prefix(start);
        rest.is_some_and(|rest| start.ends_with('/') || !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    };
    rules::PROGRAMS.iter().find(|(start, _)| begins(start)).map(|(_, reason)| *reason)
}

/// Whether a word ends in `bot`. `cubot` is a maker of phones.
fn is_bot_word(lower: &str) -> bool {
    lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.ends_with("bot") && word != "cubot" || word.ends_with("bots"))
}

/// woothee says nothing of what it can't parse at all.
fn is_unknown(woothee: &str) -> bool {
    woothee.is_empty() || woothee == woothee::woothee::VALUE_UNKNOWN
}

/// woothee's name, kept for good so that events need no copy of it. What woothee does not know is empty.
fn known(name: &str) -> &'static str {
    static NAMES: Mutex<Option<FxHashSet<&'static str>>> = Mutex::new(None);
    if is_unknown(name) {
        return "";
    }
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(name) = names.get(name) {
        return name;
    }
    if names.len() >= NAMES_MAX {
        return "other";
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    name
}
