//! Runbooks: each alert has one with all its parts, what they link to is there, and their SQL runs in the real engine.
//! Their commands and settings are held against the program by its own tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use warehouse::{Warehouse, WarehouseConfig, migrate};

/// What each has, in this order.
const PARTS: [&str; 5] = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation", "## Escalation"];

/// A few rows of now, so that functions have something to work on.
const ROWS: [&str; 6] = [
    "INSERT INTO requests (ts, collected_at, route, outcome, breaker, store_calls, instance, sample_weight) VALUES (now64(6), now64(6), '/{code}', 'server_error', 'store', 1, 'i', 1)",
    "INSERT INTO requests_by_minute (minute, route, outcome, requests, duration_us_sum, latency_us) VALUES (now(), '/{code}', 'ok', 3, 300, map(100, 2, 700000, 1))",
    "INSERT INTO ingest_ledger (topic, first_offset, last_offset, messages, events, kept, collected_at) VALUES ('t', 1, 2, 2, 2, 1, now64(6)), ('t', 7, 8, 2, 2, 2, now64(6))",
    "INSERT INTO dead_letters (topic, reason, raw, appended_at, collected_at) VALUES ('t', 'missing_field', '?', now64(6), now64(6))",
    "INSERT INTO producer_sequences (instance, boot_id, first_seq, last_seq, collected_at) VALUES ('i', 'b', 1, 3, now64(6)), ('i', 'b', 5, 6, now64(6))",
    "INSERT INTO producer_boots (ts, instance, boot_id, issued, collected_at) VALUES (now64(6), 'i', 'b', 7, now64(6))",
];

/// An alerting rule as it was generated.
#[derive(Deserialize)]
pub(crate) struct Rule {
    #[serde(default)]
    pub(crate) alert: String,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

/// A file below the folder of the crate.
pub(crate) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The runbook of an alert.
pub(crate) fn runbook(alert: &str) -> String {
    read(&format!("runbooks/{alert}.md"))
}

/// All alerting rules of both files.
pub(crate) fn rules() -> Vec<Rule> {
    let files = ["prometheus/slos.yml", "prometheus/pipeline.yml"];
    let rules = files.map(|file| serde_saphyr::from_str::<Rules>(&read(file)).unwrap());
    let rules = rules.into_iter().flat_map(|file| file.groups).flat_map(|group| group.rules);
    rules.filter(|rule| !rule.alert.is_empty()).collect()
}

/// The address of a database of this schema with a few rows in it.
pub(crate) async fn database(name: &str) -> String {
    let url = format!("http://{}", testbed::shared_engine_address());
    let config = WarehouseConfig { url, database: name.to_owned(), ..WarehouseConfig::default() };
    let warehouse = Warehouse::new(&config);
    migrate(&warehouse).await.unwrap();
    for rows in ROWS {
        warehouse.execute(rows).await.unwrap();
    }
    format!("{}/?database={name}", config.url)
}

/// The engine's answer, or what it has against the query.
pub(crate) fn ask(url: &str, sql: &str) -> Result<String, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.post(url).send(sql).map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    if response.status() == 200 { Ok(text) } else { Err(text) }
}

/// What stands between the fences of a language, block by block.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// Runbooks and pages beside them, by name.
fn pages() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks")).unwrap();
    let names = entries.map(|entry| format!("runbooks/{}", entry.unwrap().file_name().display()));
    let others = ["POSTMORTEM.md", "ERROR-BUDGET-POLICY.md"].map(str::to_owned);
    names.chain(others).map(|name| (name.clone(), read(&name))).collect()
}

#[test]
fn there_is_one_for_each_alert_and_none_besides() {
    let alerts: BTreeSet<_> = rules().into_iter().map(|rule| rule.alert).collect();
    for alert in &alerts {
        let text = runbook(alert);
        assert!(text.starts_with(&format!("# {alert}\n")), "{alert} has another's title");
        let places = PARTS
            .map(|part| text.find(&format!("\n{part}\n")).unwrap_or_else(|| panic!("{alert}: no {part}")));
        assert!(places.is_sorted(), "{alert}: parts in another order");
        let queries = blocks(&text, "sql").len() + blocks(&text, "sh").len();
        assert!(queries >= 1, "{alert}: its diagnosis asks nothing");
        assert!(text.matches("\nHealthy: ").count() == queries, "{alert}: what is healthy output?");
    }
    let names = pages().into_iter().filter_map(|(name, _)| {
        Some(name.strip_prefix("runbooks/")?.strip_suffix(".md")?.to_owned()).filter(|name| name != "README")
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), alerts);
}

#[test]
fn what_they_link_to_is_there() {
    for (name, text) in pages() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            assert!(folder.parent().unwrap().join(target).exists(), "{name} links to {target}");
        }
    }
}

#[tokio::test]
async fn their_sql_runs() {
    let database = database("runbook_queries").await;
    let mut run = 0;
    for (name, text) in pages() {
        for sql in blocks(&text, "sql") {
            ask(&database, sql).unwrap_or_else(|error| panic!("{name}: {error}\n{sql}"));
            run += 1;
        }
    }
    assert!(run > 80, "{run} queries");
    assert!(ask(&database, "SELECT no_such_column FROM requests").is_err());
}
