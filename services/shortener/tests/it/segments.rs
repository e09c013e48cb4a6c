//! Slugs of several segments, and what looks like them.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn slugs_may_have_several_segments() {
    let server = Server::start().await;
    for slug in ["docs/start", "docs", "Docs/start", "grüße/an/alle"] {
        let made = server
            .create(&json!({ "longUrl": format!("https://example.com/{slug}"), "customSlug": slug }))
            .await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let target = |slug: &str| format!("https://example.com/{slug}");
    let cases = [
        ("/docs/start", 302, target("docs/start"), "/{*code}"),
        ("/docs", 302, target("docs"), "/{code}"),
        ("/Docs/start", 302, target("Docs/start"), "/{*code}"),
        ("/gr%C3%BC%C3%9Fe/an/alle", 302, target("gr%C3%BC%C3%9Fe/an/alle"), "/{*code}"),
        ("/DOCS", 404, String::new(), "/{code}"),
        ("/docs/Start", 404, String::new(), "unmatched"),
        ("/docs/", 404, String::new(), "unmatched"),
        ("/docs/start/", 404, String::new(), "unmatched"),
        ("//docs", 404, String::new(), "unmatched"),
        ("/docs//start", 404, String::new(), "unmatched"),
        ("/docs%2Fstart", 404, String::new(), "/{code}"),
        ("/docs/start%2F", 404, String::new(), "unmatched"),
    ];
    server.events().await;
    for (path, status, location, route) in cases {
        let answer = server.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, &*location), "{path}");
        assert_eq!(server.event().await.route.as_str(), route, "{path}");
    }
    let preview = server.get("/docs/start+").await;
    assert_eq!(preview.status, 200);
    assert!(preview.text().contains("https://example.com/docs/start"));
    assert_eq!(server.event().await.route.as_str(), "/{code}+");
}

#[tokio::test]
async fn no_slug_hides_a_route() {
    let server = Server::start().await;
    for slug in ["rest/v3", "REST/x", "robots.txt", ".well-known/x", "a/../b", "/a", "a/", "a//b", "a/./b"] {
        let made = server.create(&json!({ "longUrl": "https://example.com/", "customSlug": slug })).await;
        assert_eq!(made.status, 400, "{slug}");
    }
}
