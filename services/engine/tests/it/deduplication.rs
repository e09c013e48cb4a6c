//! A repeated insert is stored once: also when the engine was killed while its part was put in place.

use crate::harness::{Engine, until};
use std::path::{Path, PathBuf};

const TABLE: &str = "CREATE TABLE t (a UInt64, p UInt8) ENGINE = MergeTree PARTITION BY p ORDER BY tuple()
    SETTINGS non_replicated_deduplication_window = 100, old_parts_lifetime = 0, cleanup_delay_period = 1,
    cleanup_delay_period_random_add = 0, max_cleanup_delay_period = 1";

fn insert(engine: &Engine, token: &str, values: &str) {
    engine.ok(&format!("INSERT INTO t SETTINGS insert_deduplication_token = '{token}' VALUES {values}"));
}

/// The table's folder, which is the only one with a log.
fn folder(engine: &Engine) -> PathBuf {
    let store = engine.directory.path().join("clickhouse/store");
    let list = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut tables = list(&store).flat_map(|prefix| list(&prefix));
    tables.find(|table| table.join("deduplication_logs").is_dir()).unwrap()
}

fn log(table: &Path) -> String {
    std::fs::read_to_string(table.join("deduplication_logs/deduplication_log_1.txt")).unwrap()
}

fn restart(mut engine: Engine) -> Engine {
    engine.kill();
    Engine::start_on(engine.directory.clone(), "{}")
}

#[test]
fn an_insert_killed_between_its_token_and_its_part_can_be_repeated() {
    const ROWS: &str = "SELECT a, p FROM t ORDER BY a FORMAT TSV";
    let mut engine = Engine::start("{}");
    engine.ok(TABLE);
    insert(&engine, "first", "(1, 7)");
    insert(&engine, "second", "(2, 7), (3, 8)");
    let table = folder(&engine);
    let before = log(&table);
    engine.kill();
    // What the kill leaves: the token is in the log, the part of partition 8 under the name it was written as.
    std::fs::rename(table.join("8_3_3_0"), table.join("tmp_insert_8_3_3_0")).unwrap();

    let engine = Engine::start_on(engine.directory.clone(), "{}");
    assert_eq!(engine.ok(ROWS), "1\t7\n2\t7\n");
    let after = log(&table);
    let added = after.strip_prefix(&before).unwrap();
    assert!(added.starts_with("2\t8_3_3_0\t8_") && added.lines().count() == 1, "{added}");
    insert(&engine, "second", "(2, 7), (3, 8)");
    assert_eq!(
        engine.ok(ROWS),
        "1\t7\n2\t7\n3\t8\n",
        "what was there is not stored twice, the rest is stored"
    );
    for _ in 0..2 {
        insert(&engine, "first", "(1, 7)");
        insert(&engine, "second", "(2, 7), (3, 8)");
        assert_eq!(engine.ok(ROWS), "1\t7\n2\t7\n3\t8\n");
    }
    let engine = restart(engine);
    insert(&engine, "second", "(2, 7), (3, 8)");
    assert_eq!(engine.ok(ROWS), "1\t7\n2\t7\n3\t8\n", "and the token is known after one more start");
}

#[test]
fn a_token_whose_part_is_there_or_was_merged_away_is_known_after_a_restart() {
    let engine = Engine::start("{}");
    engine.ok(TABLE);
    for token in ["1", "2", "3"] {
        insert(&engine, token, &format!("({token}, 7)"));
    }
    let table = folder(&engine);
    let before = log(&table);
    let repeated = |engine: &Engine| {
        for token in ["1", "2", "3"] {
            insert(engine, token, &format!("({token}, 7)"));
        }
        assert_eq!(engine.ok("SELECT count() FROM t"), "3\n");
        assert_eq!(log(&table), before);
    };
    let engine = restart(engine);
    repeated(&engine);
    engine.ok("OPTIMIZE TABLE t FINAL");
    engine.ok("ALTER TABLE t UPDATE a = a + 1 WHERE 1 SETTINGS mutations_sync = 1");
    until("the merged parts are gone from the disk", || !table.join("7_3_3_0").exists());
    let engine = restart(engine);
    repeated(&engine);
}
