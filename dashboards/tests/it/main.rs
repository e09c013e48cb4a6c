//! The dashboards: what holds of each of them, and each of their queries on the real parts over a day with an incident.

// Clippy exempts test functions, and not what they call.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::print_stdout, reason = "what was measured, and what could not be covered, is said there")]

mod clickhouse;
mod counted;
mod day;
mod expand;
mod mistakes;
mod names;
mod panels;
mod prometheus;
mod rules;
mod samples;
mod shapes;
mod slos;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The dashboards as they are committed, by the names of their files.
fn committed() -> Vec<(String, Value)> {
    let folder = std::fs::read_dir(repository("dashboards/grafana")).unwrap();
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    };
    paths.iter().map(read).collect()
}

/// What is in a list, or nothing.
fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Panels that show something: not the titles of rows.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row")
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}
