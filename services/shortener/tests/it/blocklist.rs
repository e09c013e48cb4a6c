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
    let target = shortener::target::parse("https://bad.example/", 2_048, &Default::default()).unwrap();
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
async fn private_targets_can_be_refused() {
    let server = Server::with(|config| config.links.private_targets = false).await;
    for target in ["http://10.0.0.1/", "http://localhost:9000/", "http://intranet/"] {
        let refused = server.create(&json!({ "longUrl": target })).await;
        assert_eq!(refused.json()["reasons"]["longUrl"], "leads into a private network", "{target}");
    }
    server.link(&json!({ "longUrl": "https://example.com/" })).await;
}
