//! Links on several domains, and what domains are set to do.

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

const LINKS: &str = "/rest/v3/short-urls";

async fn domains(server: &Server) -> Value {
    let answer = server.api(Method::GET, "/rest/v3/domains", &Value::Null).await;
    assert_eq!(answer.status, 200);
    answer.json()["domains"].take()
}

#[tokio::test]
async fn a_slug_is_another_link_on_each_domain() {
    let server = Server::start().await;
    let default = server.addr.to_string();
    let on = |domain: &str, n: u8| json!({ "longUrl": format!("https://example.com/{n}"), "customSlug": "a", "domain": domain });
    let made = server.create(&on("BÜCHER.example:80", 1)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["domain"], "xn--bcher-kva.example");
    assert_eq!(made.json()["shortUrl"], "http://xn--bcher-kva.example/a");
    let port = server.create(&on("s.example:8080", 2)).await.json();
    assert_eq!(port["shortUrl"], "http://s.example:8080/a");
    assert_eq!(server.create(&on("DEFAULT", 3)).await.json()["domain"], Value::Null);
    for same in ["", &default] {
        let taken = server.create(&on(same, 4)).await;
        assert_eq!((taken.status.as_u16(), taken.json().get("domain").cloned()), (409, None), "{same}");
    }
    let taken = server.create(&on("bücher.example", 4)).await;
    assert_eq!(
        (taken.status.as_u16(), taken.json()["domain"].clone()),
        (409, json!("xn--bcher-kva.example"))
    );

    for (query, target) in [
        ("", "https://example.com/3"),
        ("?domain=DEFAULT", "https://example.com/3"),
        ("?domain=b%C3%BCcher.example", "https://example.com/1"),
        ("?domain=S.example:8080", "https://example.com/2"),
    ] {
        let link = server.api(Method::GET, &format!("{LINKS}/a{query}"), &Value::Null).await.json();
        assert_eq!(link["longUrl"], target, "{query}");
    }
    for (domain, codes) in [("s.example:8080", 1), ("DEFAULT", 1), ("s.example", 0)] {
        let list = server.api(Method::GET, &format!("{LINKS}?domain={domain}"), &Value::Null).await.json();
        assert_eq!(list["shortUrls"]["pagination"]["totalItems"], codes, "{domain}");
    }
    let path = format!("{LINKS}/a?domain=s.example:8080");
    let edited = server.api(Method::PATCH, &path, &json!({ "longUrl": "https://example.com/5" })).await;
    assert_eq!(edited.json()["longUrl"], "https://example.com/5");
    assert_eq!(server.api(Method::DELETE, &path, &Value::Null).await.status, 204);
    let gone = server.api(Method::GET, &path, &Value::Null).await;
    assert_eq!((gone.status.as_u16(), gone.json()["domain"].clone()), (404, json!("s.example:8080")));
    assert_eq!(server.api(Method::GET, &format!("{LINKS}/a"), &Value::Null).await.status, 200);
}

#[tokio::test]
async fn slugs_have_segments_and_prefixes() {
    let server = Server::start().await;
    let target = "https://example.com/";
    let made = server.create(&json!({ "longUrl": target, "customSlug": "foo/b r" })).await.json();
    assert_eq!(
        (&made["shortCode"], &made["shortUrl"]),
        (&json!("foo/b-r"), &json!(format!("http://{}/foo/b-r", server.addr)))
    );
    for path in ["foo%2Fb-r", "foo/b-r", "foo/b-r/redirect-rules", "foo%2Fb-r/history"] {
        let answer = server.api(Method::GET, &format!("{LINKS}/{path}"), &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let made = server.create(&json!({ "longUrl": target, "pathPrefix": "foo/", "shortCodeLength": 5 })).await;
    let code = made.json()["shortCode"].as_str().unwrap().to_owned();
    assert!(code.starts_with("foo/") && code.len() == 9, "{code}");
    let made = server.create(&json!({ "longUrl": target, "pathPrefix": "x-", "customSlug": "y" })).await;
    assert_eq!(made.json()["shortCode"], "x-y");
}

#[tokio::test]
async fn suggestions_go_behind_the_prefix_that_was_asked_for() {
    let server = Server::start().await;
    for (prefix, slug, suggested, code) in
        [("p/", "x", "x-2", "p/x-2"), ("a b-", " c", "-c-2", "a-b--c-2"), ("", "x", "x-2", "x-2")]
    {
        let body = json!({ "longUrl": "https://example.com/", "pathPrefix": prefix, "customSlug": slug });
        server.link(&body).await;
        let taken = server.create(&body).await;
        assert_eq!(taken.status, 409, "{prefix}{slug}");
        let suggestions = taken.json()["suggestions"].clone();
        assert_eq!(suggestions[0], suggested, "{suggestions}");
        let mut body = body;
        body["customSlug"] = suggestions[0].clone();
        assert_eq!(server.link(&body).await, code);
        // What is free is asked of whole aliases: that one is taken by now.
        body["customSlug"] = json!(slug);
        let again = server.create(&body).await.json()["suggestions"].clone();
        assert_eq!(again[0], suggested.replace('2', "3"), "{again}");
    }
}

#[tokio::test]
async fn domains_are_those_with_links_or_redirects() {
    let server = Server::start().await;
    let none =
        json!({ "baseUrlRedirect": null, "regular404Redirect": null, "invalidShortUrlRedirect": null });
    let default = |redirects: &Value| json!({ "domain": server.addr.to_string(), "isDefault": true, "redirects": redirects });
    assert_eq!(domains(&server).await, json!({ "data": [default(&none)], "defaultRedirects": none }));
    let set = async |body: Value| server.api(Method::PATCH, "/rest/v3/domains/redirects", &body).await;

    let unknown = set(json!({ "domain": "s.example" })).await;
    assert_eq!(unknown.json()["type"], "https://shlink.io/api/error/domain-not-found");
    assert_eq!((unknown.status.as_u16(), unknown.json()["authority"].clone()), (404, json!("s.example")));
    server
        .link(&json!({ "longUrl": "https://example.com/", "customSlug": "a", "domain": "s.example" }))
        .await;

    let base = set(json!({ "domain": "S.example", "baseUrlRedirect": "https://EXAMPLE.com" })).await.json();
    let mut expected = none.clone();
    expected["baseUrlRedirect"] = json!("https://example.com/");
    assert_eq!(base, expected);
    let more = json!({ "domain": "s.example", "baseUrlRedirect": null, "regular404Redirect": "https://example.com/404" });
    let mut expected = none.clone();
    expected["regular404Redirect"] = json!("https://example.com/404");
    assert_eq!(set(more).await.json(), expected);
    let all = json!({ "domain": "DEFAULT", "invalidShortUrlRedirect": "https://example.com/no" });
    let of_default = set(all).await.json();
    let listed = domains(&server).await;
    let other = json!({ "domain": "s.example", "isDefault": false, "redirects": expected });
    assert_eq!(listed["data"], json!([default(&of_default), other]));

    for (body, field) in [
        (json!({}), "domain"),
        (json!({ "domain": "a..b" }), "domain"),
        (json!({ "domain": "s.example", "baseUrlRedirect": "javascript:alert(1)" }), "baseUrlRedirect"),
        (json!({ "domain": "s.example", "regular404Redirect": "https://s.example/x" }), "regular404Redirect"),
        (json!({ "domain": "s.example", "regular404Redirect": 7 }), "regular404Redirect"),
    ] {
        let answer = set(body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["invalidElements"].clone()),
            (400, json!([field])),
            "{body}"
        );
    }
    assert_eq!(domains(&server).await, listed);
}

#[tokio::test]
async fn nothing_leads_to_a_domain_of_ours() {
    let server = Server::start().await;
    server
        .link(&json!({ "longUrl": "https://example.com/", "customSlug": "a", "domain": "s.example" }))
        .await;
    server.link(&json!({ "longUrl": "https://example.com/", "customSlug": "b" })).await;
    let own = "https://S.example:443/a";
    let calls = [
        (Method::POST, LINKS.to_owned(), json!({ "longUrl": own })),
        (Method::POST, LINKS.to_owned(), json!({ "longUrl": own, "domain": "t.example" })),
        (Method::PATCH, format!("{LINKS}/b"), json!({ "longUrl": own })),
        (
            Method::POST,
            format!("{LINKS}/b/redirect-rules"),
            json!({ "redirectRules": [{ "longUrl": own,
                    "conditions": [{ "type": "device", "matchValue": "ios" }] }] }),
        ),
        (
            Method::PATCH,
            "/rest/v3/domains/redirects".to_owned(),
            json!({ "domain": "DEFAULT", "regular404Redirect": own }),
        ),
    ];
    for (method, path, body) in calls {
        let answer = server.api(method, &path, &body).await;
        assert_eq!(answer.status, 400, "{path} {body}");
        assert!(answer.text().contains("leads to this service itself"), "{path} {}", answer.text());
    }
    // Another port is another service.
    server.link(&json!({ "longUrl": "https://s.example:8443/" })).await;
}
