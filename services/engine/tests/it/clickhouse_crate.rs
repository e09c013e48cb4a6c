//! The `clickhouse` crate, as the collector uses it: typed rows, Native blocks, errors, sessions, leaving early.

use crate::harness::shared;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Hop {
    id: u64,
    code: String,
    visitor: Option<u32>,
    tags: Vec<String>,
}

fn hop(id: u64) -> Hop {
    Hop {
        id,
        code: format!("c{id}"),
        visitor: id.is_multiple_of(2).then_some(7),
        tags: vec!["a".into(); (id % 3) as usize],
    }
}

async fn table(client: &Client) {
    let sql = "CREATE TABLE hops (id UInt64, code LowCardinality(String), visitor Nullable(UInt32), tags Array(String)) ENGINE = MergeTree ORDER BY id";
    client.query(sql).execute().await.unwrap();
}

#[tokio::test]
async fn rows_go_in_and_come_out_with_and_without_lz4() {
    let engine = shared();
    for compression in [clickhouse::Compression::Lz4, clickhouse::Compression::None] {
        let client = Client::default()
            .with_url(engine.url())
            .with_database(engine.database())
            .with_compression(compression);
        table(&client).await;
        let mut insert = client.insert::<Hop>("hops").await.unwrap();
        for id in 0..100_000 {
            insert.write(&hop(id)).await.unwrap();
        }
        insert.end().await.unwrap();
        let rows = client
            .query("SELECT ?fields FROM hops WHERE id >= ? ORDER BY id")
            .bind(10)
            .fetch_all::<Hop>()
            .await
            .unwrap();
        assert_eq!(rows.len(), 99_990);
        assert_eq!(rows[5], hop(15));
        let one = client
            .query("SELECT ?fields FROM hops WHERE id = {id:UInt64}")
            .param("id", 42)
            .fetch_one::<Hop>()
            .await
            .unwrap();
        assert_eq!(one, hop(42));
        let none = client
            .query("SELECT ?fields FROM hops WHERE id = 1000000")
            .fetch_optional::<Hop>()
            .await
            .unwrap();
        assert_eq!(none, None);
        let mut cursor = client.query("SELECT ?fields FROM hops ORDER BY id").fetch::<Hop>().unwrap();
        let mut next = 0;
        while let Some(row) = cursor.next().await.unwrap() {
            assert_eq!(row.id, next);
            next += 1;
        }
        assert_eq!(next, 100_000);
    }
}

#[tokio::test]
async fn native_blocks_go_in_as_they_are() {
    let engine = shared();
    let client = Client::default().with_url(engine.url()).with_database(engine.database());
    table(&client).await;
    let sql = "SELECT number AS id, toString(number)::LowCardinality(String) AS code, NULL::Nullable(UInt32) AS visitor, []::Array(String) AS tags FROM numbers(1000)";
    let mut blocks = client.query(sql).fetch_bytes("Native").unwrap();
    let block = blocks.collect().await.unwrap();
    let mut insert = client
        .insert_formatted_with("INSERT INTO hops FORMAT Native")
        .with_setting("insert_deduplication_token", "t:0:0-999");
    insert.send(block).await.unwrap();
    insert.end().await.unwrap();
    assert_eq!(client.query("SELECT sum(id) FROM hops").fetch_one::<u64>().await.unwrap(), 499_500);
}

#[tokio::test]
async fn failures_carry_their_code() {
    let engine = shared();
    let client = Client::default().with_url(engine.url());
    let text = |error: clickhouse::error::Error| error.to_string();
    let unknown = text(client.query("SELECT * FROM nope").fetch_one::<u8>().await.unwrap_err());
    assert!(unknown.contains("Code: 60.") && unknown.contains("UNKNOWN_TABLE"), "{unknown}");
    let limit = text(
        client
            .query("SELECT sleepEachRow(1) FROM numbers(9)")
            .with_setting("max_execution_time", "0.2")
            .with_setting("max_block_size", "1")
            .fetch_all::<u8>()
            .await
            .unwrap_err(),
    );
    assert!(limit.contains("TIMEOUT_EXCEEDED"), "{limit}");
    // Midway through the rows, in every compression.
    for compression in [clickhouse::Compression::Lz4, clickhouse::Compression::None] {
        let client = client.clone().with_compression(compression);
        let mut cursor = client
            .query("SELECT throwIf(number = 3000000)::UInt8, number FROM numbers(5000000)")
            .fetch::<(u8, u64)>()
            .unwrap();
        let mut rows = 0_u64;
        let error = loop {
            match cursor.next().await {
                Ok(Some(_)) => rows += 1,
                Ok(None) => panic!("a failure was taken for the end after {rows} rows"),
                Err(error) => break text(error),
            }
        };
        assert!(rows > 100_000 && error.contains("Code: 395."), "{rows} rows, then {error}");
    }
}

#[tokio::test]
async fn settings_and_sessions_are_honoured() {
    let engine = shared();
    let client = Client::default()
        .with_url(engine.url())
        .with_setting("session_id", "crate-session")
        .with_setting("max_threads", "1");
    client.query("CREATE TEMPORARY TABLE i (i Int32)").execute().await.unwrap();
    client.query("INSERT INTO i VALUES (5)").execute().await.unwrap();
    assert_eq!(client.query("SELECT i FROM i").fetch_one::<i32>().await.unwrap(), 5);
    assert_eq!(
        client.query("SELECT toUInt64(getSetting('max_threads'))").fetch_one::<u64>().await.unwrap(),
        1
    );
}

#[tokio::test]
async fn an_insert_that_is_dropped_is_not_stored() {
    let engine = shared();
    let client = Client::default().with_url(engine.url()).with_database(engine.database());
    table(&client).await;
    let mut insert = client.insert::<Hop>("hops").await.unwrap();
    insert.write(&hop(1)).await.unwrap();
    drop(insert);
    let mut insert = client.insert::<Hop>("hops").await.unwrap();
    insert.write(&hop(2)).await.unwrap();
    insert.end().await.unwrap();
    assert_eq!(client.query("SELECT count() FROM hops").fetch_one::<u64>().await.unwrap(), 1);
}
