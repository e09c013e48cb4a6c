use super::*;

const SAFARI: &str = "Safari/537.36";

/// What browsers share; they differ in the system and the rest.
fn chrome(system: &str, rest: &str) -> String {
    format!("Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) {rest}")
}

fn webkit(system: &str, rest: &str) -> String {
    format!("Mozilla/5.0 ({system}) AppleWebKit/605.1.15 (KHTML, like Gecko) {rest}")
}

fn firefox(system: &str) -> String {
    format!("Mozilla/5.0 ({system}; rv:143.0) Gecko/20100101 Firefox/143.0")
}

const WINDOWS: &str = "Windows NT 10.0; Win64; x64";
const MAC: &str = "Macintosh; Intel Mac OS X 10_15_7";
const LINUX: &str = "X11; Linux x86_64";
const ANDROID: &str = "Linux; Android 10; K";
const IPHONE: &str = "iPhone; CPU iPhone OS 18_6 like Mac OS X";

fn mobile(rest: &str) -> String {
    chrome(ANDROID, &format!("{rest} Mobile {SAFARI}"))
}

fn iphone(rest: &str) -> String {
    webkit(IPHONE, rest)
}

fn desktop(rest: &str) -> String {
    chrome(WINDOWS, &format!("Chrome/141.0.0.0 {SAFARI}{rest}"))
}

fn people<const N: usize>(cases: [(String, [&'static str; 3]); N]) {
    let mut agents = Agents::default();
    for (text, [browser, os, device]) in cases {
        let wanted = Agent { browser, os, device, bot_reason: None };
        assert_eq!(agents.classify(text.as_bytes()), wanted, "{text}");
        assert_eq!(agents.classify(text.as_bytes()), wanted, "remembered: {text}");
    }
}

#[test]
fn browsers_on_their_systems() {
    people([
        (desktop(""), ["Chrome", "Windows", "desktop"]),
        (chrome(MAC, "Chrome/141.0.0.0 Safari/537.36"), ["Chrome", "macOS", "desktop"]),
        (chrome(LINUX, "Chrome/141.0.0.0 Safari/537.36"), ["Chrome", "Linux", "desktop"]),
        (
            chrome("X11; CrOS x86_64 14541.0.0", "Chrome/141.0.0.0 Safari/537.36"),
            ["Chrome", "ChromeOS", "desktop"],
        ),
        (mobile("Chrome/141.0.0.0"), ["Chrome", "Android", "mobile"]),
        (iphone("CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1"), ["Chrome", "iOS", "mobile"]),
        (desktop(" Edg/141.0.0.0"), ["Edge", "Windows", "desktop"]),
        (mobile("Chrome/141.0.0.0") + " EdgA/141.0.0.0", ["Edge", "Android", "mobile"]),
        (
            iphone("Version/18.0 EdgiOS/141.0.3537.60 Mobile/15E148 Safari/605.1.15"),
            ["Edge", "iOS", "mobile"],
        ),
        (firefox(WINDOWS), ["Firefox", "Windows", "desktop"]),
        (firefox("Windows NT 5.2"), ["Firefox", "Windows", "desktop"]),
        (firefox("X11; OpenBSD amd64"), ["Firefox", "BSD", "desktop"]),
        (firefox("Android 15; Mobile"), ["Firefox", "Android", "mobile"]),
        (iphone("FxiOS/143.0 Mobile/15E148 Safari/605.1.15"), ["Firefox", "iOS", "mobile"]),
        (webkit(MAC, "Version/26.0 Safari/605.1.15"), ["Safari", "macOS", "desktop"]),
        (iphone("Version/26.0 Mobile/15E148 Safari/604.1"), ["Safari", "iOS", "mobile"]),
        (
            webkit("iPad; CPU OS 18_6 like Mac OS X", "Version/26.0 Mobile/15E148 Safari/604.1"),
            ["Safari", "iOS", "mobile"],
        ),
        (desktop(" OPR/124.0.0.0"), ["Opera", "Windows", "desktop"]),
        (mobile("Chrome/140.0.0.0") + " OPR/92.0.0.0", ["Opera", "Android", "mobile"]),
        (iphone("Version/18.6 Mobile/15E148 Safari/604.1 OPT/6.1.0"), ["Opera", "iOS", "mobile"]),
    ]);
}

#[test]
fn browsers_that_share_an_engine_apps_and_appliances() {
    people([
        (mobile("SamsungBrowser/28.0 Chrome/130.0.0.0"), ["Samsung Internet", "Android", "mobile"]),
        (mobile("Version/4.0 Chrome/141.0.0.0") + " DuckDuckGo/5", ["DuckDuckGo", "Android", "mobile"]),
        (webkit(MAC, "Version/18.6 Safari/605.1.15 Ddg/18.6"), ["DuckDuckGo", "macOS", "desktop"]),
        (iphone("Version/18.6 Brave/1 Mobile/15E148 Safari/605.1.15"), ["Brave", "iOS", "mobile"]),
        (desktop(" Vivaldi/7.6.3797.52"), ["Vivaldi", "Windows", "desktop"]),
        (mobile("Chrome/114.0.0.0 HuaweiBrowser/15.0.4.312"), ["Huawei Browser", "Android", "mobile"]),
        (mobile("Version/4.0 Chrome/141.0.0.0"), ["Webview", "Android", "mobile"]),
        (
            mobile("Version/4.0 Chrome/141.0.0.0") + " [FB_IAB/FB4A;FBAV/480.0.0.0;]",
            ["Facebook", "Android", "mobile"],
        ),
        (iphone("Mobile/15E148 Instagram 350.0.0.0 (iPhone15,2; iOS 18_6)"), ["Instagram", "iOS", "mobile"]),
        (iphone("Mobile/15E148 [LinkedInApp]/9.30"), ["LinkedIn", "iOS", "mobile"]),
        (
            chrome("Linux; Android 13; KFTUWI", "Silk/141.4.8 like Chrome/141.0.0.0"),
            ["Silk", "Android", "mobile"],
        ),
        (
            chrome("SMART-TV; Linux; Tizen 6.0", "SamsungBrowser/4.0 Chrome/76.0 TV"),
            ["Samsung Internet", "Tizen", "appliance"],
        ),
        (
            webkit("PlayStation; PlayStation 5/8.00", "Version/15.4 Safari/605.1.15"),
            ["Safari", "PlayStation", "appliance"],
        ),
        (
            "Mozilla/5.0 (Windows; U; MSIE 9.0; Windows NT 9.0)".into(),
            ["Internet Explorer", "Windows", "desktop"],
        ),
        // Names that look like a bot's: a maker of phones, and browsers of companies that run crawlers.
        (
            chrome("Linux; Android 9; CUBOT_X19", "Chrome/80.0 Mobile Safari/537.36"),
            ["Chrome", "Android", "mobile"],
        ),
        (
            chrome(WINDOWS, "Chrome/28.0 Safari/537.36 SE 2.X MetaSr 1.0"),
            ["Sogou Explorer", "Windows", "desktop"],
        ),
        (mobile("SogouMobileBrowser/5.22 Chrome/75.0.0.0"), ["Chrome", "Android", "mobile"]),
        (desktop(" YaBrowser/25.8.0.0"), ["Yandex Browser", "Windows", "desktop"]),
    ]);
}

#[test]
fn bots_have_a_reason_and_no_families() {
    let cases = [
        ("", "no_user_agent"),
        ("-", "no_user_agent"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler:googlebot"),
        (
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.7390.54 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "crawler:googlebot",
        ),
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
            "crawler:bingbot",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
            "crawler:applebot",
        ),
        ("Mozilla/5.0 (compatible; SomethingNewBot/1.0)", "crawler:generic"),
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)",
            "ai:gptbot",
        ),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0)", "ai:claudebot"),
        ("Claude-User/1.0 (+Claude-User@anthropic.com)", "ai:claude"),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36",
            "headless:chrome",
        ),
        ("curl/8.15.0", "library:curl"),
        ("Wget/1.25.0", "library:wget"),
        ("okhttp/5.1.0", "library:okhttp"),
        ("node", "library:node"),
        ("Go-http-client/2.0", "library:go"),
        ("python-requests/2.32.5", "library:python"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "preview:slack"),
        ("WhatsApp/2.23.20.0 A", "preview:whatsapp"),
        ("TelegramBot (like TwitterBot)", "preview:telegram"),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "preview:facebook"),
        ("Feedly/1.0 (+http://www.feedly.com/fetcher.html; like FeedFetcher-Google)", "feed:feedly"),
        ("Mozilla/5.0 (compatible; inoreader.com; 12 subscribers)", "feed:inoreader"),
        ("kube-probe/1.34", "monitor:kubernetes"),
        ("Prometheus/3.6.0", "monitor:prometheus"),
        ("Blackbox Exporter/0.27.0", "monitor:blackbox-exporter"),
        ("hoplog-probe/0.1.0", "monitor:hoplog"),
    ];
    let mut agents = Agents::default();
    for (text, reason) in cases {
        let wanted = Agent { bot_reason: Some(reason), ..Agent::default() };
        assert_eq!(agents.classify(text.as_bytes()), wanted, "{text}");
    }
}

#[test]
fn a_program_is_known_by_its_whole_name_at_the_start() {
    let cases = [("Ruby", true), ("Ruby/3.4", true), ("Rubyphone/1.0", false), ("Phone Ruby/1.0", false)];
    for (text, program) in cases {
        assert_eq!(bot(&text.to_ascii_lowercase(), "").is_some(), program, "{text}");
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
fn rules_are_in_lower_case_and_none_hides_a_later_one() {
    for table in [rules::BOTS, rules::BROWSERS, rules::SYSTEMS, rules::DEVICES] {
        for (at, (part, _)) in table.iter().enumerate() {
            assert_eq!(*part, part.to_ascii_lowercase());
            for (earlier, _) in &table[..at] {
                assert!(!part.contains(earlier), "{part} can't match: {earlier} comes first");
            }
        }
    }
    for (at, (start, _)) in rules::PROGRAMS.iter().enumerate() {
        assert_eq!(*start, start.to_ascii_lowercase());
        assert!(
            rules::PROGRAMS[..at].iter().all(|(earlier, _)| !start.starts_with(earlier)),
            "{start} can't match"
        );
    }
}

#[test]
fn reasons_are_a_class_and_a_name() {
    for (part, reason) in rules::BOTS.iter().chain(rules::PROGRAMS) {
        let (class, name) = reason.split_once(':').unwrap_or_default();
        let is_name = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        assert!(is_name(class) && is_name(name), "{part}: {reason}");
    }
}
