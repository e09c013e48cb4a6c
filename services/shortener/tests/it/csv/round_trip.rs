//! What is exported comes back as it was, whatever it looks like to a spreadsheet.

use http::Method;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use shortener::ShortenerConfig;

use super::{export, import, links, on_each_store, rows};
use crate::server::Server;

/// Links of all shapes that a creation takes.
fn link() -> impl Strategy<Value = Value> {
    let title = prop::option::of("['\"=+@＝-]{0,3}[ -~äß漢🚀]{0,20}");
    let tags = prop::collection::btree_set("['\"=+@-]{0,2}[a-z|\\\\;🚀'\"]{1,8}", 0..4);
    let slug = "[-_~a-z0-9ä🚀]{1,6}(/[a-z=]{0,0}[a-z]{1,3})?";
    let target =
        "https://[a-z]{1,8}\\.example/[-a-z=+@,;'\"|%20]{0,20}(\\?[a-z=&,+-]{0,20})?(#[a-z'\"]{0,5})?";
    let times = (prop::option::of(0..1_000_000_000_i64), prop::option::of(1_000_000_001..4_000_000_000_i64));
    let more = (
        prop::option::of(1..9_007_199_254_740_992_i64),
        any::<bool>(),
        any::<bool>(),
        prop::option::of(prop::sample::select(vec![301, 302, 307, 308])),
        prop::option::of(0..31_536_000_u32),
        prop::sample::select(vec!["", "t.example", "xn--bcher-kva.example:8443"]),
    );
    (title, tags, slug, target, times, more).prop_map(|(title, tags, slug, target, times, more)| {
        let (max_visits, crawlable, forward_query, status, lifetime, domain) = more;
        json!({
            "title": title, "tags": tags, "customSlug": slug, "longUrl": target, "domain": domain,
            "validSince": times.0.map(date), "validUntil": times.1.map(date), "maxVisits": max_visits,
            "crawlable": crawlable, "forwardQuery": forward_query, "redirectStatus": status,
            "cacheLifetime": lifetime,
        })
    })
}

fn date(seconds: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

const RULES: &str = r#"{"redirectRules":[
    {"longUrl":"https://ios.example/?a=%22","conditions":[{"type":"device","matchKey":null,"matchValue":"ios"},
        {"type":"query-param","matchKey":"=x","matchValue":"\"a\",\n🚀"}]},
    {"longUrl":"https://before.example/","conditions":[{"type":"before-date","matchKey":null,
        "matchValue":"2030-01-02T03:04:05+00:00"}]}]}"#;

#[tokio::test]
async fn what_is_exported_makes_the_same_links() {
    // From each store to a new one of the other kind.
    let (here, there) = (on_each_store(named).await, on_each_store(named).await);
    for (here, there) in here.iter().zip(there.iter().rev()) {
        same_links(here, there).await;
    }
}

/// Shlink's format has the default domain by its name.
fn named(config: &mut ShortenerConfig) {
    "https://s.example".clone_into(&mut config.links.base_url);
}

async fn same_links(here: &Server, there: &Server) {
    let mut runner = TestRunner::deterministic();
    let strategy = link();
    let mut made = 0;
    for _ in 0..300 {
        let link = strategy.new_tree(&mut runner).unwrap().current();
        let answer = here.create(&link).await;
        match answer.status.as_u16() {
            201 => made += 1,
            // A slug that another one has, or a whole that is none, as `rest`.
            400 | 409 => {}
            _ => panic!("{link}: {}", answer.text()),
        }
    }
    assert!(made > 200, "only {made} are links");
    here.link(&json!({ "longUrl": "https://ruled.example/", "customSlug": "ruled" })).await;
    let headers = [("x-api-key", here.key.as_str())];
    let ruled = here.call(Method::POST, "/rest/v3/short-urls/ruled/redirect-rules", &headers, RULES).await;
    assert_eq!(ruled.status, 200, "{}", ruled.text());
    let file = export(here, "").await;
    for cell in rows(&file).iter().flatten() {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']), "a formula: {cell:?}");
    }
    let answer = import(there, "", &file).await;
    assert_eq!((&answer["created"], &answer["rows"]), (&json!(made + 1), &json!(made + 1)), "{answer}");
    assert_eq!(answer["notCarriedOver"], json!([]));
    for (there, here) in links(there).await.iter().zip(links(here).await) {
        assert_eq!(*there, here);
    }
    let rules = there.api(Method::GET, "/rest/v3/short-urls/ruled/redirect-rules", &Value::Null).await;
    assert_eq!(rules.json(), ruled.json());
    let again = import(here, "", &file).await;
    assert_eq!(again["unchanged"], made + 1);
    // Shlink's format has less of a link, and that as it was.
    let new = Server::with(named).await;
    let answer = import(&new, "", &export(here, "?format=shlink").await).await;
    assert_eq!(answer["created"], made + 1, "{answer}");
    let told = |links: Vec<Value>| -> Vec<Value> {
        let names = ["shortCode", "domain", "longUrl", "title", "tags"];
        links.iter().map(|link| names.map(|name| link[name].clone()).into()).collect()
    };
    assert_eq!(told(links(&new).await), told(links(here).await));
    // Byte for byte, in an order that does not depend on which was stored first.
    assert_eq!(sorted(&export(there, "").await), sorted(&file));
}

fn sorted(file: &str) -> Vec<Vec<String>> {
    let mut rows = rows(file);
    rows.sort();
    rows
}
