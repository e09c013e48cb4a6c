//! Redirect rules: which one decides, and that the event says so.

use http::Method;
use serde_json::{Value, json};
use shortener::link::NewLink;
use shortener::rule::{Browser, Condition, Device, Rule};
use shortener::store::LinkStore as _;
use shortener::target::{self, TargetPolicy};

use crate::server::Server;

const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                      Version/17.5 Mobile/15E148 Safari/604.1";
const ANDROID: &str = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/126.0.0.0 Mobile Safari/537.36";
const WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/126.0.0.0 Safari/537.36";
const MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                   Version/17.5 Safari/605.1.15";
const LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const CHROMEOS: &str = "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) \
                        Chrome/126.0.0.0 Safari/537.36";

type Headers<'a> = &'a [(&'a str, &'a str)];

fn rule(place: usize, conditions: Vec<Condition>) -> Rule {
    Rule { target: format!("https://rule{place}.example/?kept=1"), conditions }
}

/// A server with one link `x` that has these rules.
async fn server(rules: Vec<Vec<Condition>>) -> Server {
    let target = target::parse("https://none.example/?kept=1", &TargetPolicy::default()).unwrap();
    let rules =
        rules.into_iter().enumerate().map(|(index, conditions)| rule(index + 1, conditions)).collect();
    let link = NewLink { rules, ..NewLink::with_alias("x", target) };
    Server::on(
        async |store| {
            store.create(&[link], None).await.unwrap();
        },
        |config| {
            config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            config.http.country_header = Some("CF-IPCountry".to_owned().try_into().unwrap());
        },
    )
    .await
}

/// Visits and checks that the rule of this place decides, 0 for none.
async fn decides(server: &Server, query: &str, headers: &[(&str, &str)], place: u8) {
    let answer = server.call(Method::GET, &format!("/x{query}"), headers, "").await;
    let host = if place == 0 { "none.example".to_owned() } else { format!("rule{place}.example") };
    let location = answer.header("location");
    assert!(location.starts_with(&format!("https://{host}/?kept=1")), "{query} {headers:?}: {location}");
    let event = server.event().await;
    assert_eq!((event.rule, event.target_host.as_str(), event.click), (place, &*host, true));
}

#[tokio::test]
async fn devices_are_told_apart() {
    use Device::{Android, Chromeos, Desktop, Ios, Linux, Macos, Mobile, Windows};
    let agents = [
        (IPHONE, [Ios, Mobile]),
        (ANDROID, [Android, Mobile]),
        (WINDOWS, [Windows, Desktop]),
        (MAC, [Macos, Desktop]),
        (LINUX, [Linux, Desktop]),
        (CHROMEOS, [Chromeos, Desktop]),
    ];
    for device in [Android, Ios, Mobile, Windows, Macos, Linux, Chromeos, Desktop] {
        let server = server(vec![vec![Condition::Device { device }]]).await;
        for (agent, devices) in &agents {
            decides(&server, "", &[("user-agent", agent)], u8::from(devices.contains(&device))).await;
        }
        decides(&server, "", &[("user-agent", "curl/8.5.0")], 0).await;
        decides(&server, "", &[], 0).await;
    }
}

#[tokio::test]
async fn browsers_are_told_apart() {
    use Browser::{AndroidBrowser, Chrome, Edge, Firefox, Opera, Safari};
    let old = "Mozilla/5.0 (Linux; U; Android 4.0.3; de-de; GT-I9100) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30";
    let (edge, opera) = (format!("{WINDOWS} Edg/126.0.0.0"), format!("{WINDOWS} OPR/112.0.0.0"));
    let brave = format!("{IPHONE} Brave/1.60");
    let agents = [
        (IPHONE, Some(Safari)),
        (MAC, Some(Safari)),
        (ANDROID, Some(Chrome)),
        (CHROMEOS, Some(Chrome)),
        (LINUX, Some(Firefox)),
        (&*edge, Some(Edge)),
        (&*opera, Some(Opera)),
        (old, Some(AndroidBrowser)),
        (&*brave, None),
        ("curl/8.5.0", None),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/126.0.0.0 Safari/537.36",
            None,
        ),
    ];
    for browser in [Chrome, Firefox, Edge, Safari, Opera, AndroidBrowser] {
        let server = server(vec![vec![Condition::Browser { browser }]]).await;
        for (agent, found) in agents {
            decides(&server, "", &[("user-agent", agent)], u8::from(found == Some(browser))).await;
        }
        decides(&server, "", &[], 0).await;
    }
}

#[tokio::test]
async fn each_kind_of_condition_is_asked() {
    let text = |text: &str| text.to_owned();
    let server = server(vec![
        vec![Condition::Language { language: text("de-at") }],
        vec![Condition::QueryParam { name: text("ref"), value: text("a b") }],
        vec![Condition::ValuelessQueryParam { name: text("empty") }],
        vec![Condition::AnyValueQueryParam { name: text("any") }],
        vec![Condition::IpAddress { pattern: text("203.0.113.7") }],
        vec![Condition::IpAddress { pattern: text("198.51.100.0/24") }],
        vec![Condition::IpAddress { pattern: text("192.*.2.*") }],
        vec![Condition::Country { country: text("NZ") }],
        vec![Condition::Before { at: 1 }],
        vec![Condition::After { at: 32_503_680_000 }],
        vec![Condition::Country { country: text("FR") }, Condition::After { at: 1 }],
    ])
    .await;
    let cases: &[(&str, Headers<'_>, u8)] = &[
        ("", &[], 0),
        ("", &[("accept-language", "de-AT,de;q=0.8")], 1),
        ("", &[("accept-language", "de,en")], 0),
        ("?ref=a+b", &[], 2),
        ("?ref=x&ref=a%20b", &[], 2),
        ("?ref=a%20b&ref=x", &[], 0),
        ("?ref", &[], 0),
        ("?empty", &[], 3),
        ("?empty=", &[], 3),
        ("?empty=1", &[], 0),
        ("?any=1", &[], 4),
        ("?any", &[], 4),
        ("?ANY", &[], 0),
        ("", &[("x-forwarded-for", "203.0.113.7")], 5),
        ("", &[("x-forwarded-for", "198.51.100.200")], 6),
        ("", &[("x-forwarded-for", "192.9.2.1")], 7),
        ("", &[("x-forwarded-for", "192.9.3.1")], 0),
        ("", &[("cf-ipcountry", "NZ")], 8),
        ("", &[("cf-ipcountry", "nz")], 8),
        ("", &[("cf-ipcountry", "FR")], 11),
        ("", &[("cf-ipcountry", "XX")], 0),
        ("?any=1", &[("accept-language", "de-at")], 1),
        ("?any=1&ref=a+b", &[("cf-ipcountry", "NZ")], 2),
    ];
    for (query, headers, place) in cases {
        decides(&server, query, headers, *place).await;
    }
}

#[tokio::test]
async fn all_conditions_of_a_rule_must_hold_and_a_query_is_forwarded_all_the_same() {
    let server = server(vec![vec![
        Condition::Language { language: "en".to_owned() },
        Condition::AnyValueQueryParam { name: "a".to_owned() },
    ]])
    .await;
    let english = [("accept-language", "en")];
    decides(&server, "", &english, 0).await;
    decides(&server, "?a=1", &[], 0).await;
    decides(&server, "?a=1", &english, 1).await;
    let answer = server.call(Method::GET, "/x?a=1", &english, "").await;
    assert_eq!(answer.header("location"), "https://rule1.example/?kept=1&a=1");
    // Nobody's many parameters or languages cost more than some.
    let many = format!("?{}a=1", "b=1&".repeat(500));
    assert_eq!(server.call(Method::GET, &format!("/x{many}"), &english, "").await.status, 302);
}

#[tokio::test]
async fn a_preview_shows_where_this_visitor_is_led_and_where_others_are() {
    let ios = json!({ "type": "device", "matchValue": "ios" });
    let german = json!({ "type": "language", "matchValue": "de" });
    let rule = |target: &str, condition: &Value| json!({ "longUrl": target, "conditions": [condition] });
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("hosts");
    std::fs::write(&list, "bad.example\n").unwrap();
    let server = Server::with(|config| config.links.blocklist_files = vec![list.clone()]).await;
    let default = "https://none.example/";
    server.link(&json!({ "longUrl": default, "customSlug": "x" })).await;
    let rules = json!({ "redirectRules": [
        rule("https://ios.example/?a='<b>&c", &ios),
        rule("https://german.example/", &german),
        rule("https://german.example/", &ios),
        rule(default, &ios),
    ] });
    let set = server.api(Method::POST, "/rest/v3/short-urls/x/redirect-rules", &rules).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let (ios, german) = ("https://ios.example/?a=%27%3Cb%3E&#38;c", "https://german.example/");
    let preview = async |query: &str, headers: &[(&str, &str)]| {
        let answer = server.call(Method::GET, &format!("/x+{query}"), headers, "").await;
        assert_eq!(answer.status, 200);
        answer.text()
    };
    let cases: &[(&str, Headers<'_>, &str, [&str; 2])] = &[
        ("", &[], default, [ios, german]),
        ("", &[("user-agent", IPHONE)], ios, [german, default]),
        ("", &[("accept-language", "de")], german, [ios, default]),
        ("?b=%3C'", &[("accept-language", "de")], "https://german.example/?b=%3C%27", [ios, default]),
    ];
    server.events().await;
    for (query, headers, leads_to, others) in cases {
        let text = preview(query, headers).await;
        assert!(text.contains(&format!("<p><code>{leads_to}</code></p>")), "{headers:?} {text}");
        assert!(text.contains(&format!("href=\"{leads_to}\"")), "{headers:?} {text}");
        let [one, other] = others;
        let listed =
            format!("elsewhere:</p><ul><li><code>{one}</code></li><li><code>{other}</code></li></ul>");
        assert!(text.contains(&listed), "{headers:?} {text}");
        assert!(!server.event().await.click);
    }
    server.link(&json!({ "longUrl": default, "customSlug": "plain" })).await;
    assert!(!server.get("/plain+").await.text().contains("elsewhere"), "without rules there are no others");

    // One from before the host was listed.
    let target = target::parse(default, &TargetPolicy::default()).unwrap();
    let condition = Condition::Device { device: Device::Ios };
    let rules = vec![Rule { target: "https://bad.example/".to_owned(), conditions: vec![condition] }];
    let link = NewLink { rules, ..NewLink::with_alias("old", target) };
    server.store.create(&[link], None).await.unwrap();
    let text = server.get("/old+").await.text();
    assert!(text.contains(default) && text.contains("<ul><li>where it is blocked here</li></ul>"), "{text}");
    let blocked = server.call(Method::GET, "/old+", &[("user-agent", IPHONE)], "").await;
    assert_eq!(blocked.status, 410);
    for text in [text, blocked.text()] {
        assert!(!text.contains("bad.example"), "{text}");
    }
}
