//! What was acknowledged is there afterwards: after a kill, after a shutdown.

use crate::harness::Engine;
use std::sync::atomic::{AtomicU64, Ordering};

const CONFIG: &str = r#"{"shutdown_ms_max": 60000}"#;

#[test]
fn every_acknowledged_insert_survives_kill_9() {
    let mut engine = Engine::start(CONFIG);
    engine.ok("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    let directory = engine.directory.clone();
    let acknowledged = AtomicU64::new(0);
    for round in 1..=3_u64 {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    // Until the engine is gone: a request that fails was not acknowledged.
                    let insert = || {
                        let mut stream = std::net::TcpStream::connect(engine.address).ok()?;
                        let sql = "INSERT INTO t VALUES (1)";
                        let text = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{sql}", sql.len());
                        std::io::Write::write_all(&mut stream, text.as_bytes()).ok()?;
                        (crate::harness::Answer::read(stream, false).status == 200).then_some(())
                    };
                    while insert().is_some() {
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            crate::harness::until("inserts go through", || {
                acknowledged.load(Ordering::SeqCst) >= round * 200
            });
            kill(engine.id());
        });
        engine.kill();
        engine = Engine::start_on(directory.clone(), CONFIG);
        let stored: u64 = engine.ok("SELECT count() FROM t").trim().parse().unwrap();
        let acknowledged = acknowledged.load(Ordering::SeqCst);
        // One in flight a thread may have been stored and not said so, in each round.
        assert!(
            (acknowledged..=acknowledged + 3 * round).contains(&stored),
            "{acknowledged} said, {stored} stored"
        );
    }
}

#[test]
fn inserts_are_synced_unless_configured_otherwise() {
    let settings = "SELECT name, value, changed FROM system.merge_tree_settings
        WHERE name IN ('fsync_after_insert', 'fsync_part_directory') ORDER BY name FORMAT TSV";
    let synced = crate::harness::shared();
    assert_eq!(synced.ok(settings), "fsync_after_insert\t1\t1\nfsync_part_directory\t1\t1\n");
    let not = Engine::start(r#"{"sync_inserts": false}"#);
    assert_eq!(not.ok(settings), "fsync_after_insert\t0\t1\nfsync_part_directory\t0\t1\n");
}

fn kill(id: u32) {
    assert!(std::process::Command::new("kill").args(["-9", &id.to_string()]).status().unwrap().success());
}

#[test]
fn a_shutdown_finishes_what_runs_and_keeps_everything() {
    let engine = Engine::start(CONFIG);
    let directory = engine.directory.clone();
    engine.ok("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    let mut stream = engine.connect();
    let sql = "INSERT INTO t SELECT number + sleepEachRow(0.2) FROM numbers(10) SETTINGS max_block_size = 1";
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{sql}", sql.len());
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let running = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT%'";
    crate::harness::until("the insert runs", || engine.ok(running) == "1\n");
    let reader = std::thread::spawn(move || crate::harness::Answer::read(stream, false).status);
    assert!(engine.stop().success());
    assert_eq!(reader.join().unwrap(), 200, "the running insert was finished");
    let again = Engine::start_on(directory, CONFIG);
    assert_eq!(again.ok("SELECT count() FROM t"), "10\n");
}
