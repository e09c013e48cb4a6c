//! Tables over a cluster, and replicated ones, as far as one engine can have them: it is one process without a port for other
//! servers, so all shards are itself; it has no queue of DDL, so `ON CLUSTER` is taken out; and it can't be an active replica,
//! so of replicated tables it proves the DDL and their place in the Keeper. The rest takes a server of ClickHouse.

use std::path::Path;
use std::time::Duration;

use testbed::{Engine, ZooKeeper};
use warehouse::dead_letters::{self, Begin, Filter, begin_replay, get, list};
use warehouse::{
    Block, Column, ListColumn, PartitionTotals, TextColumn, Warehouse, WarehouseConfig, WarehouseError,
    migrate, schema_check, verify, verify_recent,
};

/// A cluster of one shard, and one of two that are the same: through it everything is there twice.
const CLUSTERS: &str = "<clickhouse>
<tcp_port>9000</tcp_port>
<remote_servers>
<hops><shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard></hops>
<twice><shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
<shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard></twice>
</remote_servers>
</clickhouse>";

/// What the engine's own user must not do: reach other servers.
const GRANTS: &str = "<clickhouse><users><default><grants replace=\"replace\"><query>GRANT ALL ON *.*</query></grants></default></users></clickhouse>";

/// An engine with more of ClickHouse's server configuration, which it reads from folders beside its own.
fn engine(data: &Path, server: &str) -> Engine {
    for (folder, text) in [("config.d", server), ("users.d", GRANTS)] {
        std::fs::create_dir_all(data.join(folder)).unwrap();
        std::fs::write(data.join(folder).join("test.xml"), text).unwrap();
    }
    Engine::start_with(&["--data", data.to_str().unwrap()])
}

fn config(url: String, database: &str) -> WarehouseConfig {
    WarehouseConfig { url, database: database.to_owned(), ..WarehouseConfig::default() }
}

/// The schema of a cluster, as far as one engine can have it.
async fn on_cluster(engine: &Engine, cluster: &str) -> Warehouse {
    let config = WarehouseConfig {
        cluster: Some(cluster.to_owned()),
        ..config(format!("http://{}", engine.address()), "over")
    };
    let warehouse = Warehouse::new(&config);
    let setup = Warehouse::new(&WarehouseConfig { database: "default".to_owned(), ..config.clone() });
    for (index, statement) in warehouse::statements(&config).iter().enumerate() {
        let by = if index == 0 { &setup } else { &warehouse };
        // As it is for a cluster, at least it is understood.
        by.execute(&format!("EXPLAIN AST {statement}")).await.unwrap();
        by.execute(&plain(&statement.replace(&format!(" ON CLUSTER `{cluster}`"), ""))).await.unwrap();
    }
    for migration in 1..=8 {
        let done = format!(
            "INSERT INTO schema_migrations (version) SETTINGS distributed_foreground_insert = 1 VALUES ({migration})"
        );
        warehouse.execute(&done).await.unwrap();
    }
    warehouse
}

/// The same table without a Keeper.
fn plain(statement: &str) -> String {
    let Some((before, rest)) = statement.split_once("ENGINE = Replicated") else {
        return statement.to_owned();
    };
    let (kind, rest) = rest.split_once("('").unwrap();
    let (_, after) = rest.split_once(')').unwrap();
    let window =
        "replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 315360000";
    assert!(!after.contains("SETTINGS") || after.contains(window), "{statement}");
    format!("{before}ENGINE = {kind}(){after}").replace(window, "non_replicated_deduplication_window = 20000")
}

async fn number(warehouse: &Warehouse, sql: &str) -> u64 {
    warehouse.rows::<u64>(sql, &[]).await.unwrap()[0]
}

fn hours(codes: u64) -> Block {
    let mut code = TextColumn::default();
    let mut visitors = ListColumn::default();
    for number in 0..codes {
        code.push(number.to_string());
        visitors.push([1, 2, number]);
    }
    let seconds = Column::Seconds(vec![1_763_764_800; codes as usize]);
    Block::new(vec![
        ("hour", seconds),
        ("code", Column::Text(code)),
        ("clicks", Column::U64(vec![3; codes as usize])),
        ("visitor_list", Column::List(visitors)),
    ])
    .unwrap()
}

#[tokio::test]
async fn a_block_through_a_cluster_is_stored_once_and_everything_is_found() {
    let data = tempfile::tempdir().unwrap();
    let engine = engine(data.path(), CLUSTERS);
    let warehouse = on_cluster(&engine, "hops").await;
    for token in ["a", "a", "b", "b", "a"] {
        warehouse.insert("clicks_by_hour", &hours(1000), token).await.unwrap();
    }
    for table in ["clicks_by_hour", "clicks_by_hour_local"] {
        assert_eq!(number(&warehouse, &format!("SELECT sum(clicks) FROM {table}")).await, 6000, "{table}");
    }
    let visitors = "SELECT uniqMerge(visitors) FROM clicks_by_hour WHERE code = '77'";
    assert_eq!(number(&warehouse, visitors).await, 3, "of an ephemeral column");
    warehouse.execute("TRUNCATE TABLE clicks_by_hour_local").await.unwrap();

    super::verify::fill_rows(&warehouse, 0).await;
    let log =
        PartitionTotals { partition: 0, first_offset: 0, committed_offset: 10, end_offset: 10, events: 10 };
    let report = verify(&warehouse, "t", &[log]).await.unwrap();
    assert_eq!((report.findings, report.events, report.producer_gaps), (vec![], 10, vec![]));
    let recent =
        async || verify_recent(&warehouse, "t", &[(0, 10)], Duration::from_secs(3600)).await.unwrap();
    assert_eq!(recent().await, warehouse::Recent::default());
    assert_eq!(number(&warehouse, "SELECT count() FROM otel_logs").await, 4);

    // Over two servers every query still is one: all of it is there twice, and no join or set is refused.
    let twice = on_cluster_twice(&warehouse).await;
    let report = verify(&twice, "t", &[log]).await.unwrap();
    assert_eq!((report.events, report.kept, report.ranges), (20, 8, 4));
    assert!(report.findings.contains(&"repeated rows in requests: the log says 0, stored are 4".to_owned()));
    let ranges = ["0 to 4: overlaps", "5 to 9: overlaps"];
    for range in ranges {
        assert!(report.findings.iter().any(|finding| finding.contains(range)), "{:?}", report.findings);
    }
    assert_eq!(list(&twice, &Filter::default()).await.unwrap().len(), 4);

    // A server that has lost its rows shows.
    warehouse.execute("TRUNCATE TABLE requests_local").await.unwrap();
    let findings = verify(&warehouse, "t", &[log]).await.unwrap().findings;
    assert_eq!(findings, ["kept events in requests: the ledger says 4, stored are 0"]);
    assert_eq!(recent().await.lost_rows, 4);

    let letters = list(&warehouse, &Filter::default()).await.unwrap();
    assert_eq!(letters.len(), 2);
    let id = &letters[0].id;
    let begun = begin_replay(&warehouse, id, "ann", false).await.unwrap();
    let Begin::Ours(replay) = begun else { panic!("{begun:?}") };
    assert!(matches!(begin_replay(&warehouse, id, "ben", false).await.unwrap(), Begin::Begun { .. }));
    dead_letters::finish_replay(&warehouse, &replay).await.unwrap();
    let letter = &get(&warehouse, id).await.unwrap()[0];
    assert_eq!((letter.replays_begun, letter.replays_done), (1, 1));

    // What goes to all servers is understood, and refused by an engine that has no others.
    let refused = dead_letters::purge(&warehouse, &Filter::default()).await.unwrap_err();
    assert_eq!(refused.code(), Some(392), "{refused}");
    assert_eq!(migrate(&warehouse).await.unwrap_err().code(), Some(392));

    // The gate looks at the tables of all servers, and knows that these are not replicated.
    let wrong = schema_check(&warehouse).await.unwrap_err();
    let expected = "clicks_local is a MergeTree, and replicated tables are configured";
    assert!(matches!(&wrong, WarehouseError::Schema(what) if what.contains(expected)), "{wrong}");
    warehouse.execute("DROP TABLE clicks").await.unwrap();
    let wrong = schema_check(&warehouse).await.unwrap_err().to_string();
    assert!(wrong.contains("no Distributed table over.clicks"), "{wrong}");
}

/// The same local tables through the cluster that has them twice.
async fn on_cluster_twice(over: &Warehouse) -> Warehouse {
    let config = WarehouseConfig {
        database: "twice".to_owned(),
        cluster: Some("twice".to_owned()),
        ..over.config().clone()
    };
    over.execute("CREATE DATABASE twice").await.unwrap();
    let twice = Warehouse::new(&config);
    for statement in warehouse::statements(&config) {
        if statement.contains("ENGINE = Distributed") {
            let statement = statement.replace(" ON CLUSTER `twice`", "").replace(" AS ", " AS over.");
            twice.execute(&statement.replace("'twice', 'twice'", "'twice', 'over'")).await.unwrap();
        }
    }
    twice
}

#[tokio::test]
async fn replicated_tables_are_made_in_the_keeper() {
    let Some(keeper) = ZooKeeper::start() else { return };
    let address = keeper.address();
    let (host, port) = address.split_once(':').unwrap();
    let server = format!(
        "<clickhouse><zookeeper><node><host>{host}</host><port>{port}</port></node></zookeeper>\
         <macros><shard>7</shard><replica>r</replica></macros></clickhouse>"
    );
    let data = tempfile::tempdir().unwrap();
    let engine = engine(data.path(), &server);
    let config =
        WarehouseConfig { replicated: true, ..config(format!("http://{}", engine.address()), "replicated") };
    let warehouse = Warehouse::new(&config);
    let setup = Warehouse::new(&WarehouseConfig { database: "default".to_owned(), ..config.clone() });
    for (index, statement) in warehouse::statements(&config).iter().enumerate() {
        let by = if index == 0 { &setup } else { &warehouse };
        let outcome = by.execute(statement).await;
        if statement.starts_with("ALTER") {
            // Goes through the Keeper by way of an active replica, which there is none of. So what comes later misses a
            // setting or a column.
            let code = outcome.unwrap_err().code();
            assert!(
                code.is_some_and(|code| [16, 47, 236, 242, 344].contains(&code)),
                "{statement}: {code:?}"
            );
        } else {
            outcome.unwrap();
        }
    }
    let sql = "SELECT count() FROM system.replicas WHERE database = 'replicated' \
               AND zookeeper_path = concat('/clickhouse/tables/7/replicated/', table) AND replica_name = 'r'";
    assert_eq!(number(&warehouse, sql).await, 18);
    let wrong = schema_check(&warehouse).await.unwrap_err().to_string();
    assert!(wrong.contains("was not applied") && !wrong.contains("window"), "{wrong}");
    // It never becomes active. ClickHouse waits for that for longer than an insert may take, then says so.
    let hasty = Warehouse::new(&WarehouseConfig { insert_ms_max: 1000, ..config });
    let refused = hasty.insert("clicks_by_hour", &hours(1), "a").await.unwrap_err();
    assert!(refused.code() == Some(242) || matches!(refused, WarehouseError::TimedOut), "{refused}");
}

/// Run by hand: `HOPLOG_TEST_CLICKHOUSE=http://… cargo test -p warehouse --test it -- --ignored a_server`. The server has a
/// Keeper and the macros `shard` and `replica`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a server of ClickHouse with a Keeper, named in HOPLOG_TEST_CLICKHOUSE"]
async fn a_server_with_a_keeper_stores_once() {
    let url = std::env::var("HOPLOG_TEST_CLICKHOUSE").unwrap();
    let database = format!("hoplog_test_{}", std::process::id());
    let config = WarehouseConfig { replicated: true, ..config(url, &database) };
    let all: Vec<_> = (0..8)
        .map(|_| {
            let warehouse = Warehouse::new(&config);
            tokio::spawn(async move { migrate(&warehouse).await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    let warehouse = Warehouse::new(&config);
    schema_check(&warehouse).await.unwrap();
    for token in ["a", "b", "a", "b", "a"] {
        warehouse.insert("clicks_by_hour", &hours(100), token).await.unwrap();
    }
    assert_eq!(number(&warehouse, "SELECT sum(clicks) FROM clicks_by_hour").await, 600);
    let longer = WarehouseConfig { clicks_ttl_days: 500, ..config };
    migrate(&Warehouse::new(&longer)).await.unwrap();
    schema_check(&warehouse).await.unwrap();
    warehouse.execute("TRUNCATE TABLE clicks_by_hour").await.unwrap();
    super::verify::fill_rows(&warehouse, 0).await;
    let log =
        PartitionTotals { partition: 0, first_offset: 0, committed_offset: 10, end_offset: 10, events: 10 };
    assert_eq!(verify(&warehouse, "t", &[log]).await.unwrap().findings, [] as [String; 0]);
    assert_eq!(dead_letters::purge(&warehouse, &Filter::default()).await.unwrap(), 2);
    warehouse.execute(&format!("DROP DATABASE {database} SYNC")).await.unwrap();
}
