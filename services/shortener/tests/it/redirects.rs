//! What visitors get.

use std::sync::Arc;

use http::Method;
use serde_json::json;
use tokio::task::JoinSet;
use wide_event::Cache;

use crate::server::Server;

#[tokio::test]
async fn a_redirect_is_not_cacheable_and_says_what_served_it() {
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://example.com/ä?q=1" })).await;
    server.events().await;
    let visited = server.get(&format!("/{code}")).await;
    assert_eq!(visited.status, 302);
    assert_eq!(visited.header("location"), "https://example.com/%C3%A4?q=1");
    assert_eq!(visited.header("cache-control"), "private, no-store");
    assert!(visited.body.is_empty());
    let event = server.event().await;
    assert_eq!((event.code.as_str(), event.link_id, event.link_version), (code.as_str(), 1, 1));
    assert_eq!(event.target_host.as_str(), "example.com");
    assert_eq!((event.cache, event.store_calls, event.click), (Cache::L1, 0, true));
    assert_eq!((event.route.as_str(), event.error_type.as_str()), ("/{code}", ""));
    let headed = server.call(Method::HEAD, &format!("/{code}"), &[], "").await;
    assert_eq!((headed.status.as_u16(), headed.header("location")), (302, visited.header("location")));
    assert!(!server.event().await.click, "HEAD is no click");
    let asked = server.call(Method::OPTIONS, &format!("/{code}"), &[], "").await;
    assert_eq!((asked.status.as_u16(), asked.header("allow")), (204, "GET, HEAD, OPTIONS"));
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE] {
        let refused = server.call(method, &format!("/{code}"), &[], "").await;
        assert_eq!(refused.status, 405);
        assert!(refused.header("allow").contains("GET"));
    }
}

#[tokio::test]
async fn versions_count_edits_of_the_target() {
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://one.example/" })).await;
    let path = format!("/rest/v3/short-urls/{code}");
    for (edit, version) in [
        (json!({ "title": "t" }), 1),
        (json!({ "longUrl": "https://two.example/" }), 2),
        (json!({ "longUrl": "https://two.example/" }), 2),
        (json!({ "longUrl": "https://three.example/" }), 3),
    ] {
        server.api(Method::PATCH, &path, &edit).await;
        server.events().await;
        server.get(&format!("/{code}")).await;
        let event = server.event().await;
        assert_eq!(event.link_version, version);
        assert_eq!(event.cache, Cache::L1, "an edit is in memory at once");
    }
}

#[tokio::test]
async fn unknown_paths_are_404_and_gone_links_410() {
    let server = Server::start().await;
    let target = "https://example.com/";
    let gone = json!({ "longUrl": target, "validUntil": "2020-01-01T00:00:00Z" });
    let gone = server.link(&gone).await;
    let early = server.link(&json!({ "longUrl": target, "validSince": "2999-01-01T00:00:00Z" })).await;
    let long = "a".repeat(300);
    for (path, status) in [
        ("/unknown", 404),
        ("/", 200),
        ("/+", 404),
        ("/a/b", 404),
        ("/%00", 404),
        ("/%ff%fe", 404),
        ("/a%2fb", 404),
        ("/%3Cscript%3E", 404),
        ("/%2e%2e%2fetc", 404),
        ("/a%0d%0aSet-Cookie:x=y", 404),
        ("/robots.txt", 200),
        ("/favicon.ico", 204),
        (&format!("/{long}"), 404),
        (&format!("/{gone}"), 410),
        (&format!("/{gone}+"), 410),
        (&format!("/{early}"), 404),
        (&format!("/{gone}/"), 404),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(!answer.text().contains("<script"), "{path}");
        assert!(answer.headers.get("set-cookie").is_none(), "{path}");
        assert!(answer.headers.get("location").is_none(), "{path}");
    }
}

#[tokio::test]
async fn slugs_in_other_scripts_are_found() {
    let server = Server::start().await;
    let body = json!({ "longUrl": "https://example.com/", "customSlug": "grüße an" });
    let made = server.create(&body).await.json();
    assert_eq!(made["shortCode"], "grüße-an");
    assert_eq!(made["shortUrl"], format!("http://{}/gr%C3%BC%C3%9Fe-an", server.addr));
    assert_eq!(server.get("/gr%C3%BC%C3%9Fe-an").await.status, 302);
    assert_eq!(server.get("/gr%c3%bc%c3%9fe%2Dan").await.status, 302);
}

#[tokio::test]
async fn a_preview_shows_where_a_link_leads_and_escapes_it() {
    let server = Server::start().await;
    let mut body = json!({ "longUrl": "https://example.com/?a=1&b='><script>alert(1)</script>",
                           "title": "</title><script>alert(2)</script>" });
    let code = server.link(&body).await;
    body["maxVisits"] = json!(1);
    let limited = server.link(&body).await;
    for _ in 0..3 {
        for (code, shows) in [(&code, true), (&limited, false)] {
            let preview = server.get(&format!("/{code}+")).await;
            assert_eq!(preview.status, 200, "a preview takes no visit");
            let text = preview.text();
            assert_eq!(text.contains("https://example.com/?a=1&#38;b=%27%3E%3Cscript"), shows, "{text}");
            assert!(text.contains("&#60;/title&#62;") && !text.contains("<script"), "{text}");
            assert!(preview.header("content-security-policy").starts_with("default-src 'none'"));
        }
    }
    assert_eq!(server.get("/nothing+").await.status, 404);
}

#[tokio::test]
async fn queries_are_forwarded_where_asked_for_and_not_to_the_event() {
    let server = Server::start().await;
    let on = server.link(&json!({ "longUrl": "https://example.com/?a=1" })).await;
    let off = server.link(&json!({ "longUrl": "https://example.com/?a=1", "forwardQuery": false })).await;
    server.events().await;
    let visited = server.get(&format!("/{on}?secret=x&a=2")).await;
    assert_eq!(visited.header("location"), "https://example.com/?secret=x&a=2");
    assert_eq!(server.get(&format!("/{on}?")).await.header("location"), "https://example.com/?a=1");
    assert_eq!(server.get(&format!("/{off}?b=2")).await.header("location"), "https://example.com/?a=1");
    let long = format!("/{on}?{}", "q".repeat(2_000));
    assert_eq!(server.get(&long).await.header("location"), "https://example.com/?a=1");
    assert!(!format!("{:?}", server.events().await).contains("secret"));
}

#[tokio::test]
async fn max_visits_is_exact() {
    let server = Arc::new(Server::start().await);
    let code = server.link(&json!({ "longUrl": "https://example.com/", "maxVisits": 100 })).await;
    for _ in 0..5 {
        let head = server.call(Method::HEAD, &format!("/{code}"), &[], "").await;
        assert_eq!(head.status, 200, "HEAD takes none");
        assert_eq!(head.header("location"), "", "and is not told what a visit is");
    }
    let mut visits = JoinSet::new();
    for _ in 0..500 {
        let (server, path) = (server.clone(), format!("/{code}"));
        visits.spawn(async move { server.get(&path).await.status.as_u16() });
    }
    let mut statuses = std::collections::BTreeMap::new();
    while let Some(status) = visits.join_next().await {
        *statuses.entry(status.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [(302, 100), (410, 400)]);
    assert_eq!(server.call(Method::HEAD, &format!("/{code}"), &[], "").await.status, 410);
    let path = format!("/rest/v3/short-urls/{code}");
    assert_eq!(server.api(Method::PATCH, &path, &json!({ "maxVisits": 101 })).await.status, 200);
    assert_eq!(server.get(&format!("/{code}")).await.status, 302, "one more");
    assert_eq!(server.get(&format!("/{code}")).await.status, 410);
    assert_eq!(server.api(Method::PATCH, &path, &json!({ "maxVisits": null })).await.status, 200);
    assert_eq!(server.get(&format!("/{code}")).await.status, 302, "without a limit again");
}

#[tokio::test]
async fn a_limit_lifted_elsewhere_refuses_nobody() {
    use shortener::link::{LinkEdit, LinkRef};
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://example.com/", "maxVisits": 1 })).await;
    let edit = LinkEdit { max_visits: Some(None), ..LinkEdit::default() };
    server.store.inner.edit(LinkRef::on_default(&code), &edit).await.unwrap();
    for _ in 0..3 {
        assert_eq!(server.get(&format!("/{code}")).await.status, 302);
    }
}

#[tokio::test]
async fn robots_may_follow_what_is_crawlable() {
    let server = Server::start().await;
    for slug in ["open.door", "grüße/my-promo"] {
        let body = json!({ "longUrl": "https://example.com/", "customSlug": slug, "crawlable": true });
        server.link(&body).await;
    }
    server.link(&json!({ "longUrl": "https://example.com/" })).await;
    let robots = server.get("/robots.txt").await;
    let allowed = "Allow: /gr%C3%BC%C3%9Fe/my-promo$\nAllow: /open.door$\n";
    assert_eq!(robots.text(), format!("User-agent: *\n{allowed}Disallow: /\n"));
    assert_eq!(robots.header("content-type"), "text/plain; charset=utf-8");

    // Each domain has its own.
    let there = json!({ "longUrl": "https://example.com/", "customSlug": "there", "crawlable": true,
                        "domain": "two.example" });
    server.link(&there).await;
    let of = async |host: &str| server.call(Method::GET, "/robots.txt", &[("host", host)], "").await.text();
    assert_eq!(of("Two.example:80").await, "User-agent: *\nAllow: /there$\nDisallow: /\n");
    assert_eq!(of("unknown.example").await, format!("User-agent: *\n{allowed}Disallow: /\n"));
    server.store.set_down(true);
    assert_eq!(of("two.example").await, "User-agent: *\nAllow: /there$\nDisallow: /\n", "from memory");
}
