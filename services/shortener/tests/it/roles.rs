//! Keys and their roles: every route with every role, and lists that are narrowed.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};
use shortener::keys::{self, NewKey, Role};

use crate::server::Server;

/// A key's place in the rows below.
const KEYS: [&str; 6] = ["admin", "create-only", "read-only", "own-links", "domain", "no-orphan-visits"];

/// Method, path, body, and the status for each of [`KEYS`]. The link in `{own}` is of the key that asks where it may
/// make links, `{other}` of the admin; both are on the default domain, which is not the one that `domain` is for.
/// 404 and not 403 where a link is out of reach: that it is there is nobody's business.
type Row = (Method, &'static str, &'static str, [u16; 6]);

const LINK: &str = r#"{"longUrl":"https://example.com/"}"#;

const TABLE: &[Row] = &[
    (Method::POST, "/rest/v3/short-urls", LINK, [201, 201, 403, 201, 201, 201]),
    (Method::GET, "/rest/v3/short-urls", "", [200, 403, 200, 200, 200, 200]),
    (Method::GET, "/rest/v3/short-urls.csv", "", [200, 403, 200, 200, 200, 200]),
    // Whoever is let in learns that JSON is not imported.
    (Method::POST, "/rest/v3/short-urls.csv", LINK, [415, 415, 403, 415, 415, 415]),
    (Method::GET, "/rest/v3/short-urls/{own}", "", [200, 403, 200, 200, 404, 200]),
    (Method::GET, "/rest/v3/short-urls/{other}", "", [200, 403, 200, 404, 404, 200]),
    (Method::GET, "/rest/v3/short-urls/nobody", "", [404, 403, 404, 404, 404, 404]),
    (Method::PATCH, "/rest/v3/short-urls/{own}", r#"{"title":"t"}"#, [200, 403, 403, 200, 404, 200]),
    (Method::PATCH, "/rest/v3/short-urls/{other}", r#"{"title":"t"}"#, [200, 403, 403, 404, 404, 200]),
    (Method::GET, "/rest/v3/short-urls/{own}/redirect-rules", "", [200, 403, 200, 200, 404, 200]),
    (Method::GET, "/rest/v3/short-urls/{other}/redirect-rules", "", [200, 403, 200, 404, 404, 200]),
    (
        Method::POST,
        "/rest/v3/short-urls/{other}/redirect-rules",
        r#"{"redirectRules":[]}"#,
        [200, 403, 403, 404, 404, 200],
    ),
    (Method::GET, "/rest/v3/short-urls/{other}/history", "", [200, 403, 200, 404, 404, 200]),
    (Method::GET, "/rest/v3/short-urls/{other}/visits", "", [200, 403, 200, 404, 404, 200]),
    (Method::DELETE, "/rest/v3/short-urls/{other}/visits", "", [200, 403, 403, 404, 404, 200]),
    (Method::GET, "/rest/v3/visits", "", [200, 403, 200, 200, 200, 200]),
    (Method::GET, "/rest/v3/visits/non-orphan", "", [200, 403, 200, 200, 200, 200]),
    (Method::GET, "/rest/v3/visits/orphan", "", [200, 403, 200, 403, 403, 403]),
    (Method::DELETE, "/rest/v3/visits/orphan", "", [200, 403, 403, 403, 403, 403]),
    (Method::GET, "/rest/v3/tags", "", [200, 403, 200, 200, 200, 200]),
    (Method::GET, "/rest/v3/tags/stats", "", [200, 403, 200, 200, 200, 200]),
    (Method::GET, "/rest/v3/tags/x/visits", "", [404, 403, 404, 404, 404, 404]),
    (Method::GET, "/rest/v3/stats", "", [200, 403, 200, 200, 200, 200]),
    (Method::GET, "/rest/v3/domains/DEFAULT/visits", "", [200, 403, 200, 200, 404, 200]),
    (Method::GET, "/rest/v3/domains/DEFAULT/stats", "", [200, 403, 200, 200, 404, 200]),
    (Method::PUT, "/rest/v3/tags", r#"{"oldName":"x","newName":"y"}"#, [404, 403, 403, 403, 403, 403]),
    (Method::DELETE, "/rest/v3/tags?tags[]=x", "", [204, 403, 403, 403, 403, 403]),
    (Method::GET, "/rest/v3/domains", "", [200, 403, 200, 200, 200, 200]),
    (Method::PATCH, "/rest/v3/domains/redirects", r#"{"domain":"DEFAULT"}"#, [200, 403, 403, 403, 403, 200]),
    (Method::DELETE, "/rest/v3/short-urls/{own}", "", [204, 403, 403, 204, 404, 204]),
    (Method::DELETE, "/rest/v3/short-urls/{other}", "", [204, 403, 403, 404, 404, 204]),
];

async fn key(server: &Server, name: &str, roles: &[Role]) -> String {
    let new = NewKey { roles: roles.to_vec(), ..NewKey::named(name) };
    keys::create(server.store.as_ref(), new).await.unwrap().1
}

async fn keys_of_all_roles(server: &Server) -> [String; 6] {
    let domain = Role::Domain { domain: "t.example".to_owned() };
    [
        key(server, KEYS[0], &[]).await,
        key(server, KEYS[1], &[Role::CreateOnly]).await,
        key(server, KEYS[2], &[Role::ReadOnly]).await,
        key(server, KEYS[3], &[Role::OwnLinks]).await,
        key(server, KEYS[4], &[domain]).await,
        key(server, KEYS[5], &[Role::NoOrphanVisits]).await,
    ]
}

async fn make(server: &Server, key: &str) -> Option<String> {
    let made = server.call(Method::POST, "/rest/v3/short-urls", &[("x-api-key", key)], LINK).await;
    (made.status == 201).then(|| made.json()["shortCode"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn each_role_has_its_answer_on_each_route() {
    let server = Server::start().await;
    let keys = keys_of_all_roles(&server).await;
    let mut wrong = Vec::new();
    for (method, path, body, expected) in TABLE {
        for ((name, key), expected) in KEYS.iter().zip(&keys).zip(expected) {
            let other = make(&server, &keys[0]).await.unwrap();
            let own = match (*name, make(&server, key).await) {
                // What it makes is on its domain; these are on the default one.
                ("domain", _) | (_, None) => other.clone(),
                (_, Some(own)) => own,
            };
            let path = path.replace("{own}", &own).replace("{other}", &other);
            let answer = server.call(method.clone(), &path, &[("x-api-key", key)], body).await;
            // Whoever is let in to visits learns that there is no ClickHouse here.
            let let_in =
                answer.status == 503 && answer.json()["type"] == "urn:hoplog:error:statistics-unavailable";
            let found = if let_in { 200 } else { answer.status.as_u16() };
            if found != *expected {
                wrong.push(format!("{method} {path} with {name}: {found} instead of {expected}"));
            }
            if found == 403 {
                let kind = answer.json()["type"].as_str().unwrap_or_default().to_owned();
                assert!(kind.starts_with("https://shlink.io/api/error/forbidden"), "{kind}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn lists_and_findings_are_of_links_in_reach() {
    let server = Server::start().await;
    let [admin, create, _, own, domain, _] = keys_of_all_roles(&server).await;
    let call = async |key: &str, method: Method, path: &str, body: &Value| {
        server.call(method, path, &[("x-api-key", key)], &body.to_string()).await.json()
    };
    make(&server, &admin).await.unwrap();
    let mine = make(&server, &own).await.unwrap();
    let theirs = make(&server, &domain).await.unwrap();
    for (key, codes) in [(&own, vec![&*mine]), (&domain, vec![&*theirs]), (&admin, vec!["", "", ""])] {
        let list = call(key, Method::GET, "/rest/v3/short-urls", &Value::Null).await;
        let found = list["shortUrls"]["data"].as_array().unwrap();
        assert_eq!(list["shortUrls"]["pagination"]["totalItems"], codes.len(), "{list}");
        assert_eq!(found.len(), codes.len());
        for (link, code) in found.iter().zip(codes).filter(|(_, code)| !code.is_empty()) {
            assert_eq!(link["shortCode"], code);
        }
    }
    // What is found instead of a new one is in reach, too.
    let find = json!({ "longUrl": "https://example.com/", "findIfExists": true });
    let found = call(&own, Method::POST, "/rest/v3/short-urls", &find).await;
    assert_eq!(found["shortCode"], *mine);
    let made = call(&create, Method::POST, "/rest/v3/short-urls", &find).await;
    assert!(made["shortCode"] != *mine && made["shortCode"].is_string(), "{made}");
}

#[tokio::test]
async fn a_rotated_key_stands_for_the_same_owner() {
    let server = Server::start().await;
    let store = server.store.as_ref();
    let new = NewKey { roles: vec![Role::OwnLinks], ..NewKey::named("ci") };
    let (old, old_text) = keys::create(store, new).await.unwrap();
    let code = make(&server, &old_text).await.unwrap();
    let (new, new_text) = keys::rotate(store, &old.id, 3_600).await.unwrap().unwrap();
    assert_eq!((&new.owner, &new.roles, &new.name), (&old.owner, &old.roles, &old.name));
    assert_ne!(new.id, old.id);
    let path = format!("/rest/v3/short-urls/{code}");
    for text in [&old_text, &new_text] {
        assert_eq!(server.call(Method::GET, &path, &[("x-api-key", text)], "").await.status, 200);
    }
    let listed = keys::list(store).await.unwrap();
    let old = listed.into_iter().find(|key| key.id == old.id).unwrap();
    assert!(old.expires_at.is_some_and(|at| at > old.created_at), "the old one ends after the grace");
    let (_, third) = keys::rotate(store, &new.id, 0).await.unwrap().unwrap();
    assert_eq!(keys::rotate(store, &new.id, 0).await.unwrap(), None, "it is over");
    assert_eq!(server.call(Method::GET, &path, &[("x-api-key", &third)], "").await.status, 200);
    assert_eq!(keys::rotate(store, "nobody", 0).await.unwrap(), None);
}

#[tokio::test]
async fn a_key_for_a_domain_makes_no_loop_on_it_before_it_is_known() {
    let server = Server::start().await;
    let role = Role::Domain { domain: "mine.example".to_owned() };
    let new = NewKey { roles: vec![role], ..NewKey::named("mine") };
    let (_, key) = keys::create(server.store.inner.as_ref(), new).await.unwrap();
    let post = async |path: &str, body: &Value| {
        server.call(Method::POST, path, &[("x-api-key", &key)], &body.to_string()).await
    };
    for target in ["https://mine.example/a", "http://MINE.example./a"] {
        let link = json!({ "longUrl": target });
        let refused = post("/rest/v3/short-urls", &link).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["invalidElements"]), (400, &json!(["longUrl"])));
        let bulk = post("/rest/v3/short-urls/bulk", &json!({ "shortUrls": [link] })).await;
        assert_eq!(bulk.json()["results"][0]["status"], 400, "{}", bulk.text());
    }
    let made = post("/rest/v3/short-urls", &json!({ "longUrl": "https://other.example/" })).await;
    assert_eq!((made.status.as_u16(), &made.json()["domain"]), (201, &json!("mine.example")));
}

#[tokio::test]
async fn only_who_may_do_everything_begins_a_domain() {
    const BULK: &str = "/rest/v3/short-urls/bulk";
    const CSV: &str = "/rest/v3/short-urls.csv";
    let server = Server::start().await;
    let [admin, create, _, own, domain, no_orphans] = keys_of_all_roles(&server).await;
    let target = "https://www.example.org/";
    let on = |name: &str| json!({ "longUrl": "https://example.com/", "domain": name });
    let post = async |key: &str, path: &str, body: &Value| {
        server.call(Method::POST, path, &[("x-api-key", key)], &body.to_string()).await
    };
    let import = async |key: &str, name: &str| {
        let file = format!("domain,shortCode,longUrl\n{name},imported,https://example.com/\n");
        let headers = [("x-api-key", key), ("content-type", "text/csv")];
        server.call(Method::POST, &format!("{CSV}?format=hoplog"), &headers, &file).await.json()
    };
    let forbidden = |problem: &Value| {
        assert_eq!(problem["type"], "https://shlink.io/api/error/forbidden", "{problem}");
        assert_eq!(problem["domain"], "www.example.org", "{problem}");
    };
    for key in [&create, &own] {
        let refused = post(key, "/rest/v3/short-urls", &on("WWW.example.org")).await;
        assert_eq!(refused.status, 403);
        forbidden(&refused.json());
        let bulk =
            post(key, BULK, &json!({ "shortUrls": [on("DEFAULT"), on("www.example.org")] })).await.json();
        assert_eq!(
            (&bulk["results"][0]["status"], &bulk["results"][1]["status"]),
            (&json!(201), &json!(403))
        );
        forbidden(&bulk["results"][1]["problem"]);
        let imported = import(key, "www.example.org").await;
        assert_eq!(imported["results"][0]["result"], "invalid", "{imported}");
        forbidden(&imported["results"][0]["problem"]);
    }
    // So nobody is kept from it.
    server.link(&json!({ "longUrl": target })).await;
    // A key for a domain makes all its links there, and may make the first.
    assert_eq!(
        post(&domain, "/rest/v3/short-urls", &on("www.example.org")).await.json()["domain"],
        "t.example"
    );
    assert_eq!(post(&no_orphans, "/rest/v3/short-urls", &on("u.example")).await.status, 201);
    assert_eq!(post(&admin, "/rest/v3/short-urls", &on("www.example.org")).await.status, 201);
    for key in [&create, &own] {
        assert_eq!(post(key, "/rest/v3/short-urls", &on("www.example.org")).await.status, 201, "it is known");
    }
    assert_eq!(server.create(&json!({ "longUrl": target })).await.status, 400);
}

#[tokio::test]
async fn who_is_refused_a_domain_again_and_again_has_the_table_read_once_in_a_while() {
    let server = Server::start().await;
    let key = key(&server, "create", &[Role::CreateOnly]).await;
    let body = json!({ "longUrl": "https://example.com/", "domain": "new.example" }).to_string();
    let (before, started) = (server.store.domain_read_count(), Instant::now());
    for _ in 0..100 {
        let refused = server.call(Method::POST, "/rest/v3/short-urls", &[("x-api-key", &key)], &body).await;
        assert_eq!(refused.status, 403);
    }
    let read = server.store.domain_read_count() - before;
    // Once for the first of them, and one as it is time every few seconds.
    assert!((1..=2 + 2 * started.elapsed().as_secs()).contains(&read), "{read}");
}

#[tokio::test]
async fn there_are_only_so_many_domains() {
    let server = Server::with(|config| config.links.domains_max = 3).await;
    let on = |name: &str| json!({ "longUrl": "https://example.com/", "domain": name });
    for (name, status) in
        [("a.example", 201), ("b.example", 201), ("c.example", 400), ("a.example", 201), ("DEFAULT", 201)]
    {
        let answer = server.create(&on(name)).await;
        assert_eq!(answer.status, status, "{name} {}", answer.text());
        if status == 400 {
            assert_eq!(answer.json()["invalidElements"], json!(["domain"]));
        }
    }
}

#[tokio::test]
async fn one_call_begins_no_more_domains_than_there_may_be() {
    let server = Server::with(|config| config.links.domains_max = 3).await;
    let names = ["a", "b", "c", "a", "d"];
    let bulk: Vec<_> = names
        .iter()
        .map(|name| json!({ "longUrl": "https://example.com/", "domain": format!("{name}.example") }))
        .collect();
    let bulk = json!({ "shortUrls": bulk });
    let file = |names: &[&str]| -> String {
        let row = |name| format!("{name}.example,{name},https://example.com/\n");
        "domain,shortCode,longUrl\n".to_owned() + &names.iter().map(row).collect::<String>()
    };
    let import = async |query: &str, file: String| -> Vec<Value> {
        let headers = [("x-api-key", server.key.as_str()), ("content-type", "text/csv")];
        let path = format!("/rest/v3/short-urls.csv?format=hoplog{query}");
        let answer = server.call(Method::POST, &path, &headers, &file).await.json();
        answer["results"].as_array().unwrap().iter().map(|row| row["result"].clone()).collect()
    };
    let imported = import("&dryRun=true", file(&names[..3])).await;
    assert_eq!(imported, ["created", "created", "invalid"]);
    // A row that makes no link begins no domain.
    let wrong = "domain,shortCode,longUrl,createdAt\n\
                 x.example,x,https://example.com/,2999-01-01\n\
                 y.example,y,https://example.com/,2999-01-01\n\
                 a.example,a,https://example.com/,\n\
                 b.example,b,https://example.com/,\n";
    let imported = import("&dryRun=true", wrong.to_owned()).await;
    assert_eq!(imported, ["invalid", "invalid", "created", "created"]);
    let answer = server.api(Method::POST, "/rest/v3/short-urls/bulk", &bulk).await.json();
    let statuses: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|made| made["status"].clone()).collect();
    assert_eq!(statuses, [201, 201, 400, 201, 400], "{answer}");
    assert_eq!(answer["results"][2]["problem"]["invalidElements"], json!(["domain"]));
    assert_eq!(import("", file(&names)).await, ["created", "created", "invalid", "unchanged", "invalid"]);
}
