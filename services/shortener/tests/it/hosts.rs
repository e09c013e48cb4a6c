//! Links are looked up on the domain of the host that was asked for, and then on the default one.

use http::Method;
use serde_json::json;
use shortener::link::{LinkEdit, LinkRef, NewLink};
use shortener::store::LinkStore as _;
use shortener::target::{self, TargetPolicy};
use wide_event::Cache;

use crate::server::{Answer, Server};

fn link(domain: &str, code: &str, target: &str) -> NewLink {
    let target = target::parse(target, &TargetPolicy::default()).unwrap();
    NewLink { domain: domain.to_owned(), ..NewLink::with_alias(code, target) }
}

/// `both` on all domains, `only` on `two.example`, `home` on the default one.
async fn server(change: impl FnOnce(&mut shortener::ShortenerConfig)) -> Server {
    let links = [
        link("", "both", "https://default.example/"),
        link("", "home", "https://home.example/"),
        link("two.example", "both", "https://two.target.example/"),
        link("two.example", "only", "https://only.target.example/"),
        link("three.example:8080", "both", "https://three.target.example/"),
    ];
    Server::on(
        async |store| {
            store.create(&links, None).await.unwrap();
        },
        change,
    )
    .await
}

async fn visit(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    server.call(Method::GET, path, headers, "").await
}

#[tokio::test]
async fn links_are_found_on_their_domain_and_those_of_the_default_one_everywhere() {
    let server = server(|_| {}).await;
    let own = server.addr.to_string();
    let cases: &[(&str, &str, u16, &str, &str)] = &[
        // host, path, status, location, domain in the event
        (&own, "/both", 302, "https://default.example/", ""),
        (&own, "/only", 404, "", ""),
        ("two.example", "/both", 302, "https://two.target.example/", "two.example"),
        ("TWO.example.:80", "/both", 302, "https://two.target.example/", "two.example"),
        ("two.example:8080", "/both", 302, "https://default.example/", ""),
        ("two.example", "/only", 302, "https://only.target.example/", "two.example"),
        ("two.example", "/home", 302, "https://home.example/", ""),
        ("two.example", "/none", 404, "", "two.example"),
        ("three.example:8080", "/both", 302, "https://three.target.example/", "three.example:8080"),
        ("three.example", "/both", 302, "https://default.example/", ""),
        ("unknown.example", "/both", 302, "https://default.example/", ""),
        ("unknown.example", "/only", 404, "", ""),
    ];
    // Twice: from the store and from memory.
    for _ in 0..2 {
        for (host, path, status, location, domain) in cases {
            let answer = visit(&server, path, &[("host", host)]).await;
            let event = server.event().await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("location")),
                (*status, *location),
                "{host}{path}"
            );
            assert_eq!((event.domain.as_str(), event.click), (*domain, *status == 302), "{host}{path}");
        }
    }
}

#[tokio::test]
async fn a_link_of_the_default_domain_costs_no_more_elsewhere_once_it_is_known() {
    let server = server(|config| config.cache.negative_ms = 600_000).await;
    let host = [("host", "two.example")];
    assert_eq!(visit(&server, "/home", &host).await.status, 302);
    let finds = server.store.find_count();
    assert_eq!(finds, 2, "one for each domain");
    server.events().await;
    for _ in 0..10 {
        assert_eq!(visit(&server, "/home", &host).await.status, 302);
        let event = server.event().await;
        assert_eq!((event.cache, event.store_calls), (Cache::L1, 0));
    }
    for host in ["a.example", "b.example", "c.example"] {
        assert_eq!(visit(&server, "/home", &[("host", host)]).await.status, 302, "made-up hosts");
    }
    assert_eq!(server.store.find_count(), finds);
}

#[tokio::test]
async fn while_the_store_is_away_a_domain_still_has_what_it_had_and_gets_nothing_of_anothers() {
    let server = server(|config| {
        config.cache.fresh_ms = 1;
        config.cache.negative_ms = 1;
    })
    .await;
    let host = [("host", "two.example")];
    for path in ["/home", "/only"] {
        assert_eq!(visit(&server, path, &host).await.status, 302);
    }
    assert_eq!(server.get("/both").await.status, 302);
    server.store.set_down(true);
    for (path, status) in [("/home", 302), ("/only", 302), ("/both", 503), ("/none", 503)] {
        assert_eq!(visit(&server, path, &host).await.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn the_host_may_be_said_by_trusted_proxies_where_so_configured() {
    let proxied = |trusts: bool, forwarded: bool| {
        server(move |config| {
            config.http.forwarded_host = forwarded;
            if trusts {
                config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            }
        })
    };
    for (trusts, forwarded, said, location) in [
        (true, true, "two.example", "https://two.target.example/"),
        (true, true, "two.example, three.example:8080", "https://default.example/"),
        (false, true, "two.example", "https://default.example/"),
        (true, false, "two.example", "https://default.example/"),
    ] {
        let server = proxied(trusts, forwarded).await;
        let answer = visit(&server, "/both", &[("x-forwarded-host", said)]).await;
        assert_eq!(answer.header("location"), location, "{trusts} {forwarded} {said}");
    }
}

#[tokio::test]
async fn a_preview_names_the_link_by_its_own_domain() {
    let server = server(|_| {}).await;
    let text = visit(&server, "/only+", &[("host", "two.example")]).await.text();
    assert!(text.contains("http://two.example/only</code>"), "{text}");
    let text = visit(&server, "/home+", &[("host", "two.example")]).await.text();
    assert!(text.contains(&format!("http://{}/home</code>", server.addr)), "{text}");
}

#[tokio::test]
async fn a_link_never_leads_to_a_url_of_ours() {
    let loops = [
        link("two.example", "self", "http://two.example/self"),
        link("two.example", "tls", "https://two.example/tls"),
        link("two.example", "query", "https://two.example/query?a=1"),
        link("two.example", "other", "https://two.example/else"),
        link("two.example", "port", "https://two.example:8443/port"),
    ];
    let server = Server::on(
        async |store| {
            store.create(&loops, None).await.unwrap();
            // An edit is what the API would refuse; a store that was changed by hand has it.
            let off = LinkEdit { forward_query: Some(false), ..LinkEdit::default() };
            store.edit(LinkRef { domain: "two.example", code: "query" }, &off).await.unwrap();
        },
        |_| {},
    )
    .await;
    for (path, status) in [
        ("/self", 404),
        ("/tls", 404),
        ("/query?a=1", 404),
        ("/query?a=2", 404),
        ("/self?b=1", 404),
        // Whatever is there may lead back.
        ("/other", 404),
        ("/port", 302),
    ] {
        let answer = visit(&server, path, &[("host", "two.example")]).await;
        let event = server.event().await;
        assert_eq!(answer.status.as_u16(), status, "{path} {}", answer.header("location"));
        let looped = status == 404;
        assert_eq!((event.click, event.error_type.as_str() == "redirect_loop"), (!looped, looped), "{path}");
    }
}

#[tokio::test]
async fn no_links_lead_to_each_other_on_a_domain_that_was_none_when_they_were_made() {
    let server = Server::with(|config| config.links.own_hosts = vec!["other.example".to_owned()]).await;
    let unless_ios = json!({ "type": "device", "matchValue": "ios" });
    for (code, target) in [("x", "https://two.example/y"), ("y", "https://TWO.example:80/x?kept=1")] {
        server.link(&json!({ "longUrl": target, "customSlug": code })).await;
    }
    server.link(&json!({ "longUrl": "https://e.example/", "customSlug": "ruled" })).await;
    let rules =
        json!({ "redirectRules": [{ "longUrl": "http://two.example/x", "conditions": [unless_ios] }] });
    let path = "/rest/v3/short-urls/ruled/redirect-rules";
    assert_eq!(server.api(Method::POST, path, &rules).await.status, 200);
    let orphans = json!({ "domain": "DEFAULT", "baseUrlRedirect": "https://two.example/",
                          "invalidShortUrlRedirect": "https://two.example/{ORIGINAL_PATH}?from={DOMAIN}" });
    let path = "/rest/v3/domains/redirects";
    assert_eq!(server.api(Method::PATCH, path, &orphans).await.status, 200);
    let iphone =
        [("user-agent", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15")];
    assert_eq!(visit(&server, "/x", &[]).await.header("location"), "https://two.example/y", "nobody's yet");
    assert_eq!(visit(&server, "/", &[]).await.status, 302);
    server.link(&json!({ "longUrl": "https://e.example/", "domain": "two.example" })).await;
    server.events().await;
    for (path, headers, status) in
        [("/x", &[][..], 404), ("/y?a=1", &[], 404), ("/ruled", &iphone, 404), ("/ruled", &[], 302)]
    {
        for method in [Method::GET, Method::HEAD] {
            let answer = server.call(method.clone(), path, headers, "").await;
            let event = server.event().await;
            assert_eq!(answer.status.as_u16(), status, "{method} {path} {}", answer.header("location"));
            assert_eq!(event.error_type.as_str() == "redirect_loop", status == 404, "{method} {path}");
            assert_eq!(event.click, status == 302 && method == Method::GET, "{method} {path}");
        }
    }
    for (path, status) in [("/", 200), ("/unknown", 404)] {
        let answer = visit(&server, path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, ""), "{path}");
    }
}
