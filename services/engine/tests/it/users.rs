//! Who gets in, and what nobody or a reader may do. The library itself would allow nearly all of it.

use crate::harness::{Answer, Engine, shared};

const USERS: &str = r#"{"users": [
    {"name": "default", "password": "admin-pw"},
    {"name": "analyst", "password": "read-pw", "readonly": true}], "reader_seconds_max": 5}"#;

fn analyst(engine: &Engine, parameters: &[(&str, &str)], sql: &str) -> Answer {
    let headers = [("X-ClickHouse-User", "analyst"), ("X-ClickHouse-Key", "read-pw")];
    engine.request("POST", &crate::harness::target(parameters), &headers, sql.as_bytes())
}

#[test]
fn a_password_is_asked_for_in_three_ways() {
    let engine = Engine::start(USERS);
    let ask = |target: &str, headers: &[(&str, &str)]| {
        let answer = engine.request("POST", target, headers, b"SELECT 1");
        (answer.status, answer.code())
    };
    assert_eq!(ask("/", &[("X-ClickHouse-User", "default"), ("X-ClickHouse-Key", "admin-pw")]), (200, 0));
    assert_eq!(ask("/?user=analyst&password=read-pw", &[]), (200, 0));
    assert_eq!(ask("/", &[("Authorization", "Basic YW5hbHlzdDpyZWFkLXB3")]), (200, 0));
    assert_eq!(ask("/", &[]), (401, 194), "none given");
    assert_eq!(ask("/?user=default&password=read-pw", &[]), (403, 516));
    assert_eq!(ask("/?user=nobody&password=x", &[]), (403, 516));
    assert_eq!(
        ask("/?user=default&password=admin-pw", &[("Authorization", "Basic YW5hbHlzdDpyZWFkLXB3")]),
        (403, 516)
    );
    assert_eq!(engine.get("/ping").status, 200);
}

#[test]
fn a_reader_reads_with_settings_and_changes_nothing() {
    let engine = Engine::start(USERS);
    let admin = |sql: &str| {
        let answer = engine.post(&[("user", "default"), ("password", "admin-pw")], sql.as_bytes());
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text()
    };
    admin("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a");
    admin("INSERT INTO t VALUES (1)");
    // Grafana and clickhouse-connect send settings like these.
    let allowed =
        [("max_execution_time", "4"), ("max_result_rows", "100"), ("date_time_input_format", "best_effort")];
    assert_eq!(analyst(&engine, &allowed, "SELECT a FROM t").text(), "1\n");
    assert_eq!(
        analyst(&engine, &[("session_id", "s")], "SELECT getSetting('max_execution_time')").text(),
        "5\n"
    );
    for sql in [
        "INSERT INTO t VALUES (2)",
        "INSERT INTO t FORMAT TSV\n2\n",
        "INSERT INTO t SELECT 2",
        "DROP TABLE t",
        "TRUNCATE TABLE t",
        "CREATE TABLE u (a UInt8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE u (a UInt8)",
        "ALTER TABLE t DELETE WHERE 1",
        "CREATE FUNCTION f AS x -> x",
        "KILL QUERY WHERE 1",
        "SYSTEM FLUSH LOGS",
        "SYSTEM SHUTDOWN",
        "OPTIMIZE TABLE t",
        "SET readonly = 0",
        "SET max_threads = 1",
        "SET profile = 'default'",
        "SET ROLE NONE",
        "USE system",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1 SETTINGS profile = 'default', max_execution_time = 999",
        "SELECT 1 SETTINGS /**/ `profile` = 'default'",
        "SELECT 1; DROP TABLE t",
        "EXECUTE AS default SELECT 1",
        "SELECT 1 SETTINGS max_execution_time = 999",
        "SELECT 1 SETTINGS max_execution_time = 0",
        "SELECT 1 SETTINGS max_memory_usage = 0",
        "SELECT 1 SETTINGS idle_connection_timeout = 1099511627777",
    ] {
        let answer = analyst(&engine, &[], sql);
        assert!(matches!(answer.code(), 62 | 164 | 344 | 452), "{sql}: {} {}", answer.status, answer.text());
    }
    for (name, value) in [
        ("readonly", "0"),
        ("readonly", "1"),
        ("profile", "default"),
        ("max_execution_time", "999"),
        ("max_memory_usage", "0"),
    ] {
        let answer = analyst(&engine, &[(name, value)], "SELECT 1");
        assert!(matches!(answer.code(), 164 | 452), "{name}={value}: {}", answer.text());
    }
    assert_eq!(admin("SELECT * FROM t"), "1\n");
}

/// A port on loopback is open to every user of the machine: it must not be a way to the machine's files,
/// network or programs. Each of these works in the library as it comes.
#[test]
fn nobody_reaches_beyond_the_engine() {
    let engine = shared();
    for sql in [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/hostname')",
        "SELECT `file`('/etc/hostname')",
        "SELECT * FROM default.`/etc/hostname`",
        "DESCRIBE TABLE file('/etc/passwd')",
        "SELECT 1 INTO OUTFILE '/tmp/hoplog-outfile'",
        "INSERT INTO FUNCTION file('/tmp/hoplog-file', 'TSV', 'a UInt8') SELECT 1",
        "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV",
        "CREATE TABLE out (a UInt8) ENGINE = File(TSV, '/tmp/hoplog-table')",
        "CREATE TABLE out (a UInt8) ENGINE = URL('http://127.0.0.1:1/')",
        "CREATE DATABASE fs ENGINE = Filesystem('/etc')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1', 'system.one')",
        "SELECT * FROM sqlite('/tmp/x.db', 't')",
        "SELECT * FROM loop('default', '/etc/hostname')",
        "CREATE DICTIONARY d (k UInt64, a String) PRIMARY KEY k SOURCE(EXECUTABLE(command 'id' format 'TSV')) LAYOUT(FLAT()) LIFETIME(1)",
        "CREATE USER mallory",
        "CREATE NAMED COLLECTION c AS a = 1",
        "SYSTEM SHUTDOWN",
        "SYSTEM KILL",
        "GRANT ALL ON *.* TO default",
    ] {
        let answer = engine.post(&[], sql.as_bytes());
        assert_eq!((answer.status, answer.code()), (403, 497), "{sql}: {}", answer.text());
    }
    // Programs would have to lie in a folder that no statement can write to.
    assert_ne!(engine.post(&[], b"SELECT * FROM executable('id', 'TSV', 'a String')").status, 200);
    for path in ["/tmp/hoplog-outfile", "/tmp/hoplog-file", "/tmp/hoplog-table"] {
        assert!(!std::path::Path::new(path).exists(), "{path}");
    }
}
