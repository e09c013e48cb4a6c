//! Whose visits a key sees, of how many links, and what is too much to ask for.

use http::Method;
use serde_json::{Value, json};
use shortener::keys::{self, NewKey, Role};

use crate::server::Server;
use crate::statistics::{Visit, click, now, put, shared};

async fn key(server: &Server, role: Role) -> String {
    let new = NewKey { roles: vec![role], ..NewKey::named("narrow") };
    keys::create(server.store.as_ref(), new).await.unwrap().1
}

async fn make(server: &Server, key: &str, code: &str, domain: Option<&str>) {
    let link =
        json!({ "longUrl": "https://example.com/", "customSlug": code, "tags": ["t"], "domain": domain });
    let answer =
        server.call(Method::POST, "/rest/v3/short-urls", &[("x-api-key", key)], &link.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

async fn read(server: &Server, key: &str, path: &str) -> Value {
    let answer = server.call(Method::GET, path, &[("x-api-key", key)], "").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// One click more of each link than of the one before; each key gets what is of its links alone.
#[tokio::test]
async fn totals_and_tags_are_narrowed_to_what_a_key_reaches() {
    let warehouse = shared("visits_scope_keys").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let own = key(&server, Role::OwnLinks).await;
    let domain = key(&server, Role::Domain { domain: "t.example".to_owned() }).await;
    make(&server, &server.key, "one", None).await;
    make(&server, &own, "two", None).await;
    make(&server, &domain, "three", None).await;
    make(&server, &server.key, "four", Some("t.example")).await;
    let mut clicks = Vec::new();
    for (count, code, domain) in
        [(1, "one", ""), (2, "two", ""), (4, "three", "t.example"), (8, "four", "t.example")]
    {
        clicks.extend((0..count).map(|_| click(domain, code, now() + 5)));
    }
    put(&warehouse, &clicks).await;
    for (key, total) in [(&server.key, 15), (&own, 2), (&domain, 12)] {
        let overview = read(&server, key, "/rest/v3/visits").await["visits"].clone();
        assert_eq!(overview["nonOrphanVisits"]["total"], total, "{overview}");
        assert_eq!(overview["linksCut"], false);
        let stats = read(&server, key, "/rest/v3/stats").await["stats"].clone();
        assert_eq!((&stats["total"], &stats["countries"][0]["total"]), (&json!(total), &json!(total)));
        for path in ["visits/non-orphan", "tags/t/visits"] {
            let visits = read(&server, key, &format!("/rest/v3/{path}")).await["visits"].clone();
            assert_eq!(visits["pagination"]["totalItems"], total, "{path}");
            assert_eq!(visits["data"].as_array().unwrap().len(), total);
        }
        let tags = read(&server, key, "/rest/v3/tags/stats").await["tags"]["data"].clone();
        assert_eq!(tags[0]["visitsSummary"]["total"], total, "{tags}");
        assert_eq!(read(&server, key, "/rest/v3/tags/t/stats").await["stats"]["total"], total);
    }
    assert_eq!(read(&server, &own, "/rest/v3/domains/t.example/stats").await["stats"]["total"], 0);
    assert_eq!(read(&server, &domain, "/rest/v3/domains/t.example/stats").await["stats"]["total"], 12);
    let counts = read(&server, &domain, "/rest/v3/tags/stats").await["tags"]["data"].clone();
    assert_eq!(counts[0]["shortUrlsCount"], 2);
}

/// Visits of links and visits that reached none, of each domain another number.
#[tokio::test]
async fn lists_of_visits_are_narrowed_to_a_domain() {
    let warehouse = shared("visits_scope_domain").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let own = key(&server, Role::OwnLinks).await;
    let bound = key(&server, Role::Domain { domain: "t.example".to_owned() }).await;
    make(&server, &server.key, "one", None).await;
    make(&server, &server.key, "three", Some("t.example")).await;
    make(&server, &own, "two", Some("t.example")).await;
    let mut visits = Vec::new();
    for (count, code, domain, kind) in [
        (1, "one", "", "click"),
        (2, "two", "t.example", "click"),
        (4, "three", "t.example", "click"),
        (8, "/", "", "base_url"),
        (16, "/", "t.example", "base_url"),
        (32, "/a/b", "t.example", "regular_404"),
    ] {
        visits.extend((0..count).map(|_| Visit { kind, ..click(domain, code, now() + 5) }));
    }
    put(&warehouse, &visits).await;
    let at = server.addr.to_string();
    for (path, all, default, other) in
        [("non-orphan?", 7, 1, 6), ("orphan?", 56, 8, 48), ("orphan?type=base_url&", 24, 8, 16)]
    {
        for (domain, total) in [
            ("", all),
            ("domain=DEFAULT", default),
            (&format!("domain={at}"), default),
            ("domain=t.example", other),
            ("domain=T.EXAMPLE", other),
            ("domain=unknown.example", 0),
            ("domain=a..b", 0),
        ] {
            let path = format!("/rest/v3/visits/{path}{domain}&itemsPerPage=5");
            let list = read(&server, &server.key, &path).await["visits"].clone();
            assert_eq!(list["pagination"]["totalItems"], total, "{path}");
            assert_eq!(list["data"].as_array().unwrap().len(), total.min(5), "{path}");
            let marks = ["completeThrough", "stale", "linksCut"].map(|mark| list.get(mark).is_some());
            assert_eq!(marks, [true; 3], "{path}");
        }
    }
    // No key gets to see more for it.
    for (key, domain, total) in
        [(&own, "DEFAULT", 0), (&own, "t.example", 2), (&bound, "DEFAULT", 0), (&bound, "t.example", 6)]
    {
        let list = read(&server, key, &format!("/rest/v3/visits/non-orphan?domain={domain}")).await;
        assert_eq!(list["visits"]["pagination"]["totalItems"], total, "{domain}");
    }
}

#[tokio::test]
async fn an_answer_says_that_it_is_of_the_newest_links_only() {
    let warehouse = shared("visits_scope_cut").await;
    let server = Server::with_warehouse(warehouse.clone(), |config| config.statistics.links_max = 2).await;
    let mut clicks = Vec::new();
    for code in ["a", "b"] {
        make(&server, &server.key, code, None).await;
        clicks.push(click("", code, now() + 5));
    }
    put(&warehouse, &clicks).await;
    let whole = read(&server, &server.key, "/rest/v3/tags/t/visits").await["visits"].clone();
    assert_eq!((&whole["linksCut"], &whole["pagination"]["totalItems"]), (&json!(false), &json!(2)));
    make(&server, &server.key, "c", None).await;
    let cut = read(&server, &server.key, "/rest/v3/tags/t/visits").await["visits"].clone();
    assert_eq!((&cut["linksCut"], &cut["pagination"]["totalItems"]), (&json!(true), &json!(1)));
    assert_eq!(read(&server, &server.key, "/rest/v3/tags/t/stats").await["stats"]["linksCut"], true);
    // Of tags with more links than one question may be about nothing is said, rather than too little.
    let tags = read(&server, &server.key, "/rest/v3/tags/stats").await["tags"]["data"].clone();
    assert_eq!(tags[0]["visitsSummary"], Value::Null);
}

#[tokio::test]
async fn who_asks_for_too_much_is_told_so() {
    let warehouse = shared("visits_scope_much").await;
    let server =
        Server::with_warehouse(warehouse.clone(), |config| config.statistics.rows_read_max = 3).await;
    make(&server, &server.key, "much", None).await;
    let clicks: Vec<_> = (0..9).map(|hour| click("", "much", now() + 5 + hour * 3_600)).collect();
    put(&warehouse, &clicks).await;
    let answer = server.api(Method::GET, "/rest/v3/short-urls/much/stats", &Value::Null).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.json()["type"], "urn:hoplog:error:statistics-too-much");
    assert!(answer.json()["detail"].as_str().unwrap().contains("shorter time"));
    // Others get their answers.
    assert_eq!(read(&server, &server.key, "/rest/v3/visits/orphan").await["visits"]["data"], json!([]));
}
