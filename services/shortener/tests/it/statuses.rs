//! Statuses of redirects, and for how long clients may keep them.

use http::Method;
use shortener::link::{NewLink, RedirectStatus, Settings};
use shortener::rule::{Condition, Device, Rule};
use shortener::store::LinkStore as _;
use shortener::target::{self, TargetPolicy};
use wide_event::Orphan;

use crate::server::Server;

const UNCACHED: &str = "private, no-store";

fn link(code: &str, settings: Settings, conditions: Vec<Condition>) -> NewLink {
    let target = target::parse("https://e.example/", &TargetPolicy::default()).unwrap();
    let rule = Rule { target: "https://rule.example/".to_owned(), conditions };
    let rules = if rule.conditions.is_empty() { Vec::new() } else { vec![rule] };
    NewLink { settings, rules, ..NewLink::with_alias(code, target) }
}

fn kept(cache_lifetime_s: u32) -> Settings {
    Settings { cache_lifetime_s: Some(cache_lifetime_s), ..Settings::default() }
}

#[tokio::test]
async fn each_link_has_its_status() {
    use RedirectStatus::{Found, MovedPermanently, Permanent, Temporary};
    let of = |redirect_status| Settings { redirect_status, ..Settings::default() };
    let links = [
        link("none", of(None), Vec::new()),
        link("moved", of(Some(MovedPermanently)), Vec::new()),
        link("found", of(Some(Found)), Vec::new()),
        link("temporary", of(Some(Temporary)), Vec::new()),
        link("permanent", of(Some(Permanent)), Vec::new()),
    ];
    for (default, status) in [(Found, 302), (Permanent, 308)] {
        let server = Server::on(
            async |store| {
                store.create(&links, None).await.unwrap();
            },
            |config| config.redirect.status = default,
        )
        .await;
        for (path, status) in
            [("/none", status), ("/moved", 301), ("/found", 302), ("/temporary", 307), ("/permanent", 308)]
        {
            for _ in 0..2 {
                let answer = server.get(path).await;
                assert_eq!(answer.status.as_u16(), status, "{path}");
                assert_eq!(answer.header("location"), "https://e.example/", "{path}");
                assert_eq!(answer.header("cache-control"), UNCACHED, "a status alone keeps nothing: {path}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_kept_longer_than_it_holds() {
    let far = 32_503_680_000; // the year 3000
    let params = || Condition::AnyValueQueryParam { name: "x".to_owned() };
    let address = || Condition::IpAddress { pattern: "203.0.113.1".to_owned() };
    let language = || Condition::Language { language: "en".to_owned() };
    let links = [
        link("default", Settings::default(), Vec::new()),
        link("none", kept(0), Vec::new()),
        link("hour", kept(3_600), Vec::new()),
        link("limited", Settings { max_visits: Some(9), ..kept(3_600) }, Vec::new()),
        link("until", Settings { valid_until: Some(far), ..kept(3_600) }, Vec::new()),
        link("query", kept(3_600), vec![params()]),
        link("place", kept(3_600), vec![address()]),
        link("country", kept(3_600), vec![Condition::Country { country: "NZ".to_owned() }]),
        link("language", kept(3_600), vec![language()]),
        link("device", kept(3_600), vec![language(), Condition::Device { device: Device::Ios }]),
        link("date", kept(3_600), vec![Condition::Before { at: far }]),
    ];
    let server = Server::on(
        async |store| {
            store.create(&links, None).await.unwrap();
        },
        |config| config.redirect.cache_lifetime_s = 60,
    )
    .await;
    let hour = "private, max-age=3600";
    let cases: &[(&str, &str, &[&str])] = &[
        ("/default", "private, max-age=60", &[]),
        ("/none", UNCACHED, &[]),
        ("/hour", hour, &[]),
        ("/limited", UNCACHED, &[]),
        ("/until", hour, &[]),
        ("/query", hour, &[]),
        ("/place", UNCACHED, &[]),
        ("/country", UNCACHED, &[]),
        ("/language", hour, &["Accept-Language"]),
        ("/device", hour, &["User-Agent", "Accept-Language"]),
        ("/date", hour, &[]),
    ];
    for (path, expected, vary) in cases {
        let answer = server.get(path).await;
        let varies: Vec<_> =
            answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!((answer.header("cache-control"), &*varies), (*expected, *vary), "{path}");
        let ahead = server.call(Method::GET, path, &[("sec-purpose", "prefetch")], "").await;
        assert_eq!(ahead.header("cache-control"), UNCACHED, "the click must come: {path}");
    }
    assert_eq!(server.get("/unknown").await.header("cache-control"), UNCACHED);
}

#[tokio::test]
async fn an_end_that_is_near_shortens_what_is_kept() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let soon = i64::try_from(now).unwrap() + 600;
    let until = Settings { valid_until: Some(soon), ..kept(86_400) };
    let links = [
        link("until", until, Vec::new()),
        link("before", kept(86_400), vec![Condition::Before { at: soon }]),
        link("after", kept(86_400), vec![Condition::After { at: soon }]),
    ];
    let server = Server::on(
        async |store| {
            store.create(&links, None).await.unwrap();
        },
        |_| {},
    )
    .await;
    for path in ["/until", "/before", "/after"] {
        let answer = server.get(path).await;
        let kept = answer.header("cache-control").strip_prefix("private, max-age=").unwrap();
        let kept: u32 = kept.parse().unwrap();
        assert!((1..=600).contains(&kept), "{path}: {kept}");
    }
}

#[tokio::test]
async fn links_that_keep_the_method_take_any() {
    use RedirectStatus::{Found, Permanent, Temporary};
    let of = |status| Settings { redirect_status: Some(status), ..Settings::default() };
    let limited = Settings { max_visits: Some(2), ..of(Temporary) };
    let android = Condition::Device { device: Device::Android };
    let links = [
        link("none", Settings::default(), Vec::new()),
        link("found", of(Found), Vec::new()),
        link("temporary", of(Temporary), Vec::new()),
        link("permanent", of(Permanent), vec![android]),
        link("a/temporary", of(Temporary), Vec::new()),
        link("a/found", of(Found), Vec::new()),
        link("limited", limited, Vec::new()),
    ];
    let server = Server::on(
        async |store| {
            store.create(&links, None).await.unwrap();
        },
        |_| {},
    )
    .await;
    let phone =
        [("user-agent", "Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/126.0.0.0 Mobile Safari/537.36")];
    let cases = [
        ("/none", 405, "GET, HEAD, OPTIONS"),
        ("/found", 405, "GET, HEAD, OPTIONS"),
        ("/unknown", 405, "GET, HEAD, OPTIONS"),
        ("/a%20b", 405, "GET, HEAD, OPTIONS"),
        ("/temporary+", 405, "GET, HEAD, OPTIONS"),
        ("/a/found", 405, "GET, HEAD"),
        ("/a/unknown", 404, ""),
        ("/temporary?a=1", 307, "https://e.example/?a=1"),
        ("/permanent", 308, "https://rule.example/"),
        ("/a/temporary", 307, "https://e.example/"),
    ];
    for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
        for (path, status, said) in cases {
            // From the store and from memory.
            let answer = server.call(method.parse().unwrap(), path, &phone, "").await;
            let event = server.event().await;
            assert_eq!(answer.status.as_u16(), status, "{method} {path}");
            let (location, allow) = if status < 400 { (said, "") } else { ("", said) };
            assert_eq!(
                (answer.header("location"), answer.header("allow")),
                (location, allow),
                "{method} {path}"
            );
            assert_eq!((event.click, event.orphan), (status < 400, Orphan::None), "{method} {path}");
            let route = match path {
                "/a/unknown" => "unmatched",
                "/temporary+" => "/{code}+",
                path if path.starts_with("/a/") => "/{*code}",
                _ => "/{code}",
            };
            assert_eq!(event.route.as_str(), route, "{method} {path}");
        }
    }
    for (method, status) in [("POST", 307), ("HEAD", 200), ("PUT", 307), ("POST", 410), ("GET", 410)] {
        let answer = server.call(method.parse().unwrap(), "/limited", &[], "").await;
        let event = server.event().await;
        assert_eq!((answer.status.as_u16(), event.click), (status, status == 307), "{method}");
    }
    let ahead = server.call(Method::POST, "/temporary", &[("sec-purpose", "prefetch")], "").await;
    assert_eq!((ahead.status.as_u16(), server.event().await.click), (307, false));
    let asked = server.call(Method::OPTIONS, "/temporary", &[], "").await;
    assert_eq!((asked.status.as_u16(), asked.header("allow")), (204, "GET, HEAD, OPTIONS"));
}
