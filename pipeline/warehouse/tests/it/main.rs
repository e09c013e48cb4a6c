//! The tables and blocks against the real engine. `cargo build --release -p engine` provides it.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a test may fail loudly

mod cluster;
mod dead_letters;
mod schema;
mod verify;

use clickhouse::Row;
use serde::Deserialize;
use warehouse::{
    ArrayColumn, Block, Column, CountsColumn, ListColumn, MapColumn, SymbolColumn, TextColumn, Warehouse,
    WarehouseConfig, WarehouseError, migrate, schema_check,
};

fn warehouse(database: &str) -> Warehouse {
    let url = format!("http://{}", testbed::shared_engine_address());
    Warehouse::new(&WarehouseConfig { url, database: database.to_owned(), ..WarehouseConfig::default() })
}

#[derive(Debug, Row, Deserialize, PartialEq)]
struct AllTypes {
    u8: u8,
    u16: u16,
    day: u16,
    u32: u32,
    u64: u64,
    f64: f64,
    flag: bool,
    seconds: u32,
    time: i64,
    text: String,
    symbol: String,
    list: Vec<u64>,
    counts: Vec<(u32, u64)>,
    nanos: i64,
    map: Vec<(String, String)>,
    names: Vec<String>,
    maps: Vec<Vec<(String, String)>>,
}

fn pairs(count: u32) -> Vec<(String, String)> {
    (0..count).map(|key| (format!("key {key}"), "é".repeat(key as usize))).collect()
}

fn borrowed(pairs: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    pairs.iter().map(|(key, value)| (&**key, &**value))
}

fn row(number: u32) -> AllTypes {
    let wide = u64::from(number);
    AllTypes {
        u8: (number % 256) as u8,
        u16: (number % 65_536) as u16,
        day: (20_000 + number) as u16,
        u32: number,
        u64: u64::MAX - wide,
        f64: f64::from(number) / 3.0,
        flag: number % 2 == 1,
        seconds: 1_763_764_620 + number,
        time: 1_763_764_620_000_000 + i64::from(number),
        text: "é\n\t'\\".repeat(number as usize % 40),
        symbol: if number.is_multiple_of(3) { String::new() } else { format!("symbol {}", number % 700) },
        list: (0..wide % 5).collect(),
        counts: (0..number % 4).map(|key| (key, wide)).collect(),
        nanos: 1_763_764_620_000_000_001 + i64::from(number),
        map: pairs(number % 3),
        names: pairs(number % 5).into_iter().map(|(name, _)| name).collect(),
        maps: (0..number % 3).map(pairs).collect(),
    }
}

fn block(rows: &[AllTypes]) -> Block {
    let mut text = TextColumn::default();
    let mut symbol = SymbolColumn::default();
    let mut list = ListColumn::default();
    let mut counts = CountsColumn::default();
    let (mut map, mut names, mut maps) = (MapColumn::default(), TextColumn::default(), MapColumn::default());
    let (mut name_ends, mut map_ends) = (Vec::new(), Vec::new());
    for row in rows {
        map.push(borrowed(&row.map));
        row.names.iter().for_each(|name| names.push(name));
        row.maps.iter().for_each(|item| maps.push(borrowed(item)));
        name_ends.push(name_ends.last().unwrap_or(&0) + row.names.len() as u64);
        map_ends.push(map_ends.last().unwrap_or(&0) + row.maps.len() as u64);
        text.push(&row.text);
        symbol.push(&row.symbol);
        list.push(row.list.iter().copied());
        counts.push(row.counts.iter().copied());
    }
    let columns = vec![
        ("u8", Column::U8(rows.iter().map(|row| row.u8).collect())),
        ("u16", Column::U16(rows.iter().map(|row| row.u16).collect())),
        ("day", Column::Day(rows.iter().map(|row| row.day).collect())),
        ("u32", Column::U32(rows.iter().map(|row| row.u32).collect())),
        ("u64", Column::U64(rows.iter().map(|row| row.u64).collect())),
        ("f64", Column::F64(rows.iter().map(|row| row.f64).collect())),
        ("flag", Column::Flag(rows.iter().map(|row| row.flag).collect())),
        ("seconds", Column::Seconds(rows.iter().map(|row| row.seconds).collect())),
        ("time", Column::Time(rows.iter().map(|row| row.time).collect())),
        ("text", Column::Text(text)),
        ("symbol", Column::Symbol(symbol)),
        ("list", Column::List(list)),
        ("counts", Column::Counts(counts)),
        ("nanos", Column::Nanos(rows.iter().map(|row| row.nanos).collect())),
        ("map", Column::Map(map)),
        ("names", Column::Array(Box::new(ArrayColumn::new(name_ends, Column::Text(names))))),
        ("maps", Column::Array(Box::new(ArrayColumn::new(map_ends, Column::Map(maps))))),
    ];
    Block::new(columns).unwrap()
}

async fn with_table(database: &str) -> Warehouse {
    let warehouse = warehouse(database);
    migrate(&warehouse).await.unwrap();
    let columns = "u8 UInt8, u16 UInt16, day Date, u32 UInt32, u64 UInt64, f64 Float64, flag Bool, seconds DateTime('UTC'), \
                   time DateTime64(6, 'UTC'), text String, symbol LowCardinality(String), list Array(UInt64), \
                   counts Map(UInt32, UInt64), nanos DateTime64(9), map Map(LowCardinality(String), String), \
                   names Array(LowCardinality(String)), maps Array(Map(LowCardinality(String), String))";
    let engine =
        "MergeTree PARTITION BY u8 % 2 ORDER BY u32 SETTINGS non_replicated_deduplication_window = 100";
    warehouse.execute(&format!("CREATE TABLE all_types ({columns}) ENGINE = {engine}")).await.unwrap();
    warehouse
}

#[tokio::test]
async fn every_row_of_a_block_comes_back() {
    let warehouse = with_table("round_trip").await;
    let rows: Vec<_> = (0..1500).map(row).collect();
    let whole = block(&rows);
    // In three unequal parts: what is cut out of a block is a block.
    for part in [0..1, 1..1200, 1200..1500, 1500..1500] {
        warehouse.insert("all_types", &whole.slice(part.clone()), &format!("{part:?}")).await.unwrap();
    }
    let sql = "SELECT u8, u16, toUInt16(day) AS day, u32, u64, f64, flag, toUInt32(seconds) AS seconds, toUnixTimestamp64Micro(time) AS time, \
               text, toString(symbol) AS symbol, list, CAST(counts, 'Array(Tuple(UInt32, UInt64))') AS counts, \
               toUnixTimestamp64Nano(nanos) AS nanos, CAST(map, 'Array(Tuple(String, String))') AS map, CAST(names, 'Array(String)') AS names, \
               arrayMap(map -> CAST(map, 'Array(Tuple(String, String))'), maps) AS maps FROM all_types ORDER BY u32";
    let found: Vec<AllTypes> = warehouse.rows(sql, &[]).await.unwrap();
    assert_eq!(found, rows);
}

#[tokio::test]
async fn a_token_counts_once_whatever_the_block_and_however_many_parts() {
    let warehouse = with_table("tokens").await;
    let rows: Vec<_> = (0..10).map(row).collect();
    for (token, expected) in [("a", 10u64), ("a", 10), ("b", 20), ("a", 20), ("b", 20)] {
        warehouse.insert("all_types", &block(&rows), token).await.unwrap();
        assert_eq!(warehouse.rows::<u64>("SELECT count() FROM all_types", &[]).await.unwrap(), [expected]);
    }
}

#[tokio::test]
async fn errors_have_their_codes() {
    let warehouse = with_table("codes").await;
    let number = |name| Block::new(vec![(name, Column::U64(vec![1]))]).unwrap();
    let insert =
        async |table: &str, name| warehouse.insert(table, &number(name), "t").await.unwrap_err().code();
    assert_eq!(insert("nowhere", "u64").await, Some(60));
    assert_eq!(insert("all_types", "unknown").await, Some(16));
    assert_eq!(warehouse.execute("SELEC 1").await.unwrap_err().code(), Some(62));
    let nobody = Warehouse::new(&WarehouseConfig {
        url: "http://127.0.0.1:1".to_owned(),
        ..WarehouseConfig::default()
    });
    assert!(matches!(nobody.ping().await, Err(WarehouseError::Network(_))));
    warehouse.ping().await.unwrap();
}

#[tokio::test]
async fn migrations_can_be_repeated_at_once_and_follow_the_configuration() {
    let first = warehouse("migrations");
    assert!(matches!(
        schema_check(&first).await,
        Err(WarehouseError::Schema(_) | WarehouseError::Exception { .. })
    ));
    let (one, two) = tokio::join!(migrate(&first), migrate(&first));
    assert!(!one.unwrap().is_empty() && !two.unwrap().is_empty());
    assert_eq!(migrate(&first).await.unwrap(), Vec::<&str>::new());
    schema_check(&first).await.unwrap();

    first.execute("ALTER TABLE requests DROP COLUMN bytes_out").await.unwrap();
    let missing = schema_check(&first).await.unwrap_err().to_string();
    assert!(missing.contains("requests.bytes_out"), "{missing}");
    migrate(&first).await.unwrap();
    schema_check(&first).await.unwrap();

    let config = WarehouseConfig { requests_ttl_days: 12, ..first.config().clone() };
    migrate(&Warehouse::new(&config)).await.unwrap();
    let sql = "SELECT count() FROM system.tables WHERE database = 'migrations' AND engine_full LIKE '%toIntervalDay(12)%'";
    assert_eq!(first.rows::<u64>(sql, &[]).await.unwrap(), [5]);
    let sql = "SELECT count() FROM system.columns WHERE database = 'migrations' AND comment = '' AND table NOT IN ('otel_logs', 'otel_traces_trace_id_ts_mv')";
    assert_eq!(first.rows::<u64>(sql, &[]).await.unwrap(), [0]);
}

#[tokio::test]
async fn rows_outlive_their_insert_at_the_longest_time_to_live() {
    let days = 18_250;
    let config = WarehouseConfig {
        requests_ttl_days: days,
        clicks_ttl_days: days,
        rollups_ttl_days: days,
        traces_ttl_days: days,
        ..warehouse("longest").config().clone()
    };
    assert_eq!(config.check(), []);
    let warehouse = Warehouse::new(&config);
    migrate(&warehouse).await.unwrap();
    for (table, column) in [
        ("requests", "ts"),
        ("requests_by_minute", "minute"),
        ("clicks", "ts"),
        ("clicks_by_hour", "hour"),
        ("clicks_by_day", "day"),
        ("clicks_by_link", "first"),
        ("visits_by_hour", "hour"),
        ("visits_by_day", "day"),
        ("orphan_visits", "ts"),
        ("ingest_ledger", "collected_at"),
        ("dead_letters", "collected_at"),
        ("producer_sequences", "collected_at"),
        ("producer_boots", "collected_at"),
        ("otel_traces", "Timestamp"),
        ("otel_traces_trace_id_ts", "Start"),
    ] {
        warehouse.execute(&format!("INSERT INTO {table} ({column}) SELECT now()")).await.unwrap();
        warehouse.execute(&format!("OPTIMIZE TABLE {table} FINAL")).await.unwrap();
        let count = format!("SELECT count() FROM {table}");
        assert_eq!(warehouse.rows::<u64>(&count, &[]).await.unwrap(), [1], "{table}");
    }
}

#[tokio::test]
async fn an_empty_warehouse_verifies() {
    let warehouse = warehouse("empty");
    migrate(&warehouse).await.unwrap();
    let report = warehouse::verify(&warehouse, "t", &[]).await.unwrap();
    assert!(report.ok(), "{report:?}");
    // What was stored and is in no ledger shows.
    let code =
        Block::new(vec![("hour", Column::Seconds(vec![1_763_764_620])), ("clicks", Column::U64(vec![3]))]);
    warehouse.insert("clicks_by_hour", &code.unwrap(), "t").await.unwrap();
    let report = warehouse::verify(&warehouse, "t", &[]).await.unwrap();
    let expected = [
        "clicks in clicks_by_hour: the ledger says 0, stored are 3",
        "rows in clicks: clicks_by_hour says 3, stored are 0",
    ];
    assert_eq!(report.findings, expected);
}
