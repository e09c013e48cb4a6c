//! Files as other shorteners export them.

use http::Method;
use serde_json::{Value, json};

use super::{export, fates, import, links, rows};
use crate::server::Server;

const SHLINK: &str = include_str!("fixtures/shlink.csv");
const YOURLS: &str = include_str!("fixtures/yourls.csv");
const YOURLS_PLUGIN: &str = include_str!("fixtures/yourls_plugin.csv");
const BITLY: &str = include_str!("fixtures/bitly.csv");

/// A server at the domain that the links of the files were on.
async fn moved() -> Server {
    Server::with(|config| config.links.base_url = "https://s.example".to_owned()).await
}

async fn link(server: &Server, code: &str) -> Value {
    server.api(Method::GET, &format!("/rest/v3/short-urls/{code}"), &Value::Null).await.json()
}

#[tokio::test]
async fn what_shlink_exports_is_there_afterwards() {
    let server = moved().await;
    let answer = import(&server, "", SHLINK).await;
    assert_eq!(answer["format"], "shlink");
    assert_eq!(answer["notCarriedOver"], json!(["visits"]));
    assert_eq!(fates(&answer), ["created", "created", "created", "created", "invalid"], "{answer}");
    let wrong = &answer["results"][4];
    assert_eq!(
        (&wrong["row"], &wrong["problem"]["reasons"]["longUrl"]),
        (
            &json!(6),
            &json!(
                "has none of the schemes that are allowed here: http and https, unless configured otherwise"
            )
        )
    );
    let spring = link(&server, "spring").await;
    assert_eq!(spring["title"], "Spring, the \"long\" one");
    assert_eq!(spring["tags"], json!(["campaign", "spring-2024"]));
    assert_eq!(spring["dateCreated"], "2024-03-01T08:30:00+00:00", "the creation is kept");
    assert_eq!(spring["domain"], Value::Null, "its domain is the default one here");
    assert_eq!(spring["longUrl"], "https://shop.example/spring?utm_source=mail&utm_medium=x");
    assert_eq!(link(&server, "docs%2Fintro").await["longUrl"], "https://docs.example/en/intro");
    assert_eq!(link(&server, "gr%C3%B6%C3%9Fe").await["title"], "Größe & Maß 🚀");
    let other = link(&server, "k8Zb2?domain=other.example").await;
    assert_eq!((&other["domain"], &other["title"]), (&json!("other.example"), &json!("Two lines")));
    // The file can come again, and what is exported as Shlink does says the same.
    let again = import(&server, "", SHLINK).await;
    assert_eq!(fates(&again), ["unchanged", "unchanged", "unchanged", "unchanged", "invalid"]);
    let other_server = moved().await;
    let file = export(&server, "?format=shlink").await;
    assert_eq!(rows(&file)[0].join(","), "createdAt,title,shortUrl,domain,shortCode,longUrl,tags,visits");
    import(&other_server, "", &file).await;
    assert_eq!(links(&other_server).await, links(&server).await);
}

#[tokio::test]
async fn what_yourls_exports_is_there_afterwards() {
    let server = Server::start().await;
    let answer = import(&server, "", YOURLS).await;
    assert_eq!(answer["format"], "yourls");
    assert_eq!(answer["notCarriedOver"], json!(["ip", "clicks"]), "said once");
    assert_eq!(fates(&answer), ["created"; 4], "{answer}");
    assert!(!answer.to_string().contains("192.0.2.17"), "addresses are dropped");
    let case = link(&server, "Case").await;
    assert_eq!(case["title"], "=HYPERLINK(\"https://evil.example\")");
    assert_eq!(case["dateCreated"], "2016-02-29T23:59:59+00:00");
    assert_eq!(link(&server, "case").await["longUrl"], "https://example.com/lower");
    assert_eq!(link(&server, "1f").await["longUrl"], "https://example.com/a,b?c=%22d%22");
    let plugin = import(&server, "?format=yourls", YOURLS_PLUGIN).await;
    assert_eq!(fates(&plugin), ["unchanged", "taken"]);
    assert_eq!(server.get("/ozh").await.status, 302);
}

#[tokio::test]
async fn what_bitly_exports_is_there_afterwards() {
    let server = Server::start().await;
    let answer = import(&server, "", BITLY).await;
    assert_eq!((&answer["format"], answer["rows"].as_u64()), (&json!("bitly"), Some(3)));
    assert_eq!(answer["notCarriedOver"], json!(["Engagements", "Campaign"]));
    assert_eq!(fates(&answer), ["created"; 3], "{answer}");
    let landing = link(&server, "3xYzAbC").await;
    assert_eq!((&landing["domain"], &landing["tags"]), (&Value::Null, &json!(["mail", "q3"])));
    assert_eq!(link(&server, "our-launch").await["dateCreated"], "2023-12-31T23:59:59+00:00");
    let jobs = link(&server, "jobs?domain=go.brand.example").await;
    assert_eq!(jobs["title"], "Jobs 🚀", "a domain of one's own can be brought along");
}

#[tokio::test]
async fn visits_are_there_where_they_are_known() {
    let new = json!({ "longUrl": "https://example.com/" });
    let counted = Server::with_warehouse(crate::statistics::shared("csv_visits").await, |_| {}).await;
    for (server, visits) in [(counted, "0"), (Server::start().await, "")] {
        server.link(&new).await;
        assert_eq!(rows(&export(&server, "?format=shlink").await)[1][7], visits);
    }
}
