//! Every alert has all that belongs to it: a runbook, a dashboard that is there, a query that runs, a test in which it
//! fires and one in which it stays silent. Those of SLOs are tested as incidents, elsewhere.

use std::collections::BTreeSet;
use std::path::Path;

use alerts::{Alert, Pipeline, Severity};
use serde::Deserialize;

use crate::runbooks::{ask, database, read, rules, runbook};

#[derive(Deserialize)]
struct TestFile {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    promql_expr_test: Vec<Ask>,
}

#[derive(Deserialize)]
struct Ask {
    expr: String,
    exp_samples: Vec<serde_json::Value>,
}

/// Alerts that some unit test sees fire, and those that some test only sees silent.
fn tested() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promtool")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let file: TestFile = serde_saphyr::from_str(&text).unwrap();
        for test in file.tests {
            let name = |ask: &Ask| ask.expr.split('"').nth(1).unwrap().to_owned();
            let names: BTreeSet<_> = test.promql_expr_test.iter().map(name).collect();
            for alert in names {
                let mut of_it = test.promql_expr_test.iter().filter(|ask| name(ask) == alert);
                let seen = of_it.any(|ask| !ask.exp_samples.is_empty());
                if seen { &mut fires } else { &mut silent }.insert(alert);
            }
        }
    }
    (fires, silent)
}

#[test]
fn every_alert_of_the_pipeline_fires_in_a_test_and_is_silent_in_another() {
    let (fires, silent) = tested();
    let pipeline = Pipeline::built_in().unwrap();
    let lacking = |alert: &&Alert| {
        // What is for machines, such as the watchdog, always fires.
        !fires.contains(&alert.alert) || (alert.severity != Severity::None && !silent.contains(&alert.alert))
    };
    let untested: Vec<_> = pipeline.alerts().filter(lacking).map(|alert| &alert.alert).collect();
    assert!(untested.is_empty(), "{untested:?}");
    let known: BTreeSet<_> = pipeline.alerts().map(|alert| alert.alert.clone()).collect();
    assert!(fires.union(&silent).all(|name| known.contains(name)), "tests of alerts that are gone");
}

#[test]
fn every_alert_leads_to_its_runbook() {
    let rules = rules();
    assert!(rules.len() >= 54, "{}", rules.len());
    for rule in &rules {
        let runbook_url = &rule.annotations["runbook_url"];
        assert!(runbook_url.ends_with(&format!("runbooks/{}.md", rule.alert)), "{runbook_url}");
        assert!(!runbook(&rule.alert).is_empty());
    }
}

#[test]
fn every_alert_leads_to_a_dashboard_that_is_there() {
    for rule in rules() {
        let dashboard = rule.annotations["dashboard_url"].split("/d/").nth(1).unwrap();
        let uid = dashboard.split(['?', '/']).next().unwrap();
        let text = read(&format!("../dashboards/grafana/{uid}.json"));
        let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(dashboard["uid"], uid, "{}", rule.alert);
    }
}

#[tokio::test]
async fn every_query_of_the_pipelines_alerts_runs() {
    let database = database("alert_queries").await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for alert in Pipeline::built_in().unwrap().alerts() {
        let (since, until) = (now - u64::from(alert.query_window_s), now + 60);
        let window = format!("param_service=hoplog&param_since_s={since}&param_until_s={until}");
        ask(&format!("{database}&{window}"), &alert.query)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", alert.alert, alert.query));
    }
}
