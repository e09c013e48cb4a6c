//! Links with so many visits: none is taken by who does not arrive, and nobody arrives without.

use http::Method;
use serde_json::json;
use shortener::rule::{Condition, Rule};

use crate::server::Server;

/// Visits taken of a link.
async fn taken(server: &Server, code: &str) -> i64 {
    let link = shortener::link::LinkRef::on_default(code);
    let found = server.store.inner.find(link, shortener::store::Read::Latest).await.unwrap();
    found.unwrap().visits
}

async fn visit(server: &Server, path: &str) -> u16 {
    server.get(path).await.status.as_u16()
}

#[tokio::test]
async fn a_visit_that_leads_nowhere_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("blocked");
    std::fs::write(&list, "bad.example\n").unwrap();
    let server = Server::with(|config| config.links.blocklist_files = vec![list]).await;
    let code = server.link(&json!({ "longUrl": "https://example.com/", "maxVisits": 2 })).await;
    // Stored before either was known to be no good.
    let rule = |name: &str, target: String| Rule {
        target,
        conditions: vec![Condition::ValuelessQueryParam { name: name.to_owned() }],
    };
    let itself = format!("http://{}/{code}?loop", server.addr);
    let rules = vec![rule("bad", "https://bad.example/".to_owned()), rule("loop", itself)];
    let edit =
        shortener::link::LinkEdit { rules: Some(rules), forward_query: Some(false), ..Default::default() };
    let name = shortener::link::LinkRef::on_default(&code);
    server.store.inner.edit(name, &edit).await.unwrap();
    let other = server.beside(|_| {}).await;
    assert_eq!(visit(&other, &format!("/{code}?bad")).await, 410);
    assert_eq!(visit(&server, &format!("/{code}")).await, 302, "what it knew before");
    assert_eq!(taken(&server, &code).await, 1);
    let (path, host) = (format!("/{code}?loop"), server.addr.to_string());
    assert_eq!(other.call(Method::GET, &path, &[("host", &host)], "").await.status, 404);
    assert_eq!(taken(&server, &code).await, 1);
    assert_eq!(visit(&other, &format!("/{code}")).await, 302);
    assert_eq!(visit(&other, &format!("/{code}")).await, 410);
    assert_eq!(taken(&server, &code).await, 2);
}

#[tokio::test]
async fn nobody_learns_the_target_who_takes_no_visit() {
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://example.com/secret", "maxVisits": 1 })).await;
    let ways = [
        (Method::HEAD, format!("/{code}"), "", 200),
        (Method::GET, format!("/{code}"), "prefetch", 403),
        (Method::HEAD, format!("/{code}"), "prefetch", 200),
        (Method::GET, format!("/{code}+"), "", 200),
    ];
    for (method, path, purpose, status) in ways {
        let answer = server.call(method.clone(), &path, &[("sec-purpose", purpose)], "").await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {purpose}");
        let said = format!("{:?}{}", answer.headers, answer.text());
        assert!(!said.contains("secret"), "{method} {path} {purpose}: {said}");
    }
    assert_eq!(taken(&server, &code).await, 0);
    assert_eq!(server.get(&format!("/{code}")).await.header("location"), "https://example.com/secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_everybody_follows_does_not_ask_the_store_for_each_of_them() {
    let server = std::sync::Arc::new(Server::start().await);
    let code = server.link(&json!({ "longUrl": "https://example.com/", "maxVisits": 10 })).await;
    let mut visits = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let (server, path) = (server.clone(), format!("/{code}"));
        visits.spawn(async move { visit(&server, &path).await });
    }
    let statuses = visits.join_all().await;
    let of = |status| statuses.iter().filter(|given| **given == status).count();
    assert_eq!((of(302), of(410)), (10, 490), "{statuses:?}");
    // Those that are given, the one that finds out, and those that are under way with it.
    assert!(server.store.take_count() <= 10 + 8, "{}", server.store.take_count());
}
