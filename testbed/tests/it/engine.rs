//! An engine that keeps its data and its port. `cargo build --release -p engine` provides the program.

use std::io::{Read, Write};
use std::net::TcpStream;

use testbed::{Engine, shared_engine_address};

/// The answer to a query, status line included.
pub(crate) fn query(address: &str, sql: &str) -> std::io::Result<String> {
    post(address, "/", sql)
}

/// The answer to a request, status line included.
pub(crate) fn post(address: &str, target: &str, body: &str) -> std::io::Result<String> {
    let mut engine = TcpStream::connect(address)?;
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    // Who answers early may not read all of it.
    let _ = engine.write_all((head + body).as_bytes());
    let mut answer = String::new();
    engine.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn it_keeps_data_and_port_when_killed() {
    let engine = Engine::start_with(&["--config", r#"{"threads":1}"#]);
    let address = engine.address();
    let ask = |sql: &str| query(&address, sql).unwrap();
    for sql in
        ["CREATE TABLE kept (x UInt8) ENGINE = MergeTree ORDER BY x", "INSERT INTO kept VALUES (1), (2)"]
    {
        assert!(ask(sql).starts_with("HTTP/1.1 200"), "{sql}");
    }
    engine.kill();
    assert!(query(&address, "SELECT 1").is_err());
    engine.restart();
    assert!(ask("SELECT 1000 + count() FROM kept").contains("1002"));
    engine.restart();
    assert!(ask("SELECT 1000 + count() FROM kept").contains("1002"));
    assert_ne!(shared_engine_address(), address);
    assert!(query(shared_engine_address(), "EXISTS kept").unwrap().contains("\n0\n"), "another engine");
}
