//! Starts that must fail, and say why.

use crate::harness::{Engine, command};
use std::io::Read;
use std::process::Stdio;

/// What an engine that does not start writes, and that it exits unsuccessfully.
fn failure(directory: &std::path::Path, arguments: &[&str]) -> String {
    let mut child = command(directory, "{}").args(arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(!child.wait().unwrap().success(), "{text}");
    text
}

#[test]
fn a_second_engine_on_the_same_directory_is_refused() {
    let engine = Engine::start("{}");
    let text = failure(engine.directory.path(), &[]);
    assert!(text.contains("another engine is running on"), "{text}");
    assert_eq!(engine.ok("SELECT 1"), "1\n");
}

#[test]
fn a_missing_or_corrupt_library_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("nowhere/libchdb.so");
    let text = failure(directory.path(), &["--library", missing.to_str().unwrap()]);
    assert!(text.contains(missing.to_str().unwrap()) && text.contains("cargo xtask up"), "{text}");
    let corrupt = directory.path().join("libchdb.so");
    std::fs::write(&corrupt, b"\x7fELF and then nothing").unwrap();
    let text = failure(directory.path(), &["--library", corrupt.to_str().unwrap()]);
    assert!(text.contains(corrupt.to_str().unwrap()) && text.contains("not a usable libchdb"), "{text}");
}

#[test]
fn a_directory_that_cannot_be_used_and_a_wrong_configuration_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let text = failure(&file, &[]);
    assert!(text.contains("cannot use the data directory"), "{text}");
    let text = failure(directory.path(), &["--config", r#"{"queries_max": 0, "users": []}"#]);
    assert!(text.contains("queries_max") && text.contains("users"), "{text}");
    let text = failure(directory.path(), &["--config", r#"{"nope": 0}"#]);
    assert!(text.contains("nope"), "{text}");
}
