//! From nothing, from the previous version and from half way to this schema, by any number of `migrate`s at once.

use std::time::Duration;

use warehouse::Warehouse;
use warehouse::dead_letters::{Filter, list};
use warehouse::{PartitionTotals, WarehouseConfig, WarehouseError, migrate, schema_check, verify};

/// What version 6 of the schema was made of, as released; the time to live of its tables aside, with the defaults.
const SCHEMA_6: &str = include_str!("fixtures/schema_6.sql");
/// What version 7 made of it, as released.
const SCHEMA_7: &str = include_str!("fixtures/schema_7.sql");
/// The step that adds totals by link.
const MIGRATION_9: &str = include_str!("../../migrations/0009_totals_by_link.sql");
/// Rows that were stored with version 6.
const ROWS_6: &str = include_str!("fixtures/rows_6.sql");

async fn run(warehouse: &Warehouse, script: &str) {
    let code = script.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    for statement in code.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        warehouse.execute(statement.trim_end_matches(';')).await.unwrap();
    }
}

async fn numbers(warehouse: &Warehouse, sql: &str) -> Vec<u64> {
    warehouse.rows(sql, &[]).await.unwrap()
}

/// The schema as ClickHouse has it, without the database's name, and without what a table keeps as it was made.
async fn schema(warehouse: &Warehouse) -> Vec<String> {
    let database = &warehouse.config().database;
    let sql = "SELECT create_table_query FROM system.tables WHERE database = {database:String} ORDER BY name";
    let tables: Vec<String> = warehouse.rows(sql, &[("database", database)]).await.unwrap();
    let as_it_was = |table: String| {
        let is_by_hour = table.starts_with("CREATE TABLE db.clicks_by_hour ");
        if !is_by_hour {
            return table;
        }
        table
            .replace("index_granularity = 512, min_compress_block_size = 4096", "index_granularity = 8192")
            .replace(" PRIMARY KEY code ", " PRIMARY KEY (code, hour, bot) ")
    };
    tables.into_iter().map(|table| as_it_was(table.replace(database, "db"))).collect()
}

#[tokio::test]
async fn the_previous_version_s_tables_and_rows_stay() {
    let outside = super::warehouse("default");
    outside.execute("CREATE DATABASE from_6").await.unwrap();
    let warehouse = super::warehouse("from_6");
    run(&warehouse, SCHEMA_6).await;
    run(&warehouse, ROWS_6).await;
    let before = schema_check(&warehouse).await.unwrap_err().to_string();
    assert!(before.contains("no table from_6.dead_letter_replays"), "{before}");
    let columns = "SELECT name FROM system.columns WHERE database = 'from_6' AND table = 'requests'";
    let columns: Vec<String> = warehouse.rows(columns, &[]).await.unwrap();
    let stored = format!(
        "SELECT cityHash64(groupArray(tuple({}))) FROM (SELECT * FROM requests ORDER BY seq)",
        columns.join(", ")
    );
    let requests = numbers(&warehouse, &stored).await;

    assert_eq!(
        migrate(&warehouse).await.unwrap(),
        [
            "0007_replays",
            "0008_visits",
            "0009_totals_by_link",
            "0010_otel_traces",
            "0011_clicks_by_link",
            "0012_visitors_by_day",
            "0013_fewer_places"
        ]
    );
    schema_check(&warehouse).await.unwrap();
    // The old rows are as they were, and add up under this version's comparison.
    assert_eq!(numbers(&warehouse, &stored).await, requests);
    assert_eq!(numbers(&warehouse, "SELECT sum(replayed) + sum(events) FROM ingest_ledger").await, [10]);
    let letters = list(&warehouse, &Filter::default()).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert!(
        letters.iter().all(|letter| !letter.purged && letter.replays_begun == 0 && letter.raw_bytes == 1)
    );
    let log = |events| PartitionTotals {
        partition: 0,
        first_offset: 0,
        committed_offset: events,
        end_offset: events,
        events,
    };
    let report = verify(&warehouse, "t", &[log(10)]).await.unwrap();
    assert_eq!(report.findings, [] as [String; 0]);
    // What the previous version inserts, which knows no new column, and what this one does.
    let old = "INSERT INTO ingest_ledger (topic, first_offset, last_offset, messages, collected_at) SELECT 't', 10, 10, 1, now()";
    let new = "INSERT INTO ingest_ledger (topic, first_offset, last_offset, messages, replayed, collected_at) SELECT 't', 11, 11, 1, 0, now()";
    for sql in [old, new] {
        warehouse.execute(sql).await.unwrap();
    }
    let report = verify(&warehouse, "t", &[PartitionTotals { events: 10, ..log(12) }]).await.unwrap();
    assert_eq!(report.findings, [] as [String; 0]);
    // A new installation differs from one that was brought here in nothing but granules and index of clicks by hour.
    let fresh = super::warehouse("from_nothing");
    migrate(&fresh).await.unwrap();
    assert_eq!(schema(&warehouse).await, schema(&fresh).await);
}

/// Rows of before visits were counted stay what they are: of the default domain, and in no count of visits.
#[tokio::test]
async fn version_7_s_clicks_stay_and_get_company() {
    super::warehouse("default").execute("CREATE DATABASE from_7").await.unwrap();
    let warehouse = super::warehouse("from_7");
    for script in [SCHEMA_6, ROWS_6, SCHEMA_7] {
        run(&warehouse, script).await;
    }
    let before = schema_check(&warehouse).await.unwrap_err().to_string();
    assert!(before.contains("no table from_7.clicks_by_day"), "{before}");
    assert_eq!(
        migrate(&warehouse).await.unwrap(),
        [
            "0008_visits",
            "0009_totals_by_link",
            "0010_otel_traces",
            "0011_clicks_by_link",
            "0012_visitors_by_day",
            "0013_fewer_places"
        ]
    );
    schema_check(&warehouse).await.unwrap();
    assert_eq!(numbers(&warehouse, "SELECT sum(clicks) FROM clicks_by_hour WHERE domain = ''").await, [6]);
    assert_eq!(numbers(&warehouse, "SELECT sum(rule) + count() FROM clicks WHERE domain = ''").await, [6]);

    // A collector that does not know domains yet, one that does, and then all is merged.
    let hour = "toStartOfHour(now()), 'c', 1";
    for sql in [
        format!("clicks_by_hour (hour, code, clicks, visitor_list) SELECT {hour}, [2, 3]"),
        format!("clicks_by_hour (hour, code, clicks, visitor_list, domain) SELECT {hour}, [4], 's.example'"),
        "clicks (ts, code) SELECT now(), 'c'".to_owned(),
        "clicks (ts, code, domain, rule) SELECT now(), 'c', 's.example', 3".to_owned(),
        "ingest_ledger (topic, first_offset, last_offset, messages, events, kept, clicks, click_rows, collected_at) \
         SELECT 't', 10, 10, 1, 1, 1, 1, 1, now()"
            .to_owned(),
        "ingest_ledger (topic, first_offset, last_offset, messages, events, kept, clicks, click_rows, visits, \
         day_clicks, collected_at) SELECT 't', 11, 11, 1, 1, 1, 1, 1, 1, 1, now()"
            .to_owned(),
        "visits_by_hour (hour, kind, visits) SELECT toStartOfHour(now()), 'click', 1".to_owned(),
        "visits_by_day (day, kind, visits) SELECT today(), 'click', 5".to_owned(),
        "clicks_by_day (day, code, clicks) SELECT today(), 'c', 5".to_owned(),
    ] {
        warehouse.execute(&format!("INSERT INTO {sql}")).await.unwrap();
    }
    for merged in [false, true] {
        if merged {
            warehouse.execute("OPTIMIZE TABLE clicks_by_hour FINAL").await.unwrap();
        }
        let of = async |domain: &str| {
            let of = format!("FROM clicks_by_hour WHERE domain = '{domain}'");
            numbers(&warehouse, &format!("SELECT sum(clicks) {of} UNION ALL SELECT uniqMerge(visitors) {of}"))
                .await
        };
        let mut both = [of("").await, of("s.example").await];
        both.iter_mut().for_each(|numbers| numbers.sort_unstable());
        assert_eq!(both, [[3, 7], [1, 1]], "merged: {merged}");
    }
    let report = verify(&warehouse, "t", &[]).await.unwrap();
    let of_counts =
        report.findings.iter().filter(|finding| finding.contains("clicks") || finding.contains("visits"));
    assert_eq!(of_counts.collect::<Vec<_>>(), [] as [&String; 0]);
}

/// What was deleted from single clicks before they had a projection is not in that.
#[tokio::test]
async fn deleted_clicks_do_not_come_back() {
    super::warehouse("default").execute("CREATE DATABASE deleted_clicks").await.unwrap();
    let warehouse = super::warehouse("deleted_clicks");
    for script in [SCHEMA_6, ROWS_6, SCHEMA_7] {
        run(&warehouse, script).await;
    }
    for sql in [
        "INSERT INTO clicks (ts, code) SELECT now(), if(number % 2, 'gone', 'stays') FROM numbers(10)",
        "DELETE FROM clicks WHERE code = 'gone'",
    ] {
        warehouse.execute(sql).await.unwrap();
    }
    let clicks = numbers(&warehouse, "SELECT count() FROM clicks").await;
    migrate(&warehouse).await.unwrap();
    let left = "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done";
    while numbers(&warehouse, left).await != [0] {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let projected = "SELECT sum(rows) FROM system.projection_parts \
                     WHERE database = currentDatabase() AND table = 'clicks' AND name = 'by_time' AND active";
    assert_eq!(numbers(&warehouse, projected).await, clicks);
    assert_eq!(numbers(&warehouse, "SELECT count() FROM clicks").await, clicks);
}

/// How often parts are merged is a matter of how much is clicked: what an operator has set is left alone.
#[tokio::test]
async fn what_somebody_chose_of_merges_stays() {
    let warehouse = super::warehouse("merges");
    migrate(&warehouse).await.unwrap();
    for change in [
        "clicks_by_hour MODIFY SETTING min_age_to_force_merge_seconds = 86400",
        "clicks_by_day RESET SETTING min_age_to_force_merge_seconds",
    ] {
        warehouse.execute(&format!("ALTER TABLE {change}")).await.unwrap();
    }
    migrate(&warehouse).await.unwrap();
    for (table, seconds) in [("clicks_by_hour", 86_400), ("clicks_by_day", 3_600)] {
        let sql = format!(
            "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = '{table}'"
        );
        let [engine] = &warehouse.rows::<String>(&sql, &[]).await.unwrap()[..] else { panic!("no {table}") };
        for setting in [
            format!("min_age_to_force_merge_seconds = {seconds}"),
            "enable_max_bytes_limit_for_min_age_to_force_merge = 1".to_owned(),
            "max_bytes_to_merge_at_max_space_in_pool = 4294967296".to_owned(),
        ] {
            assert!(engine.contains(&setting), "{setting} of {table}: {engine}");
        }
    }
}

/// Totals by link are those of the rows: of rows that were there before, of an insert that is repeated, unmerged, merged,
/// and after some have expired.
#[tokio::test]
async fn totals_by_link_are_those_of_the_rows() {
    let config =
        WarehouseConfig { rollups_ttl_days: 900, ..super::warehouse("totals_by_link").config().clone() };
    let warehouse = Warehouse::new(&config);
    migrate(&warehouse).await.unwrap();
    let totals = async |projected: bool| {
        let link = "concat(toString(domain), '/', code)";
        let sql = format!(
            "SELECT toString(tuple({link}, bot, sum(clicks), min(hour))) AS row FROM clicks_by_hour \
             WHERE {link} IN ('/c1', 's.example/c1', '/c2', '/none') GROUP BY {link}, bot ORDER BY row \
             SETTINGS {}",
            if projected { "force_optimize_projection = 1" } else { "optimize_use_projections = 0" }
        );
        warehouse.rows::<String>(&sql, &[]).await.unwrap()
    };
    let rows = |from: u32, token: &str| {
        format!(
            "INSERT INTO clicks_by_hour (hour, code, domain, bot, clicks, visitor_list) \
             SETTINGS insert_deduplication_token = '{token}' \
             SELECT toStartOfHour(now()) - 3600 * intDiv(number, 5000), concat('c', toString(number % 5000)), \
             if(number % 3 = 0, 's.example', ''), number % 2 = 0, 1 + number % 7, [number] FROM numbers({from}, 40000)"
        )
    };
    warehouse
        .execute("ALTER TABLE clicks_by_hour DROP PROJECTION totals_by_link SETTINGS mutations_sync = 2")
        .await
        .unwrap();
    warehouse.execute(&rows(0, "before")).await.unwrap();
    let step = MIGRATION_9.lines().find(|line| line.contains("ADD PROJECTION")).unwrap();
    warehouse.execute(step.trim_end_matches(';')).await.unwrap();
    warehouse
        .execute(
            "ALTER TABLE clicks_by_hour MATERIALIZE PROJECTION totals_by_link SETTINGS mutations_sync = 2",
        )
        .await
        .unwrap();
    let before = totals(true).await;
    assert_eq!((before.len(), &before), (3, &totals(false).await));
    for token in ["a", "a", "b", "a"] {
        warehouse.execute(&rows(if token == "a" { 40_000 } else { 80_000 }, token)).await.unwrap();
    }
    let sum = numbers(&warehouse, "SELECT sum(clicks) FROM clicks_by_hour").await;
    assert_eq!(sum, numbers(&warehouse, "SELECT toUInt64(sum(1 + number % 7)) FROM numbers(120000)").await);
    assert_eq!(totals(true).await, totals(false).await);
    // One that is to expire with the next merge: a thousand days old.
    let old = "INSERT INTO clicks_by_hour (hour, code, clicks) SELECT toStartOfHour(now()) - 3600 * 24 * 899, 'c1', 1000";
    warehouse.execute(old).await.unwrap();
    let with_old = totals(true).await;
    assert_eq!(with_old, totals(false).await);
    assert!(with_old.iter().any(|row| row.contains("/c1',false,10")), "{with_old:?}");
    warehouse.execute("ALTER TABLE clicks_by_hour MODIFY TTL hour + toIntervalDay(800)").await.unwrap();
    warehouse.execute("OPTIMIZE TABLE clicks_by_hour FINAL").await.unwrap();
    let merged = totals(true).await;
    assert_eq!(merged, totals(false).await);
    assert_ne!(merged, with_old);
}

/// Days of a link don't outlive the total of their year: as the schema is made, and as a changed time to live changes it.
#[tokio::test]
async fn a_year_of_a_link_expires_as_a_whole() {
    let config = super::warehouse("year_expires").config().clone();
    // A year of which the first days would have expired and the last ones not, if each went by its own time.
    for rollups_ttl_days in [340, 341] {
        let config = WarehouseConfig { rollups_ttl_days, clicks_ttl_days: 100, ..config.clone() };
        let warehouse = Warehouse::new(&config);
        migrate(&warehouse).await.unwrap();
        warehouse
            .execute(
                "INSERT INTO clicks_by_link (first, code, dimension, clicks) SELECT arrayJoin([ \
                 toDateTime(toStartOfYear(today()), 'UTC') - toIntervalYear(2) + 1, toDateTime(toStartOfYear(today()), 'UTC') \
                 - toIntervalYear(1) - 1, now()]), 'c', arrayJoin(['all', 'day', 'os']), 1",
            )
            .await
            .unwrap();
        warehouse.execute("OPTIMIZE TABLE clicks_by_link FINAL").await.unwrap();
        let years = "SELECT toString(tuple(toYear(today()) - toYear(since), kind, count())) AS row \
                     FROM clicks_by_link GROUP BY toYear(since), kind ORDER BY row";
        assert_eq!(
            warehouse.rows::<String>(years, &[]).await.unwrap(),
            ["(0,'all',1)", "(0,'day',1)", "(0,'value',1)"],
            "{rollups_ttl_days}"
        );
        warehouse.execute("TRUNCATE TABLE clicks_by_link").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_at_once_from_nothing() {
    for round in 0..3 {
        let database = format!("eight_{round}");
        let all: Vec<_> = (0..8)
            .map(|_| {
                let warehouse = super::warehouse(&database);
                tokio::spawn(async move { migrate(&warehouse).await })
            })
            .collect();
        for one in all {
            one.await.unwrap().unwrap();
        }
        let warehouse = super::warehouse(&database);
        schema_check(&warehouse).await.unwrap();
        assert_eq!(migrate(&warehouse).await.unwrap(), [] as [&str; 0]);
        let dirt =
            "SELECT count() FROM system.tables WHERE database = {database:String} AND name LIKE '%tmp%'";
        assert_eq!(warehouse.rows::<u64>(dirt, &[("database", &database)]).await.unwrap(), [0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_anywhere_and_begun_again() {
    for round in 0..6u64 {
        let warehouse = super::warehouse(&format!("killed_{round}"));
        // From the first statement to behind the last one.
        for kill in 0..3 {
            let after = Duration::from_millis(round * 40 + kill * 7);
            let _ = tokio::time::timeout(after, migrate(&warehouse)).await;
        }
        migrate(&warehouse).await.unwrap();
        schema_check(&warehouse).await.unwrap();
    }
}

#[tokio::test]
async fn a_table_that_forgets_tokens_closes_the_gate_until_it_is_migrated() {
    let warehouse = super::warehouse("forgetful");
    migrate(&warehouse).await.unwrap();
    for (setting, said) in [("= 100", "window is 100"), ("= 0", "window is 0")] {
        let alter =
            format!("ALTER TABLE clicks MODIFY SETTING non_replicated_deduplication_window {setting}");
        warehouse.execute(&alter).await.unwrap();
        let wrong = schema_check(&warehouse).await.unwrap_err();
        assert!(
            matches!(&wrong, WarehouseError::Schema(what) if what.starts_with("clicks: non_replicated") && what.contains(said)),
            "{wrong}"
        );
        migrate(&warehouse).await.unwrap();
        schema_check(&warehouse).await.unwrap();
    }
    warehouse.execute("ALTER TABLE clicks RESET SETTING non_replicated_deduplication_window").await.unwrap();
    let wrong = schema_check(&warehouse).await.unwrap_err().to_string();
    assert!(wrong.contains("clicks: non_replicated_deduplication_window is not set"), "{wrong}");
    migrate(&warehouse).await.unwrap();
    schema_check(&warehouse).await.unwrap();

    let config = WarehouseConfig { replicated: true, ..warehouse.config().clone() };
    let wrong = schema_check(&Warehouse::new(&config)).await.unwrap_err().to_string();
    assert!(wrong.contains("clicks is a MergeTree, and replicated tables are configured"), "{wrong}");
}
