//! Results: formats, joining of blocks, compression, parameters.

use crate::harness::{shared, target};
use std::io::Read;

#[test]
fn a_streamed_result_is_the_document_that_the_engine_renders_whole() {
    let engine = shared();
    // `system.numbers`-like sources come in blocks; three of them make a header per block visible.
    let query = "SELECT number AS \"a\\nb\", toString(number) AS s FROM numbers(200000)";
    for format in [
        "TabSeparated",
        "TSVWithNames",
        "TSVWithNamesAndTypes",
        "CSV",
        "CSVWithNames",
        "JSONEachRow",
        "JSONCompactEachRowWithNamesAndTypes",
        "RowBinary",
        "RowBinaryWithNames",
        "RowBinaryWithNamesAndTypes",
    ] {
        let streamed = engine.ok(&format!("{query} FORMAT {format}"));
        // One block: nothing to join.
        let whole = engine.ok(&format!("{query} SETTINGS max_block_size = 1000000 FORMAT {format}"));
        assert!(streamed == whole, "{format}: {} and {} bytes", streamed.len(), whole.len());
    }
    let rows: Vec<u8> =
        engine.post(&[], format!("SELECT sum(length(s)), count() FROM ({query})").as_bytes()).body;
    assert_eq!(rows, b"1088890\t200000\n");
}

#[test]
fn a_result_without_rows_keeps_its_header() {
    let engine = shared();
    for (format, want) in [
        ("TSV", &b""[..]),
        ("TSVWithNames", b"a\n"),
        ("TSVWithNamesAndTypes", b"a\nUInt8\n"),
        ("CSVWithNames", b"\"a\"\n"),
        ("RowBinaryWithNamesAndTypes", b"\x01\x01a\x05UInt8"),
    ] {
        let sql = format!("SELECT 1 AS a WHERE 0 FORMAT {format}");
        assert_eq!(engine.post(&[], sql.as_bytes()).body, want, "{format}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&engine.ok("SELECT 1 AS a WHERE 0 FORMAT JSON")).unwrap();
    assert_eq!((&json["rows"], &json["meta"][0]["name"]), (&0.into(), &"a".into()));
}

#[test]
fn statements_that_are_no_plain_queries_have_results_too() {
    let engine = shared();
    let database = engine.database();
    engine.ok(&format!("CREATE TABLE {database}.t (a UInt8 COMMENT 'x') ENGINE = MergeTree ORDER BY a"));
    for (sql, want) in [
        (format!("SHOW TABLES FROM {database}"), "t\n"),
        (format!("EXISTS TABLE {database}.t"), "1\n"),
        (format!("DESCRIBE TABLE {database}.t FORMAT JSONEachRow"), "\"comment\":\"x\""),
        (format!("SHOW CREATE TABLE {database}.t"), "MergeTree"),
        ("EXPLAIN SELECT 1".into(), "ReadFromSystemOne"),
        ("WITH 7 AS x SELECT x".into(), "7\n"),
        ("(SELECT 1) UNION ALL (SELECT 1)".into(), "1\n1\n"),
        ("-- comment\nSELECT /* ; */ ';' -- end".into(), ";\n"),
        ("SELECT 1;".into(), "1\n"),
    ] {
        let got = engine.ok(&sql);
        assert!(got.contains(want), "{sql}: {got}");
    }
}

#[test]
fn answers_are_compressed_as_asked() {
    let engine = shared();
    let sql = b"SELECT number FROM numbers(300000)";
    let plain = engine.post(&[], sql).body;
    for (accept, encoding) in [("gzip", "gzip"), ("deflate", "deflate"), ("lz4, gzip", "lz4")] {
        let answer = engine.request("POST", "/", &[("Accept-Encoding", accept)], sql);
        assert_eq!(answer.header("content-encoding"), Some(encoding));
        let mut decoded = Vec::new();
        let body = answer.body.as_slice();
        match encoding {
            "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut decoded),
            "deflate" => flate2::read::ZlibDecoder::new(body).read_to_end(&mut decoded),
            _ => lz4_flex::frame::FrameDecoder::new(body).read_to_end(&mut decoded),
        }
        .unwrap();
        assert!(answer.body.len() < plain.len() && decoded == plain, "{encoding}");
    }
    let off =
        engine.request("POST", "/?enable_http_compression=0", &[("Accept-Encoding", "gzip")], b"SELECT 1");
    assert_eq!((off.header("content-encoding"), off.text().as_str()), (None, "1\n"));
    // ClickHouse's own framing, of a failure too: the client decodes whatever comes.
    let framed = engine.post(&[("compress", "1")], b"SELECT nope").body;
    let size = u32::from_le_bytes([framed[21], framed[22], framed[23], framed[24]]) as usize;
    let text = lz4_flex::block::decompress(&framed[25..], size).unwrap();
    assert!(text.starts_with(b"Code: 47."));
}

#[test]
fn parameters_are_values_and_never_sql() {
    let engine = shared();
    let nasty = "x' OR 1 -- \u{1F980}";
    let answer = engine.post(
        &[("param_s", nasty), ("param_n", "7"), ("param_t", "one")],
        b"SELECT {s:String}, {n:UInt8} FROM system.{t:Identifier}",
    );
    assert_eq!(answer.text(), "x\\' OR 1 -- \u{1F980}\t7\n");
    let body = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {n:UInt8}\r\n\
                --b\r\nContent-Disposition: form-data; name=\"param_n\"\r\n\r\n9\r\n--b--\r\n";
    let headers = [("Content-Type", "multipart/form-data; boundary=b")];
    assert_eq!(engine.request("POST", "/", &headers, body.as_bytes()).text(), "9\n");
    assert_eq!(engine.get(&target(&[("query", "SELECT {n:UInt8}"), ("param_n", "x")])).code(), 457);
}

#[test]
fn the_body_continues_the_url() {
    let engine = shared();
    assert_eq!(engine.post(&[("query", "SELECT 1 +")], b"2").text(), "3\n");
    assert_eq!(
        engine.post(&[("query", "SELECT number FROM"), ("database", "system")], b"numbers LIMIT 1").text(),
        "0\n"
    );
}
