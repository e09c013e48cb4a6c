//! Hosts on a blocklist: no link is made to them, and links that lead there are not followed.

use http::Method;
use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn listed_hosts_are_refused_and_existing_links_blocked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts");
    std::fs::write(&path, "0.0.0.0 bad.example\n").unwrap();
    let server = Server::with(|config| config.links.blocklist_files = vec![path]).await;
    let refused = server.create(&json!({ "longUrl": "https://www.BAD.example/x" })).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["reasons"]["longUrl"], "leads to a host that is blocked here");
    let code = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    let edit = json!({ "longUrl": "https://bad.example/" });
    let edited = server.api(Method::PATCH, &format!("/rest/v3/short-urls/{code}"), &edit).await;
    assert_eq!(edited.status, 400);
    // One from before the host was listed.
    let target = shortener::target::parse("https://bad.example/", &Default::default()).unwrap();
    let old = shortener::link::NewLink::with_alias("old", target);
    shortener::store::LinkStore::create(server.store.as_ref(), &[old], None).await.unwrap();
    server.events().await;
    for path in ["/old", "/old+"] {
        let blocked = server.get(path).await;
        assert_eq!(blocked.status, 410, "{path}");
        assert!(!blocked.headers.contains_key("location") && !blocked.text().contains("bad.example"));
        assert_eq!(server.event().await.error_type.as_str(), "target_blocked");
    }
    assert_eq!(server.get(&format!("/{code}")).await.status, 302);
}

#[tokio::test]
async fn domains_send_nobody_to_a_host_that_was_listed_since() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts");
    std::fs::write(&path, "bad.example\n").unwrap();
    let to = |url: &str| Some(Some(shortener::target::parse(url, &Default::default()).unwrap()));
    let server = Server::on(
        async |store| {
            let edit = shortener::domain::DomainRedirectsEdit {
                base_url: to("https://www.bad.example/"),
                invalid_short_url: to("https://bad.example/{ORIGINAL_PATH}"),
                regular_404: to("https://good.example/"),
            };
            shortener::store::LinkStore::set_domain_redirects(store, "", &edit).await.unwrap();
        },
        |config| config.links.blocklist_files = vec![path],
    )
    .await;
    for (path, status, location) in
        [("/", 200, ""), ("/unknown", 404, ""), ("/a/b", 302, "https://good.example/")]
    {
        let answer = server.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, location), "{path}");
        assert!(!answer.text().contains("bad.example"), "{path}");
    }
}

#[tokio::test]
async fn private_targets_can_be_refused() {
    let server = Server::with(|config| config.links.private_targets = false).await;
    for target in ["http://10.0.0.1/", "http://localhost:9000/", "http://intranet/"] {
        let refused = server.create(&json!({ "longUrl": target })).await;
        assert_eq!(refused.json()["reasons"]["longUrl"], "leads into a private network", "{target}");
    }
    server.link(&json!({ "longUrl": "https://example.com/" })).await;
}
