//! Inserts: formats, streaming, compression, deduplication, failures.

use crate::harness::{Engine, shared};
use std::io::Write;

fn table(engine: &Engine) -> String {
    let name = format!("{}.t", engine.database());
    engine.ok(&format!(
        "CREATE TABLE {name} (a UInt64, s String) ENGINE = MergeTree ORDER BY a \
         SETTINGS non_replicated_deduplication_window = 100"
    ));
    name
}

#[test]
fn data_comes_in_the_body_in_any_format_and_encoding() {
    let engine = shared();
    let t = table(&engine);
    let native = engine.post(&[], b"SELECT 4::UInt64 AS a, 'native' AS s FORMAT Native").body;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"6,gzip\n").unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(b"7,lz4\n").unwrap();
    let into = |rest: &str| format!("INSERT INTO {t} {rest}");
    for (query, headers, body) in [
        (into("FORMAT TSV"), vec![], b"1\ttsv\n".to_vec()),
        (into("VALUES"), vec![], b"(2, upper('values'))".to_vec()),
        (into("FORMAT JSONEachRow"), vec![], br#"{"a": 3, "s": "json"}"#.to_vec()),
        (into("FORMAT Native"), vec![], native),
        (String::new(), vec![], into("SETTINGS async_insert = 0 FORMAT CSV\n5,body\n").into_bytes()),
        (into("FORMAT CSV"), vec![("Content-Encoding", "gzip")], gzip.finish().unwrap()),
        (into("FORMAT CSV"), vec![("Content-Encoding", "lz4")], lz4.finish().unwrap()),
        (into("SELECT a * 10, 'input' FROM input('a UInt64') FORMAT TSV"), vec![], b"8\n9\n".to_vec()),
        (into("SELECT 100, 'select'"), vec![], Vec::new()),
    ] {
        let answer = engine.request("POST", &crate::harness::target(&[("query", &query)]), &headers, &body);
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    }
    assert_eq!(
        engine.ok(&format!("SELECT * FROM {t} ORDER BY a")),
        "1\ttsv\n2\tVALUES\n3\tjson\n4\tnative\n5\tbody\n6\tgzip\n7\tlz4\n80\tinput\n90\tinput\n100\tselect\n"
    );
}

#[test]
fn a_large_insert_is_streamed_and_counted() {
    let engine = shared();
    let t = table(&engine);
    let rows = 3_000_000_u64;
    let query = format!("INSERT INTO {t} (a) FORMAT RowBinary");
    let target = crate::harness::target(&[("query", &query)]);
    let mut stream = engine.connect();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        rows * 8
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut out = std::io::BufWriter::with_capacity(1 << 20, &stream);
    for row in 0..rows {
        out.write_all(&row.to_le_bytes()).unwrap();
    }
    out.flush().unwrap();
    drop(out);
    let answer = crate::harness::Answer::read(stream, false);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let summary: serde_json::Value =
        serde_json::from_str(answer.header("x-clickhouse-summary").unwrap()).unwrap();
    assert_eq!(summary["written_rows"], rows.to_string());
    assert_eq!(
        engine.ok(&format!("SELECT count(), sum(a) FROM {t}")),
        format!("{rows}\t{}\n", rows * (rows - 1) / 2)
    );
}

#[test]
fn a_failed_insert_says_so_and_stores_nothing_of_its_block() {
    let engine = shared();
    let t = table(&engine);
    for (query, body, code) in [
        (format!("INSERT INTO {t} FORMAT TSV"), &b"1\ta\nx\tb\n"[..], 27),
        (format!("INSERT INTO {t} FORMAT Native"), b"garbage garbage", 0),
        (format!("INSERT INTO {t} FORMAT Nope"), b"1", 73),
        (format!("INSERT INTO {t}_nope FORMAT TSV"), b"1\ta\n", 60),
        (format!("INSERT INTO {t} (nope) FORMAT TSV"), b"1\n", 16),
        (format!("INSERT INTO {t} SELECT a, 'x' FROM input('a UInt64') FORMAT TSV"), b"x\n", 27),
        (format!("INSERT INTO {t} VALUES"), b"(1, nope)", 47),
    ] {
        let answer = engine.post(&[("query", &query)], body);
        assert_ne!(answer.status, 200, "{query}");
        if code > 0 {
            assert_eq!(answer.code(), code, "{query}: {}", answer.text());
        }
    }
    assert_eq!(engine.ok(&format!("SELECT count() FROM {t}")), "0\n");
}

#[test]
fn a_body_that_is_cut_or_corrupt_stores_nothing() {
    let engine = shared();
    let t = table(&engine);
    let target = crate::harness::target(&[("query", &format!("INSERT INTO {t} FORMAT TSV"))]);
    let mut stream = engine.connect();
    let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n1\ta\n2\tb\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    drop(crate::harness::Answer::read(stream, false));
    let framed = |bytes: &[u8]| {
        engine.post(&[("query", &format!("INSERT INTO {t} FORMAT TSV")), ("decompress", "1")], bytes)
    };
    for (what, bytes, code) in [
        ("noise", vec![b'x'; 300], 89),
        ("a wrong checksum", [&[0; 16][..], &[0x82, 12, 0, 0, 0, 2, 0, 0, 0], b"\x20a\n"].concat(), 40),
        ("an unknown method", [&[0; 16][..], &[0x90, 12, 0, 0, 0, 2, 0, 0, 0], b"\x20a\n"].concat(), 89),
        ("a huge block", [&[0; 16][..], &[0x82, 255, 255, 255, 255, 255, 255, 255, 255]].concat(), 39),
        ("a cut header", vec![1; 5], 33),
    ] {
        let answer = framed(&bytes);
        assert_eq!(answer.code(), code, "{what}: {}", answer.text());
    }
    let gzip = engine.request("POST", &target, &[("Content-Encoding", "gzip")], b"not gzip");
    assert_eq!(gzip.code(), 33);
    assert_eq!(engine.request("POST", &target, &[("Content-Encoding", "br")], b"x").code(), 89);
    assert_eq!(engine.ok(&format!("SELECT count() FROM {t}")), "0\n");
}

#[test]
fn a_repeated_token_stores_once_in_the_table_and_in_its_views() {
    let engine = shared();
    let db = engine.database();
    engine.ok(&format!("CREATE TABLE {db}.t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100"));
    engine.ok(&format!("CREATE TABLE {db}.by (a UInt64, n SimpleAggregateFunction(sum, UInt64), u AggregateFunction(uniq, UInt64), m SimpleAggregateFunction(sumMap, Map(UInt8, UInt64))) ENGINE = AggregatingMergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100"));
    engine.ok(&format!("CREATE MATERIALIZED VIEW {db}.mv TO {db}.by AS SELECT intDiv(a, 10) AS a, count() AS n, uniqState(t.a) AS u, sumMap(map(1::UInt8, 1::UInt64)) AS m FROM {db}.t AS t GROUP BY a"));
    let insert = |token: &str, body: &[u8]| {
        let query = format!("INSERT INTO {db}.t FORMAT TSV");
        let answer = engine.post(
            &[
                ("query", query.as_str()),
                ("async_insert", "0"),
                ("insert_deduplication_token", token),
                ("deduplicate_blocks_in_dependent_materialized_views", "1"),
            ],
            body,
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    for _ in 0..3 {
        insert("events:0:0-2", b"1\n2\n3\n");
    }
    insert("events:0:3-5", b"1\n2\n3\n");
    assert_eq!(engine.ok(&format!("SELECT count() FROM {db}.t")), "6\n");
    assert_eq!(engine.ok(&format!("SELECT sum(n), uniqMerge(u), sumMap(m) FROM {db}.by")), "6\t3\t{1:6}\n");
}
