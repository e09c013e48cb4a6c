//! The rules as Prometheus's own tool reads and runs them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the crate.
pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs promtool, which has to succeed. Says `NOT COVERED` and returns false where there is none.
pub(crate) fn promtool(arguments: &[&str], files: &[PathBuf]) -> bool {
    let output = match Command::new("promtool").args(arguments).args(files).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("NOT COVERED: promtool {}: there is no promtool", arguments.join(" "));
            return false;
        }
        Err(error) => panic!("promtool: {error}"),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "promtool {}\n{}{}",
        arguments.join(" "),
        text(&output.stdout),
        text(&output.stderr)
    );
    true
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    files
}

#[test]
fn rules_are_valid() {
    let files = files_in(&folder().join("prometheus"));
    assert!(files.len() >= 2, "{files:?}");
    promtool(&["check", "rules"], &files);
}

#[test]
fn unit_tests_hold() {
    let mut files = files_in(&folder().join("tests/promtool"));
    files.push(folder().join("tests/texts.yml"));
    promtool(&["test", "rules"], &files);
}

#[test]
fn what_is_committed_is_what_is_generated() {
    for file in alerts::generate().unwrap() {
        let found = std::fs::read_to_string(folder().join(file.path)).unwrap_or_default();
        assert!(found == file.text, "{} is not up to date: cargo xtask gen", file.path);
    }
}
