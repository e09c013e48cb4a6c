//! The direction of dependencies: `shortener → emitter → event-log → wide-event ← collector → warehouse`;
//! the shortener reads the warehouse too, for the counts of its links.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Library and the libraries of ours that it may reach, directly or not. The engine is anyone's ClickHouse and
/// knows nothing of us; shortener and collector know each other by topic and event alone.
const MAY_REACH: [(&str, &[&str]); 10] = [
    ("wide-event", &[]),
    ("event-log", &["wide-event"]),
    ("emitter", &["event-log", "wide-event"]),
    ("shortener", &["emitter", "event-log", "warehouse", "wide-event"]),
    ("warehouse", &["wide-event"]),
    ("collector", &["warehouse", "event-log", "wide-event"]),
    ("engine", &[]),
    ("alerts", &["wide-event"]),
    ("dashboards", &[]),
    (FOR_TESTS_ONLY, &[]),
];

/// Only these stand at the top and may see any library.
const TOP: [&str; 3] = ["hoplog", "bench", "xtask"];

/// Starts real parts for tests: it knows none of our libraries, and nothing that ships is built from it.
const FOR_TESTS_ONLY: &str = "testbed";

/// Our packages and the ones of ours that each needs to be built; what only its tests need is not counted.
fn workspace() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let needs = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap();
        let built = all.iter().filter(|dependency| dependency["kind"].as_str() != Some("dev"));
        built.map(name).filter(|dependency| ours.contains(dependency)).collect()
    };
    packages.iter().map(|package| (name(package), needs(package))).collect()
}

/// What breaks the rules, in words.
fn violations(workspace: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for (package, needs) in workspace {
        if needs.contains(FOR_TESTS_ONLY) {
            found.push(format!("{package} must not depend on {FOR_TESTS_ONLY} but for its tests"));
        }
        if TOP.contains(&package.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MAY_REACH.iter().find(|(name, _)| name == package) else {
            found.push(format!("{package} has no place in the dependency direction"));
            continue;
        };
        let wrong = needs.iter().filter(|need| !allowed.contains(&need.as_str()) && *need != FOR_TESTS_ONLY);
        found.extend(wrong.map(|need| format!("{package} must not depend on {need}")));
    }
    found
}

#[test]
fn dependencies_point_in_one_direction() {
    assert_eq!(violations(&workspace()), Vec::<String>::new());
}

#[test]
fn what_may_be_reached_is_closed() {
    for (package, reach) in MAY_REACH {
        for step in reach {
            let next = MAY_REACH.iter().find(|(name, _)| name == step).unwrap().1;
            assert!(next.iter().all(|far| reach.contains(far)), "{package} reaches more through {step}");
        }
    }
}

#[test]
fn a_wrong_dependency_is_found() {
    let mut workspace = workspace();
    for (package, need) in [
        ("shortener", "collector"),
        ("collector", "shortener"),
        ("engine", "wide-event"),
        ("warehouse", FOR_TESTS_ONLY),
        ("hoplog", FOR_TESTS_ONLY),
        (FOR_TESTS_ONLY, "event-log"),
    ] {
        workspace.get_mut(package).unwrap().insert(need.to_owned());
    }
    workspace.insert("newcomer".to_owned(), BTreeSet::new());
    assert_eq!(violations(&workspace).len(), 7);
}
