//! What the pipeline and its clients rely on inside the engine.

use crate::harness::{Engine, shared};

#[test]
fn the_types_and_engines_of_the_schema_work() {
    let engine = shared();
    let db = engine.database();
    engine.ok(&format!(
        "CREATE TABLE {db}.requests (ts DateTime64(6, 'UTC') COMMENT 'when' CODEC(Delta, ZSTD(1)), id UUID, service LowCardinality(String), \
         m Map(LowCardinality(String), UInt64), j JSON, e Enum8('a' = 1), n Nullable(UInt32), ip IPv6, tags Array(String)) \
         ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (service, ts) TTL toDateTime(ts) + INTERVAL 30 DAY"
    ));
    engine.ok(&format!("CREATE VIEW {db}.logs AS SELECT ts, service FROM {db}.requests"));
    engine.ok(&format!("ALTER TABLE {db}.requests ADD COLUMN late UInt8 DEFAULT 7 COMMENT 'added'"));
    engine.ok(&format!(
        "INSERT INTO {db}.requests (ts, service, m, j) VALUES (now64(6), 's', {{'a': 1}}, '{{\"x\": 1}}')"
    ));
    assert_eq!(engine.ok(&format!("SELECT service, m['a'], j.x, late FROM {db}.requests")), "s\t1\t1\t7\n");
    assert_eq!(engine.ok(&format!("SELECT count() FROM {db}.logs")), "1\n");
    assert_eq!(
        engine.ok(&format!("SELECT comment FROM system.columns WHERE database = '{db}' AND name = 'late'")),
        "added\n"
    );
    assert_eq!(
        engine.ok(&format!("SELECT sum(rows) FROM system.parts WHERE database = '{db}' AND active")),
        "1\n"
    );
    engine.ok(&format!("OPTIMIZE TABLE {db}.requests FINAL"));
    engine.ok(&format!("DROP DATABASE {db}"));
}

#[test]
fn functions_of_all_kinds_are_there() {
    let engine = shared();
    let sql = "SELECT cutToFirstSignificantSubdomain('https://a.b.example.org/x'), JSONExtractInt('{\"a\":3}', 'a'), \
               quantileTDigestWeighted(0.5)(number, toUInt32(1)) > 0, uniq(number), max(ngramDistance('abcdef', 'uvwxyz')) FROM numbers(10)";
    assert_eq!(engine.ok(sql), "example.org\t3\t1\t10\t1\n");
}

#[test]
fn too_many_queries_are_refused_and_none_is_lost() {
    let engine = Engine::start(r#"{"queries_max": 2}"#);
    std::thread::scope(|scope| {
        // The one that asks below takes a place too, now and then: again, until there is one.
        let slow = || loop {
            let sql = b"SELECT sleepEachRow(1) FROM numbers(3) SETTINGS max_block_size = 1";
            let status = engine.post(&[], sql).status;
            if status != 503 {
                break status;
            }
        };
        let running = [scope.spawn(slow), scope.spawn(slow)];
        let mut refused = None;
        crate::harness::until("a query is refused", || {
            let answer = engine.post(&[], b"SELECT 1");
            refused = (answer.status != 200).then(|| (answer.status, answer.code()));
            refused.is_some()
        });
        assert_eq!(refused, Some((503, 202)));
        assert_eq!(engine.get("/ping").status, 200, "health does not need a slot");
        for query in running {
            assert_eq!(query.join().unwrap(), 200);
        }
    });
    assert_eq!(engine.ok("SELECT 1"), "1\n");
}

#[test]
fn memory_is_bounded_for_the_whole_engine() {
    let engine = Engine::start(r#"{"memory_bytes_max": 600000000, "query_memory_bytes_max": 4000000000}"#);
    let (status, code) =
        engine.code("SELECT groupArray(toString(number)) FROM numbers(50000000) FORMAT Null");
    assert_eq!((status, code), (500, 241));
    assert_eq!(engine.ok("SELECT 1"), "1\n");
}

#[test]
fn a_query_id_is_taken_once_at_a_time() {
    let shared = shared();
    let engine = &*shared;
    std::thread::scope(|scope| {
        let twin = |sql: &[u8]| engine.post(&[("query_id", "twin")], sql).code();
        let slow = b"SELECT sleepEachRow(1) FROM numbers(3) SETTINGS max_block_size = 1";
        // The ones that ask may be first: again, until it runs.
        scope.spawn(move || while twin(slow) == 216 {});
        crate::harness::until("the id is taken", || twin(b"SELECT 1") == 216);
        crate::harness::until("the id is free", || twin(b"SELECT 1") == 0);
    });
}
