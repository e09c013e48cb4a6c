//! Paths, methods, headers, and how failures are said.

use crate::harness::{shared, target, until};

#[test]
fn paths_and_methods_answer_as_clickhouse_does() {
    let engine = shared();
    for (method, path, status, body) in [
        ("GET", "/ping", 200, "Ok.\n"),
        ("HEAD", "/ping", 200, ""),
        ("GET", "/replicas_status", 200, "Ok.\n"),
        ("GET", "/", 200, "Ok.\n"),
        ("GET", "/?query=SELECT%201", 200, "1\n"),
        ("HEAD", "/?query=SELECT%201", 200, ""),
        ("POST", "/?query=SELECT%201", 200, "1\n"),
        ("OPTIONS", "/", 204, ""),
    ] {
        let answer = engine.request(method, path, &[], b"");
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{method} {path}");
        assert!(answer.complete, "{method} {path}");
    }
    for (method, path) in [("GET", "/nope"), ("PUT", "/"), ("DELETE", "/?query=SELECT%201")] {
        assert_eq!(engine.request(method, path, &[], b"").status, 404, "{method} {path}");
    }
}

#[test]
fn what_was_asked_is_counted_in_prometheus_format() {
    let engine = shared();
    assert_eq!(engine.get("/?query=SELECT%201").status, 200);
    let answer = engine.get("/metrics");
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let counted =
        text.lines().find(|line| line.starts_with("hoplog_engine_queries_total{") && line.contains("\"ok\""));
    let count = counted.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    assert!(count.is_some_and(|count| count > 0), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn a_result_says_what_it_is() {
    let engine = shared();
    let answer = engine.post(&[("query_id", "my-id"), ("default_format", "JSONEachRow")], b"SELECT 1 AS a");
    for (header, value) in [
        ("x-clickhouse-query-id", "my-id"),
        ("x-clickhouse-format", "JSONEachRow"),
        ("content-type", "application/x-ndjson; charset=UTF-8"),
    ] {
        assert_eq!(answer.header(header), Some(value));
    }
    for header in ["x-clickhouse-timezone", "x-clickhouse-server-display-name", "x-clickhouse-exception-tag"]
    {
        assert!(answer.header(header).is_some(), "{header}");
    }
    let summary: serde_json::Value =
        serde_json::from_str(answer.header("x-clickhouse-summary").unwrap()).unwrap();
    assert_eq!((&summary["result_rows"], &summary["read_rows"]), (&"1".into(), &"1".into()));
    // The format of the statement's text wins, then the header's, then the URL's.
    let both = engine.request(
        "POST",
        "/?default_format=JSON",
        &[("X-ClickHouse-Format", "CSV"), ("X-ClickHouse-Database", "system")],
        b"SELECT 'x', currentDatabase()",
    );
    assert_eq!(both.text(), "\"x\",\"system\"\n");
    let progress = engine.post(&[("send_progress_in_http_headers", "1")], b"SELECT 1");
    assert!(progress.header("x-clickhouse-progress").is_some());
}

#[test]
fn failures_have_code_status_and_text() {
    let engine = shared();
    for (sql, status, code, name) in [
        ("SELECT nope", 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT * FROM nope", 404, 60, "UNKNOWN_TABLE"),
        ("SELECT 1 FORMAT Nope", 404, 73, "UNKNOWN_FORMAT"),
        ("SELECT nope(1)", 404, 46, "UNKNOWN_FUNCTION"),
        ("SELECT 1 SETTINGS nope = 1", 404, 115, "UNKNOWN_SETTING"),
        ("USE nope", 404, 81, "UNKNOWN_DATABASE"),
        ("garbage", 400, 62, "SYNTAX_ERROR"),
        ("", 400, 62, "SYNTAX_ERROR"),
        ("-- nothing", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 400, 62, "SYNTAX_ERROR"),
        ("SELECT toUInt8('x')", 400, 6, "CANNOT_PARSE_TEXT"),
        ("SELECT {x:UInt8}", 500, 456, "UNKNOWN_QUERY_PARAMETER"),
        (
            "SELECT sleepEachRow(1) FROM numbers(100) SETTINGS max_execution_time = 0.2, max_block_size = 1",
            408,
            159,
            "TIMEOUT_EXCEEDED",
        ),
        (
            "SELECT groupArray(number) FROM numbers(100000000) SETTINGS max_memory_usage = 20000000",
            500,
            241,
            "MEMORY_LIMIT_EXCEEDED",
        ),
    ] {
        let answer = engine.post(&[], sql.as_bytes());
        assert_eq!((answer.status, answer.code()), (status, code), "{sql}: {}", answer.text());
        let text = answer.text();
        assert!(text.starts_with(&format!("Code: {code}. DB::Exception: ")), "{text}");
        let end = text.split_once(&format!("({name}) (version ")).map(|(_, end)| end);
        assert!(end.is_some_and(|end| end.ends_with(" (official build))\n")), "{text}");
    }
}

#[test]
fn a_failure_after_the_headers_cannot_be_taken_for_an_end() {
    let engine = shared();
    let sql = "SELECT throwIf(number = 3000000), number FROM numbers(5000000)";
    let answer = engine.post(&[], sql.as_bytes());
    assert_eq!((answer.status, answer.complete), (200, false));
    let tag = answer.header("x-clickhouse-exception-tag").unwrap().to_owned();
    let text = answer.text();
    assert!(text.ends_with(&format!(" {tag}\r\n__exception__\r\n")));
    assert!(text.contains(&format!("\r\n__exception__\r\n{tag}\r\nCode: 395. DB::Exception: ")));
    // Held back to its end, the same failure has a status.
    let answer = engine.post(&[("wait_end_of_query", "1")], sql.as_bytes());
    assert_eq!((answer.status, answer.code(), answer.complete), (500, 395, true));
    let large = engine.post(&[("wait_end_of_query", "1")], b"SELECT repeat('x', 1000) FROM numbers(100000)");
    assert_eq!((large.status, large.code()), (500, 241), "more than may be held back is no short result");
}

#[test]
fn a_result_that_takes_its_time_is_sent_as_it_comes() {
    let engine = shared();
    let sql = b"SELECT throwIf(sleepEachRow(0.2) = 0 AND number = 4), number FROM numbers(5) SETTINGS max_block_size = 1";
    let answer = engine.post(&[], sql);
    assert_eq!((answer.status, answer.complete), (200, false));
    assert!(answer.text().starts_with("0\t0\n0\t1\n0\t2\n0\t3\n\r\n__exception__"), "{}", answer.text());
    let held = engine.post(&[("buffer_size", "100000")], sql);
    assert_eq!((held.status, held.code(), held.complete), (500, 395, true));
}

#[test]
fn get_only_reads_and_cannot_talk_its_way_out() {
    let engine = shared();
    let database = engine.database();
    for sql in [
        format!("CREATE TABLE {database}.t (a UInt8) ENGINE = Memory"),
        "SET readonly = 0".into(),
        "SELECT 1 SETTINGS readonly = 0".into(),
        "KILL QUERY WHERE 1".into(),
    ] {
        let answer = engine.get(&target(&[("query", &sql)]));
        assert_eq!(answer.code(), 164, "{sql}: {}", answer.text());
    }
    assert_eq!(engine.get(&target(&[("query", "SELECT 1"), ("readonly", "0")])).code(), 164);
    let answer = engine.get(&target(&[("query", "SELECT getSetting('max_threads')"), ("max_threads", "1")]));
    assert_eq!(answer.text(), "1\n");
}

#[test]
fn a_client_that_leaves_stops_its_query() {
    let engine = shared();
    let endless = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1 AND 'leaver' != ''";
    let running = || {
        engine.ok("SELECT count() FROM system.processes WHERE query LIKE '%leaver%' AND query NOT LIKE '%processes%'")
    };
    let mut stream = engine.connect();
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{endless}", endless.len());
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    until("the query runs", || running() == "1\n");
    drop(stream);
    until("the query has stopped", || running() == "0\n");
}

#[test]
fn a_query_is_killed_by_the_id_that_its_client_gave_it() {
    let engine = shared();
    let killed = std::thread::scope(|scope| {
        let victim = scope.spawn(|| {
            let sql = b"SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 2";
            engine.post(&[("query_id", "victim")], sql)
        });
        until("it was killed", || {
            assert_eq!(engine.post(&[("query_id", "victim-not")], b"SELECT 1").status, 200);
            engine.ok("KILL QUERY WHERE query_id = 'victim' SYNC").contains("finished")
        });
        victim.join().unwrap()
    });
    assert_eq!((killed.status, killed.code()), (500, 394));
}
