//! User agents to families: browser, operating system, device, and whether a rule says that no person asked.
//!
//! Families come from the woothee data set; bots come from the table below first, since a name says more than
//! "crawler". Versions are not kept: they single people out. No header is parsed here but this one.

use std::sync::{Mutex, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};
use woothee::parser::Parser;

/// What a user agent says of its request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agent {
    /// Family of the browser, empty where unknown.
    pub browser: &'static str,
    /// Family of the operating system, empty where unknown.
    pub os: &'static str,
    /// `desktop`, `mobile`, `appliance` or empty.
    pub device: &'static str,
    /// The rule that says no person asked.
    pub bot_reason: Option<&'static str>,
}

/// User agents that are remembered. A site sees a few thousand; beyond that somebody makes them up, and starting
/// over costs a few microseconds each.
const REMEMBERED_MAX: usize = 8_192;

/// The longest part of a user agent that is looked at, in bytes. Real ones stay below 512.
const LOOKED_AT_BYTES: usize = 1_024;

/// Different names that are kept for good. woothee's data set has about 300.
const NAMES_MAX: usize = 1_024;

/// Bots by what their user agent contains, in lower case; the first match counts, so names come before the
/// generic words at the end.
const BOTS: &[(&str, &str)] = &[
    ("googlebot", "crawler:googlebot"),
    ("mediapartners-google", "crawler:google-ads"),
    ("adsbot-google", "crawler:google-ads"),
    ("google-extended", "ai:google-extended"),
    ("feedfetcher-google", "feed:google"),
    ("bingbot", "crawler:bingbot"),
    ("bingpreview", "preview:bing"),
    ("msnbot", "crawler:msnbot"),
    ("yandex.com/bots", "crawler:yandex"),
    ("yandexbot", "crawler:yandex"),
    ("baiduspider", "crawler:baidu"),
    ("duckduckbot", "crawler:duckduckgo"),
    ("yahoo! slurp", "crawler:yahoo"),
    ("applebot", "crawler:applebot"),
    ("petalbot", "crawler:petalbot"),
    ("sogou", "crawler:sogou"),
    ("gptbot", "ai:gptbot"),
    ("chatgpt-user", "ai:chatgpt"),
    ("oai-searchbot", "ai:openai-search"),
    ("claudebot", "ai:claudebot"),
    ("claude-web", "ai:claude"),
    ("anthropic-ai", "ai:anthropic"),
    ("perplexitybot", "ai:perplexity"),
    ("bytespider", "ai:bytespider"),
    ("ccbot", "ai:commoncrawl"),
    ("amazonbot", "crawler:amazonbot"),
    ("ahrefsbot", "seo:ahrefs"),
    ("semrushbot", "seo:semrush"),
    ("mj12bot", "seo:majestic"),
    ("dotbot", "seo:moz"),
    ("facebookexternalhit", "preview:facebook"),
    ("facebot", "preview:facebook"),
    ("meta-externalagent", "ai:meta"),
    ("twitterbot", "preview:twitter"),
    ("linkedinbot", "preview:linkedin"),
    ("slackbot", "preview:slack"),
    ("slack-imgproxy", "preview:slack"),
    ("discordbot", "preview:discord"),
    ("telegrambot", "preview:telegram"),
    ("whatsapp/", "preview:whatsapp"),
    ("skypeuripreview", "preview:skype"),
    ("embedly", "preview:embedly"),
    ("ia_archiver", "archive:alexa"),
    ("archive.org_bot", "archive:internet-archive"),
    ("uptimerobot", "monitor:uptimerobot"),
    ("pingdom", "monitor:pingdom"),
    ("statuscake", "monitor:statuscake"),
    ("check_http", "monitor:nagios"),
    ("blackbox", "monitor:blackbox-exporter"),
    ("prometheus/", "monitor:prometheus"),
    ("kube-probe", "monitor:kubernetes"),
    ("googlehc", "monitor:google"),
    ("elb-healthchecker", "monitor:aws"),
    ("headlesschrome", "headless:chrome"),
    ("phantomjs", "headless:phantomjs"),
    ("puppeteer", "headless:puppeteer"),
    ("playwright", "headless:playwright"),
    ("selenium", "headless:selenium"),
    ("chrome-lighthouse", "headless:lighthouse"),
    ("feedly", "feed:feedly"),
    ("universalfeedparser", "feed:feedparser"),
    ("tiny tiny rss", "feed:tt-rss"),
    ("simplepie", "feed:simplepie"),
    ("magpierss", "feed:magpierss"),
    ("feedburner", "feed:feedburner"),
    ("newsblur", "feed:newsblur"),
    ("rssreader", "feed:generic"),
    ("feed parser", "feed:generic"),
    ("curl/", "library:curl"),
    ("wget", "library:wget"),
    ("python", "library:python"),
    ("aiohttp", "library:python"),
    ("httpx", "library:python"),
    ("scrapy", "library:scrapy"),
    ("go-http-client", "library:go"),
    ("java/", "library:java"),
    ("apache-httpclient", "library:java"),
    ("okhttp", "library:okhttp"),
    ("libwww-perl", "library:perl"),
    ("lwp", "library:perl"),
    ("node-fetch", "library:node"),
    ("axios/", "library:node"),
    ("undici", "library:node"),
    ("guzzlehttp", "library:php"),
    ("php/", "library:php"),
    ("wordpress/", "library:wordpress"),
    ("ruby", "library:ruby"),
    ("faraday", "library:ruby"),
    ("reqwest", "library:rust"),
    ("hyper/", "library:rust"),
    ("postmanruntime", "library:postman"),
    ("apachebench", "load:ab"),
    ("wrk/", "load:wrk"),
    ("nmap", "scanner:nmap"),
    ("nikto", "scanner:nikto"),
    ("sqlmap", "scanner:sqlmap"),
    ("zgrab", "scanner:zgrab"),
    ("masscan", "scanner:masscan"),
    ("crawl", "crawler:generic"),
    ("spider", "crawler:generic"),
    ("slurp", "crawler:generic"),
    ("scraper", "crawler:generic"),
    ("fetcher", "crawler:generic"),
    ("validator", "crawler:generic"),
    ("monitoring", "monitor:generic"),
    ("+http://", "crawler:self-declared"),
    ("+https://", "crawler:self-declared"),
];

/// Classifies user agents, remembering what it has seen.
#[derive(Default)]
pub struct Agents {
    seen: FxHashMap<Box<[u8]>, Agent>,
}

impl Agents {
    /// The families of one User-Agent header; an empty one counts as a bot, since every browser sends one.
    pub fn classify(&mut self, user_agent: &[u8]) -> Agent {
        let user_agent = &user_agent[..user_agent.len().min(LOOKED_AT_BYTES)];
        if let Some(agent) = self.seen.get(user_agent) {
            return *agent;
        }
        let agent = classify(&String::from_utf8_lossy(user_agent));
        if self.seen.len() >= REMEMBERED_MAX {
            self.seen.clear();
        }
        self.seen.insert(user_agent.into(), agent);
        agent
    }
}

fn classify(user_agent: &str) -> Agent {
    let parsed = Parser::new().parse(user_agent).unwrap_or_default();
    Agent {
        browser: known(parsed.name),
        os: known(parsed.os),
        device: match parsed.category {
            "pc" => "desktop",
            "smartphone" | "mobilephone" => "mobile",
            "appliance" => "appliance",
            _ => "",
        },
        bot_reason: bot(user_agent, parsed.category),
    }
}

/// The rule, if any, that says no person asked.
fn bot(user_agent: &str, category: &str) -> Option<&'static str> {
    let lower = user_agent.to_ascii_lowercase();
    if lower.trim().is_empty() || lower == "-" {
        return Some("no_user_agent");
    }
    BOTS.iter().find(|(part, _)| lower.contains(part)).map(|(_, reason)| *reason).or_else(|| {
        if is_bot_word(&lower) {
            Some("crawler:generic")
        } else if category == "crawler" {
            Some("crawler:woothee")
        } else {
            None
        }
    })
}

/// Whether a word ends in `bot`. `cubot` is a maker of phones.
fn is_bot_word(lower: &str) -> bool {
    lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.ends_with("bot") && word != "cubot" || word.ends_with("bots"))
}

/// woothee's name, kept for good so that events need no copy of it. What woothee does not know is empty.
fn known(name: &str) -> &'static str {
    static NAMES: Mutex<Option<FxHashSet<&'static str>>> = Mutex::new(None);
    if name.is_empty() || name == woothee::woothee::VALUE_UNKNOWN {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_bots() {
        const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";
        const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1";
        const CUBOT: &str = "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/80.0.3987.99 Mobile Safari/537.36";
        let cases = [
            (CHROME, "Chrome", "Windows 10", "desktop", None),
            (IPHONE, "Safari", "iPhone", "mobile", None),
            (CUBOT, "Chrome", "Android", "mobile", None),
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                "Googlebot",
                "",
                "",
                Some("crawler:googlebot"),
            ),
            ("Mozilla/5.0 (compatible; SomethingNewBot/1.0)", "", "", "", Some("crawler:generic")),
            ("curl/8.5.0", "", "", "", Some("library:curl")),
            ("", "", "", "", Some("no_user_agent")),
            ("-", "", "", "", Some("no_user_agent")),
        ];
        let mut agents = Agents::default();
        for (text, browser, os, device, bot_reason) in cases {
            for _ in 0..2 {
                let agent = agents.classify(text.as_bytes());
                assert_eq!(agent.bot_reason, bot_reason, "{text}");
                if bot_reason.is_none() {
                    assert_eq!((agent.browser, agent.os, agent.device), (browser, os, device), "{text}");
                }
            }
        }
    }

    #[test]
    fn made_up_agents_do_not_fill_the_memory() {
        let mut agents = Agents::default();
        for number in 0..REMEMBERED_MAX + 10 {
            agents.classify(format!("agent {number}").as_bytes());
        }
        assert!(agents.seen.len() <= REMEMBERED_MAX);
        assert_eq!(agents.classify(&[0xff; 100_000]).bot_reason, None);
    }

    #[test]
    fn no_rule_hides_a_later_one() {
        for (at, (part, _)) in BOTS.iter().enumerate() {
            for (earlier, _) in &BOTS[..at] {
                assert!(!part.contains(earlier), "{part} can't match: {earlier} comes first");
            }
        }
    }
}
