//! Incidents, replayed minute by minute by promtool: which alerts fire, when, and when they are over. What is not expected
//! must stay silent. The incidents themselves are in `tests/incidents.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::promtool::{folder, promtool};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incidents {
    base: BTreeMap<String, Base>,
    incidents: Vec<Incident>,
}

/// A series as it is while all is well: a counter that grows, or a gauge.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    series: String,
    a_minute: Option<u64>,
    value: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incident {
    incident: String,
    story: String,
    minutes: u32,
    #[serde(default)]
    changes: Vec<Change>,
    #[serde(default)]
    alerts: Vec<Expected>,
}

/// What is different from some minute on, up to another.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    from: u32,
    to: u32,
    /// Again after as many minutes, up to the end of the replay.
    every: Option<u32>,
    /// Growth a minute of counters, values of gauges.
    #[serde(default)]
    set: BTreeMap<String, u64>,
    /// Series whose label `job` is one of these are not there. A process that comes back counts from 0.
    #[serde(default)]
    gone: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    alert: String,
    severity: String,
    /// Minute of the first evaluation at which it fires.
    fires: u32,
    /// Minute of the first one at which it no longer does; none if it goes on to the end of the replay.
    resolves: Option<u32>,
    /// Minutes in between in which it does not fire. An alert that comes and goes wakes people again and again.
    #[serde(default)]
    pauses: u32,
}

impl Change {
    fn holds(&self, minute: u32) -> bool {
        let at = match self.every {
            Some(every) if minute >= self.from => self.from + (minute - self.from) % every,
            _ => minute,
        };
        (self.from..self.to).contains(&at)
    }
}

impl Base {
    /// The series in promtool's words, a sample a minute.
    fn values(&self, name: &str, incident: &Incident) -> String {
        let job = self.series.split("job=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("");
        let (mut count, mut was_there, mut text) = (0, false, String::new());
        for minute in 0..=incident.minutes {
            let now = || incident.changes.iter().filter(|change| change.holds(minute));
            if now().any(|change| change.gone.iter().any(|gone| gone == job)) {
                // As a scrape that fails: the series ends at once, but for the one that says so.
                let fails = self.series.starts_with("up{");
                text.push_str(if fails {
                    "0 "
                } else if was_there {
                    "stale "
                } else {
                    "_ "
                });
                (count, was_there) = (0, false);
                continue;
            }
            let set = now().filter_map(|change| change.set.get(name).copied()).next_back();
            let value = match (self.a_minute, self.value) {
                (Some(growth), None) => {
                    count += if was_there { set.unwrap_or(growth) } else { 0 };
                    count
                }
                (None, Some(value)) => set.unwrap_or(value),
                _ => panic!("{name} is neither counter nor gauge"),
            };
            was_there = true;
            let _ = write!(text, "{value} ");
        }
        text
    }
}

#[derive(Serialize)]
struct TestFile {
    rule_files: Vec<String>,
    evaluation_interval: &'static str,
    tests: Vec<Test>,
}

#[derive(Serialize)]
struct Test {
    interval: &'static str,
    input_series: Vec<Input>,
    promql_expr_test: Vec<ExprTest>,
}

#[derive(Serialize)]
struct Input {
    series: String,
    values: String,
}

#[derive(Serialize)]
struct ExprTest {
    expr: String,
    eval_time: String,
    exp_samples: Vec<Sample>,
}

#[derive(Serialize)]
struct Sample {
    labels: String,
    value: u32,
}

/// Asks at the end of the replay when each alert fired first, last, and how often.
fn test(base: &BTreeMap<String, Base>, incident: &Incident) -> Test {
    let minutes = incident.minutes;
    let named: Vec<_> = incident.alerts.iter().map(|expected| expected.alert.as_str()).collect();
    let named = named.join("|");
    // All alerts of SLOs, whether expected or not, and those of the pipeline that are.
    let firing = format!(
        "max by (alertname, severity) (ALERTS{{alertstate=\"firing\",slo!=\"\"}} \
         or ALERTS{{alertstate=\"firing\",alertname=~\"{named}\"}})"
    );
    let ask = |expr: String, value: &dyn Fn(&Expected) -> u32| ExprTest {
        expr,
        eval_time: format!("{minutes}m"),
        exp_samples: incident
            .alerts
            .iter()
            .map(|expected| Sample {
                labels: format!("{{alertname=\"{}\", severity=\"{}\"}}", expected.alert, expected.severity),
                value: value(expected),
            })
            .collect(),
    };
    let end = |expected: &Expected| expected.resolves.unwrap_or(minutes + 1);
    let input = base
        .iter()
        .map(|(name, base)| Input { series: base.series.clone(), values: base.values(name, incident) });
    Test {
        interval: "1m",
        input_series: input.collect(),
        promql_expr_test: vec![
            ask(format!("min_over_time(timestamp({firing})[{minutes}m:1m])"), &|expected| {
                60 * expected.fires
            }),
            ask(format!("60 + max_over_time(timestamp({firing})[{minutes}m:1m])"), &|expected| {
                60 * end(expected)
            }),
            ask(format!("count_over_time(({firing})[{minutes}m:1m])"), &|expected| {
                end(expected) - expected.fires - expected.pauses
            }),
        ],
    }
}

fn incidents() -> Incidents {
    let text = std::fs::read_to_string(folder().join("tests/incidents.yaml")).unwrap();
    let incidents: Incidents = serde_saphyr::from_str(&text).unwrap();
    for incident in &incidents.incidents {
        let changed = incident.changes.iter().flat_map(|change| change.set.keys());
        let unknown: Vec<_> = changed.filter(|name| !incidents.base.contains_key(*name)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", incident.incident);
        assert!(incident.story.ends_with('.'), "{}", incident.incident);
    }
    incidents
}

#[test]
fn alerts_fire_and_resolve_when_they_should() {
    let Incidents { base, incidents } = incidents();
    if !promtool(&["--version"], &[]) {
        return;
    }
    let folder_of_test = tempfile::tempdir().unwrap();
    let rules = ["slos.yml", "pipeline.yml"].map(|name| folder().join("prometheus").join(name));
    let as_expected = |number: usize, incident: &Incident| {
        let file = TestFile {
            rule_files: rules.iter().map(|path| path.display().to_string()).collect(),
            evaluation_interval: "1m",
            tests: vec![test(&base, incident)],
        };
        let path = folder_of_test.path().join(format!("{number}.yml"));
        std::fs::write(&path, serde_saphyr::to_string(&file).unwrap()).unwrap();
        promtool(&["test", "rules"], &[path])
    };
    // Two at a time: each takes seconds of one core.
    let numbered: Vec<_> = incidents.iter().enumerate().collect();
    let wrong: Vec<_> = numbered
        .chunks(2)
        .flat_map(|pair| {
            std::thread::scope(|scope| {
                let running: Vec<_> = pair
                    .iter()
                    .map(|(number, incident)| (incident, scope.spawn(|| as_expected(*number, incident))))
                    .collect();
                let wrong = running.into_iter().filter_map(|(incident, replay)| {
                    replay.join().is_err().then_some(incident.incident.as_str())
                });
                wrong.collect::<Vec<_>>()
            })
        })
        .collect();
    assert!(wrong.is_empty(), "not as expected: {wrong:?}");
}

/// Every alert of an SLO fires in one incident, and stays silent in another.
#[test]
fn every_alert_of_an_slo_is_in_an_incident() {
    let incidents = incidents().incidents;
    let text = std::fs::read_to_string(folder().join("prometheus/slos.yml")).unwrap();
    let names = |prefix: &str| -> BTreeSet<String> {
        text.lines().filter_map(|line| Some(line.trim().strip_prefix(prefix)?.to_owned())).collect()
    };
    let alerts = names("- alert: ");
    assert!(alerts.len() >= 18, "{alerts:?}");
    let fired = |incident: &Incident| -> BTreeSet<String> {
        incident.alerts.iter().map(|expected| expected.alert.clone()).collect()
    };
    let ever: BTreeSet<_> = incidents.iter().flat_map(fired).collect();
    assert_eq!(alerts.difference(&ever).collect::<Vec<_>>(), Vec::<&String>::new(), "never fire");
    for alert in &alerts {
        assert!(incidents.iter().any(|incident| !fired(incident).contains(alert)), "{alert} always fires");
    }
}
