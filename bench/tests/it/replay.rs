//! Replays: the service sees what the log says, as the script that counts the log by itself says too.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bench::mapping::code_of;
use bench::{LoadError, Replay, Speed, replay};

use crate::service;

fn options(log: &Path, directory: &Path) -> Replay {
    Replay {
        log: log.to_owned(),
        speed: Speed::Max,
        connections: 8,
        timeout_ms: 10_000,
        mapping: Some(directory.join("mapping.tsv")),
    }
}

/// What `replay-check.sh` expects of a table, by key.
fn expected(log: &Path, directory: &Path, table: &str) -> BTreeMap<String, u64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay-check.sh");
    let run = Command::new("bash")
        .arg(script)
        .args(["expect", table])
        .arg(log)
        .arg(directory.join("mapping.tsv"))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).unwrap();
    let row = |line: &str| line.split_once('\t').map(|(key, count)| (key.to_owned(), count.parse().unwrap()));
    text.lines().map(|line| row(line).unwrap()).collect()
}

#[tokio::test]
async fn the_real_log_arrives_as_awk_counts_it() {
    let directory = tempfile::tempdir().unwrap();
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/access.log.gz");
    let (target, seen) = service::start().await;
    let report = replay(&options(&log, directory.path()), &target).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.clicks, expected(&log, directory.path(), "clicks"));
    let not_found: u64 = expected(&log, directory.path(), "not_found").values().sum();
    assert_eq!(report.traffic.outcome("404"), not_found);
    assert_eq!((report.refused_links, report.traffic.answered), (0, report.traffic.requests));
    let addresses = seen.headers.iter().filter(|headers| headers.contains_key("x-forwarded-for")).count();
    assert_eq!(addresses, seen.headers.len());
    // Ten thousand lines, one of which is cut off within its user agent; redirects take no POST and no OPTIONS.
    assert_eq!((report.traffic.requests, report.malformed_lines), (9_999, 1));
    assert_eq!(seen.headers.len() as u64 + report.traffic.outcome("405"), 9_999);
}

#[tokio::test]
async fn a_bad_log_is_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let (target, _) = service::start().await;
    let log = directory.path().join("access.log");
    let run = async |bytes: &[u8]| {
        std::fs::write(&log, bytes).unwrap();
        replay(&options(&log, directory.path()), &target).await
    };
    assert!(matches!(run(b"").await, Err(LoadError::EmptyLog { malformed: 0 })));
    assert!(matches!(run(b"a\nb\n").await, Err(LoadError::EmptyLog { malformed: 2 })));
    assert!(matches!(run(b"\x1f\x8bnot gzip").await, Err(LoadError::File { .. })));
    let missing = options(Path::new("/nonexistent/log"), directory.path());
    assert!(matches!(replay(&missing, &target).await, Err(LoadError::File { .. })));
}

#[tokio::test]
async fn a_refused_link_is_named_and_the_rest_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let (target, seen) = service::start().await;
    let log = directory.path().join("access.log");
    let line = |path: &str| {
        format!("192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET {path} HTTP/1.1\" 200 1 \"-\" \"A\"\n")
    };
    std::fs::write(&log, [line("/refuse-me"), line("/a")].concat()).unwrap();
    let report = replay(&options(&log, directory.path()), &target).await.unwrap();
    assert_eq!(
        (report.refused_links, report.traffic.outcome("302"), report.traffic.outcome("404")),
        (1, 1, 1)
    );
    assert!(report.to_string().contains("/refuse-me: the service refused"), "{report}");
    assert_eq!(seen.lock().unwrap().links[&code_of("/a")], "https://site.example/a");
}
