//! Visits that reach no link: what the event says, and where domains send them.

use http::Method;
use serde_json::json;
use shortener::domain::DomainRedirectsEdit;
use shortener::link::NewLink;
use shortener::store::LinkStore as _;
use shortener::target::{self, Target, TargetPolicy};
use wide_event::Orphan;

use crate::server::Server;

type Headers<'a> = &'a [(&'a str, &'a str)];

const TWO: (&str, &str) = ("host", "two.example");

fn to(target: &str) -> Target {
    target::parse(target, &TargetPolicy::default()).unwrap()
}

fn goes(target: &str) -> Option<Option<Target>> {
    Some(Some(to(target)))
}

#[tokio::test]
async fn the_event_says_of_what_kind_a_visit_was_that_reached_no_link() {
    let server = Server::start().await;
    let target = "https://example.com/";
    let made = |field: &str, value: serde_json::Value| json!({ "longUrl": target, field: value });
    let gone = server.link(&made("validUntil", json!("2020-01-01T00:00:00Z"))).await;
    let early = server.link(&made("validSince", json!("2999-01-01T00:00:00Z"))).await;
    let spent = server.link(&made("maxVisits", json!(1))).await;
    let open = server.link(&json!({ "longUrl": target })).await;
    server.get(&format!("/{spent}")).await;
    let (base, invalid, regular) = (Orphan::BaseUrl, Orphan::InvalidShortUrl, Orphan::Regular404);
    let prefetch: Headers<'_> = &[("sec-purpose", "prefetch")];
    let cases: &[(Method, &str, Headers<'_>, u16, Orphan, &str)] = &[
        (Method::GET, "/", &[], 200, base, "/"),
        (Method::GET, "/?token=secret", &[], 200, base, "/"),
        (Method::GET, "/unknown", &[], 404, invalid, "/unknown"),
        (Method::GET, "/unknown?token=secret", &[], 404, invalid, "/unknown"),
        (Method::GET, &format!("/{gone}"), &[], 410, invalid, &format!("/{gone}")),
        (Method::GET, &format!("/{early}"), &[], 404, invalid, &format!("/{early}")),
        (Method::GET, &format!("/{spent}"), &[], 410, invalid, &format!("/{spent}")),
        (Method::GET, "/a/b", &[], 404, regular, "/a/b"),
        (Method::GET, "/a%20b", &[], 404, regular, "/a%20b"),
        (Method::GET, &format!("/{open}/"), &[], 404, regular, &format!("/{open}/")),
        // No visits.
        (Method::HEAD, "/", &[], 200, Orphan::None, ""),
        (Method::HEAD, "/unknown", &[], 404, Orphan::None, ""),
        (Method::GET, "/unknown", prefetch, 404, Orphan::None, ""),
        (Method::GET, "/unknown+", &[], 404, Orphan::None, ""),
        (Method::GET, &format!("/{gone}+"), &[], 410, Orphan::None, ""),
        (Method::GET, &format!("/{open}"), &[], 302, Orphan::None, ""),
        (Method::GET, "/robots.txt", &[], 200, Orphan::None, ""),
        (Method::GET, "/favicon.ico", &[], 204, Orphan::None, ""),
        (Method::GET, "/rest/nothing", &[], 404, Orphan::None, ""),
        (Method::POST, "/", &[], 405, Orphan::None, ""),
        (Method::POST, "/a/b", &[], 404, Orphan::None, ""),
    ];
    server.events().await;
    for (method, path, headers, status, kind, orphaned) in cases {
        let answer = server.call(method.clone(), path, headers, "").await;
        let event = server.event().await;
        assert_eq!(answer.status.as_u16(), *status, "{method} {path}");
        assert_eq!(
            (event.orphan, event.orphan_path.as_str()),
            (*kind, *orphaned),
            "{method} {path} {headers:?}"
        );
    }
    server.store.set_down(true);
    assert_eq!(server.get("/who-knows").await.status, 503);
    assert_eq!(server.event().await.orphan, Orphan::None, "nobody knows");
}

/// `two.example` has redirects of its own for two kinds, the default domain for all three.
async fn with_redirects() -> Server {
    let link =
        NewLink { domain: "two.example".to_owned(), ..NewLink::with_alias("x", to("https://e.example/")) };
    Server::on(
        async |store| {
            store.create(&[link], None).await.unwrap();
            let two = DomainRedirectsEdit {
                base_url: goes("https://two.site.example/?from={DOMAIN}"),
                regular_404: None,
                invalid_short_url: goes("https://two.site.example/not-found{ORIGINAL_PATH}"),
            };
            store.set_domain_redirects("two.example", &two).await.unwrap().unwrap();
            let default = DomainRedirectsEdit {
                base_url: goes("https://site.example/"),
                regular_404: goes("https://site.example/404"),
                invalid_short_url: goes("https://site.example/invalid"),
            };
            store.set_domain_redirects("", &default).await.unwrap().unwrap();
        },
        |_| {},
    )
    .await
}

#[tokio::test]
async fn domains_send_such_visits_somewhere() {
    let server = with_redirects().await;
    let cases = [
        ("two.example", "/", "https://two.site.example/?from=two.example"),
        ("two.example", "/unknown", "https://two.site.example/not-found/unknown"),
        ("two.example", "/%C3%A4", "https://two.site.example/not-found/%C3%A4"),
        ("two.example", "/a/b", "https://site.example/404"),
        ("one.example", "/", "https://site.example/"),
        ("one.example", "/unknown?a=1", "https://site.example/invalid"),
        ("one.example", "/a/b", "https://site.example/404"),
    ];
    for (host, path, location) in cases {
        for (method, is_visit) in [(Method::GET, true), (Method::HEAD, false)] {
            let answer = server.call(method, path, &[("host", host)], "").await;
            let event = server.event().await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (302, location), "{host}{path}");
            assert_eq!(answer.header("cache-control"), "private, no-store");
            assert_eq!((event.orphan != Orphan::None, event.click), (is_visit, false), "{host}{path}");
        }
    }
    assert_eq!(server.call(Method::GET, "/x", &[TWO], "").await.header("location"), "https://e.example/");
    assert_eq!(server.call(Method::GET, "/unknown+", &[TWO], "").await.status, 404, "a preview only looks");
}

#[tokio::test]
async fn redirects_of_domains_survive_the_store_and_end_no_loop() {
    let server = with_redirects().await;
    server.store.set_down(true);
    let answer = server.get("/").await;
    assert_eq!(answer.header("location"), "https://site.example/", "from memory");
    let looping = Server::on(
        async |store| {
            let edit = DomainRedirectsEdit {
                base_url: goes("https://one.example/"),
                invalid_short_url: goes("https://one.example/unknown"),
                ..DomainRedirectsEdit::default()
            };
            store.set_domain_redirects("", &edit).await.unwrap();
        },
        |_| {},
    )
    .await;
    // Those of another host than the one that is asked for are nobody's.
    assert_eq!(looping.get("/other").await.header("location"), "https://one.example/unknown");
    for (path, status) in [("/", 200), ("/unknown", 404), ("/other", 404)] {
        let answer = looping.call(Method::GET, path, &[("host", "one.example")], "").await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
}
