//! What runbooks tell an engineer to type is there: each `hoplog` command is one of this program, each `HOPLOG_…` setting
//! is one of this version, and each metric that alerts are made of is served by a role.

use std::collections::BTreeSet;
use std::process::Command;

use crate::harness::{Installation, get, repository};

/// Variables that runbooks name in part, or that are docker-compose.yml's own.
const NO_SETTINGS: [&str; 1] = ["HOPLOG_KAFKA__SECURITY__"];

/// Served only where Kafka is the event log and something has failed or been read there, by families that begin empty.
const ONLY_WITH_KAFKA: [&str; 2] =
    ["hoplog_kafka_delivery_failures_total", "hoplog_kafka_oldest_waiting_seconds"];
/// Served from the first failure on.
const ONLY_AFTER_A_FAILURE: [&str; 3] = [
    "hoplog_collector_failures_total",
    "hoplog_collector_dead_letter_events_total",
    "hoplog_breaker_transitions_total",
];
/// Served by `hoplog probe`, see `probe.rs`.
const OF_THE_PROBE: &str = "hoplog_probe_";

/// Everything that is written for on-call, by file.
fn pages() -> Vec<(String, String)> {
    let folder = repository("alerts/runbooks");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let policy = ["alerts/ERROR-BUDGET-POLICY.md", "alerts/POSTMORTEM.md"].map(repository);
    let page =
        |path: std::path::PathBuf| (path.display().to_string(), std::fs::read_to_string(&path).unwrap());
    files.chain(policy).map(page).collect()
}

/// What is set in backquotes or stands in a fence, line by line: what can be typed.
fn typed(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    for (number, part) in text.split("```").enumerate() {
        if number % 2 == 1 {
            lines.extend(part.lines().skip(1));
        } else {
            lines.extend(part.split('`').skip(1).step_by(2));
        }
    }
    lines
}

/// The arguments of a `hoplog` command as a shell would split them, as far as these lines need it; `None` where it is another
/// program's line.
fn arguments(line: &str) -> Option<Vec<String>> {
    let line = line.trim().strip_prefix("hoplog ")?;
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        match number % 2 {
            0 => words.extend(part.split(" | ").next().unwrap().split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words.retain(|word| word != "…");
    Some(words)
}

#[test]
fn every_command_is_one_of_this_program() {
    let mut tried = BTreeSet::new();
    for (page, text) in pages() {
        for arguments in typed(&text).into_iter().filter_map(arguments) {
            if !tried.insert(arguments.clone()) {
                continue;
            }
            // Read up to its end before help is given: what is not known there fails first.
            let mut hoplog = Command::new(env!("CARGO_BIN_EXE_hoplog"));
            let output = hoplog.args(&arguments).arg("--help").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{page}: hoplog {}\n{said}", arguments.join(" "));
        }
    }
    assert!(tried.len() >= 8, "{tried:?}");
    let mut made_up = Command::new(env!("CARGO_BIN_EXE_hoplog"));
    assert!(!made_up.args(["dlq", "list", "--no-such-flag", "--help"]).output().unwrap().status.success());
}

#[test]
fn every_setting_is_one_of_this_version() {
    let mut settings = BTreeSet::new();
    for (page, text) in pages() {
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if word.starts_with("HOPLOG_") && word != "HOPLOG_" && !NO_SETTINGS.contains(&word) {
                settings.insert((word.to_owned(), page.clone()));
            }
        }
    }
    assert!(settings.len() > 20, "{settings:?}");
    let place = tempfile::tempdir().unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_hoplog"));
    serve.arg("serve").arg("--data").arg(place.path());
    for (name, _) in &settings {
        // A value that most settings refuse, and a file that is not there: what is said of an unknown name is another thing.
        serve.env(name, "[]");
    }
    let said = String::from_utf8(serve.env("HOPLOG_SERVICE__MADE_UP", "1").output().unwrap().stderr).unwrap();
    let unknown =
        |name: &str| said.lines().any(|line| line.contains(name) && line.contains("no such setting"));
    assert!(unknown("HOPLOG_SERVICE__MADE_UP"), "{said}");
    let wrong: Vec<_> = settings.iter().filter(|(name, _)| unknown(name)).collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{said}");
}

#[test]
fn every_metric_of_the_pipelines_alerts_is_served() {
    let mut hoplog = Installation::new().up();
    hoplog.link("known", "https://example.com/");
    get(&format!("{}/no-such-link", hoplog.shortener())).unwrap_err();
    hoplog.verified();
    let served: String = [1, 2, 3]
        .map(|port| get(&format!("http://127.0.0.1:{}/metrics", hoplog.base + port)).unwrap())
        .concat();
    let source = std::fs::read_to_string(repository("alerts/pipeline.yaml")).unwrap();
    let words = source.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let metrics: BTreeSet<_> =
        words.filter(|word| word.starts_with("hoplog_") && !word.ends_with('_')).collect();
    assert!(metrics.len() > 20, "{metrics:?}");
    let elsewhere = |metric: &str| {
        ONLY_WITH_KAFKA.contains(&metric)
            || ONLY_AFTER_A_FAILURE.contains(&metric)
            || metric.starts_with(OF_THE_PROBE)
    };
    let is_served = |metric: &str| {
        let sample = |line: &str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']));
        served.lines().any(sample)
    };
    let gone: Vec<_> =
        metrics.into_iter().filter(|metric| !elsewhere(metric) && !is_served(metric)).collect();
    assert!(gone.is_empty(), "{gone:?}\n{served}");
    hoplog.down();
}
