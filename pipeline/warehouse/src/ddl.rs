//! Where tables are put: on one server as they are, or on a cluster as a local table on each server and a `Distributed`
//! one, under the plain name, over all of them. Pure text; nothing here talks to ClickHouse.

use crate::WarehouseConfig;
use crate::schema::fill_in;

/// How many inserts back ClickHouse recognises a token, by table.
///
/// An insert is repeated after a crash, a timeout or a rebalance; what counts is how many inserts of *other* partitions
/// came in between. A range adds a token to a table for each of its days (or months): one, at midnight two. At one range a
/// second from each of twelve partitions, a quarter of 20,000 (which is where the collector stops and asks a person) are
/// seven minutes: a partition is taken over within a minute, a zombie's inserts end after `insert_ms_max`. What is down
/// alone for a month is not hurried: only inserts push tokens out, not time.
///
/// More would cost: the engine holds 20,000 tokens of nine tables in 41 MiB (measured; there are sixteen by now), which takes days to fill at home; a Keeper about
/// as much for each shard, and servers list them every half minute.
pub const DEDUP_WINDOW: u64 = 20_000;

/// For how long a Keeper keeps tokens, seconds: ten years, so that the count alone decides. ClickHouse's default is an
/// hour, which one quiet night is longer than.
pub(crate) const DEDUP_WINDOW_S: u64 = 315_360_000;

/// Tables that are asked for many links at once.
pub(crate) const MERGED_HOURLY: [&str; 2] = ["clicks_by_hour", "clicks_by_day"];

/// How their parts are merged: settings, each with its value. What somebody else chose stays.
///
/// A link lies in one place of each part, and the places are what a question about a thousand links takes. So parts that were
/// not merged for an hour are merged with each other, and a month is soon one part beside the small ones of its last hours. That
/// writes the month again once an hour, and so is limited: parts that together are larger than this stay as they are. A month of
/// 42 million clicks on 100,000 links took 26 s of a core, for 0.43 GB in both tables; so this is a month of 750 million clicks,
/// and some 200 s of a core an hour for each table.
pub(crate) const MERGES: [(&str, &str); 3] = [
    ("min_age_to_force_merge_seconds", "3600"),
    ("enable_max_bytes_limit_for_min_age_to_force_merge", "1"),
    ("max_bytes_to_merge_at_max_space_in_pool", "4294967296"),
];

/// Which server of a cluster a row goes to. Functions of the row alone: a block that is sent again is split as before, so
/// each server sees its part again under the same token. For that the order of shards and their weights must not change
/// while a range is open.
const SHARDED_BY: &[(&str, &str)] = &[
    // A trace is on one server.
    ("requests", "cityHash64(trace_id)"),
    // Rows of one series meet, and merge, on one server; by the minute as well, since one route has most of them.
    ("requests_by_minute", "cityHash64(minute, route)"),
    // A link's clicks and their sums are on one server.
    ("clicks", "cityHash64(code)"),
    ("clicks_by_hour", "cityHash64(code)"),
    ("clicks_by_day", "cityHash64(code)"),
    ("clicks_by_link", "cityHash64(code)"),
    // Rows of one count meet, and merge, on one server.
    ("visits_by_hour", "cityHash64(hour, kind)"),
    ("visits_by_day", "cityHash64(day, kind, value)"),
    // Evenly, also where one client or one path is most of them.
    ("orphan_visits", "cityHash64(ts, visitor, path)"),
    // A partition's ranges are on one server.
    ("ingest_ledger", "cityHash64(topic, log_partition)"),
    // A letter and its replays are on one server.
    ("dead_letters", "cityHash64(topic, log_partition, log_offset)"),
    ("dead_letter_replays", "cityHash64(topic, log_partition, log_offset)"),
    // A boot's numbers are on one server.
    ("producer_sequences", "cityHash64(instance, boot_id)"),
    ("producer_boots", "cityHash64(instance, boot_id)"),
    ("sampling_policies", "cityHash64(version)"),
    // A trace is on one server, and so is where it is in time.
    ("otel_traces", "cityHash64(TraceId)"),
    ("otel_traces_trace_id_ts", "cityHash64(TraceId)"),
    ("schema_migrations", "cityHash64(version)"),
];

/// How a statement goes on that adds a column to the sorting key as well.
const SORTS: &str = ", MODIFY ORDER BY ";

/// The statements of a migration, for this configuration: each ends with a semicolon at a line's end. Comments between
/// them are left out.
pub(crate) fn statements(template: &str, config: &WarehouseConfig) -> Vec<String> {
    let sql = fill_in(template, config);
    let code = sql.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    let parts = code.split(";\n").map(|statement| statement.trim().trim_end_matches(';'));
    parts.filter(|statement| !statement.is_empty()).flat_map(|statement| place(statement, config)).collect()
}

/// A column's addition, wherever the table has columns.
pub(crate) fn add_column(table: &str, column: &str, config: &WarehouseConfig) -> Vec<String> {
    place(&format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column}"), config)
}

/// The setting that keeps tokens, with its value.
pub(crate) const fn deduplication(replicated: bool) -> &'static [(&'static str, u64)] {
    if replicated {
        &[
            ("replicated_deduplication_window", DEDUP_WINDOW),
            ("replicated_deduplication_window_seconds", DEDUP_WINDOW_S),
        ]
    } else {
        &[("non_replicated_deduplication_window", DEDUP_WINDOW)]
    }
}

/// A statement as it is run: in a cluster it may become two.
fn place(statement: &str, config: &WarehouseConfig) -> Vec<String> {
    let on_cluster = config.on_cluster();
    let (verb, name, rest) = parts(statement);
    let statement = |table: &str| {
        let placed = format!("{verb}{table}{on_cluster}{rest}");
        let placed = placed.replace("${deduplication}", &settings(config.is_replicated()));
        with_locals(&with_engine(&placed, name, config), config)
    };
    let Some(cluster) = &config.cluster else { return vec![statement(name)] };
    let local = format!("{name}_local");
    if verb.starts_with("CREATE TABLE") {
        let key = SHARDED_BY.iter().find(|(table, _)| *table == name).map_or("rand()", |(_, key)| key);
        let comment = rest.rfind("COMMENT '").map_or("", |at| &rest[at..]);
        let distributed = format!(
            "{verb}{name}{on_cluster} AS {local}\nENGINE = Distributed('{cluster}', '{}', '{local}', {key})\n{comment}",
            config.database
        );
        return vec![statement(&local), distributed];
    }
    if verb.starts_with("ALTER") {
        let alter = |table: &str, rest: &str| format!("{verb}{table}{on_cluster}{rest}");
        // Where rows are first: what is inserted through the other must find its column.
        let mut both = vec![alter(&local, rest)];
        if rest.contains(" ADD COLUMN ") {
            // What holds no rows has no order.
            both.push(alter(name, rest.split(SORTS).next().unwrap_or(rest)));
        }
        return both;
    }
    vec![statement(name)]
}

/// What is done, to what, and how: `CREATE TABLE IF NOT EXISTS `, `requests`, ` (…`. Whatever else a migration may hold is
/// left as it is.
fn parts(statement: &str) -> (&str, &str, &str) {
    for verb in [
        "CREATE TABLE IF NOT EXISTS ",
        "CREATE MATERIALIZED VIEW IF NOT EXISTS ",
        "CREATE OR REPLACE VIEW ",
        "ALTER TABLE ",
    ] {
        if let Some(after) = statement.strip_prefix(verb) {
            let end = after.find(char::is_whitespace).unwrap_or(after.len());
            return (verb, &after[..end], &after[end..]);
        }
    }
    (statement, "", "")
}

fn settings(replicated: bool) -> String {
    let pairs = deduplication(replicated).iter().map(|(name, value)| format!("{name} = {value}"));
    pairs.collect::<Vec<_>>().join(", ")
}

/// Fills in `${engine:…MergeTree}`. The path in the Keeper has the shard and the table, the replica its own name: servers
/// know both as macros.
fn with_engine(statement: &str, table: &str, config: &WarehouseConfig) -> String {
    let Some((before, rest)) = statement.split_once("${engine:") else { return statement.to_owned() };
    let Some((kind, after)) = rest.split_once('}') else { return statement.to_owned() };
    let engine = if config.is_replicated() {
        let database = &config.database;
        format!("Replicated{kind}('/clickhouse/tables/{{shard}}/{database}/{table}', '{{replica}}')")
    } else {
        format!("{kind}()")
    };
    format!("{before}{engine}{after}")
}

/// Fills in `${local:…}`: the tables of a server between which a view moves rows, as they are inserted there.
fn with_locals(statement: &str, config: &WarehouseConfig) -> String {
    let mut filled = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some((before, (table, after))) =
        rest.split_once("${local:").and_then(|(before, behind)| Some((before, behind.split_once('}')?)))
    {
        filled.push_str(before);
        filled.push_str(&config.local(table));
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "-- why;\nCREATE TABLE IF NOT EXISTS clicks (\n    n UInt8\n)\nENGINE = ${engine:MergeTree}\nORDER BY n\nSETTINGS ${deduplication}\nCOMMENT 'Clicks';\n\n-- b\nALTER TABLE clicks ADD COLUMN m UInt8, MODIFY ORDER BY (n, m);\nCREATE OR REPLACE VIEW v AS\nSELECT ';';\n";

    fn config(cluster: Option<&str>, replicated: bool) -> WarehouseConfig {
        WarehouseConfig { cluster: cluster.map(str::to_owned), replicated, ..WarehouseConfig::default() }
    }

    #[test]
    fn one_server_gets_them_as_they_are() {
        let [table, alter, view] = &statements(TABLE, &config(None, false))[..] else { panic!() };
        assert_eq!(
            table,
            "CREATE TABLE IF NOT EXISTS clicks (\n    n UInt8\n)\nENGINE = MergeTree()\nORDER BY n\n\
             SETTINGS non_replicated_deduplication_window = 20000\nCOMMENT 'Clicks'"
        );
        assert_eq!(alter, "ALTER TABLE clicks ADD COLUMN m UInt8, MODIFY ORDER BY (n, m)");
        assert_eq!(view, "CREATE OR REPLACE VIEW v AS\nSELECT ';'");
        let replicated = &statements(TABLE, &config(None, true))[0];
        assert!(replicated.contains(
            "ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/hoplog/clicks', '{replica}')"
        ));
        assert!(replicated.contains(
            "SETTINGS replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 315360000\n"
        ));
    }

    #[test]
    fn a_cluster_gets_local_tables_and_one_over_them() {
        let all = statements(TABLE, &config(Some("hops"), false));
        let [local, distributed, alter_local, alter, view] = &all[..] else { panic!("{all:?}") };
        assert!(local.starts_with("CREATE TABLE IF NOT EXISTS clicks_local ON CLUSTER `hops` (\n"));
        assert!(
            local.contains(
                "ReplicatedMergeTree('/clickhouse/tables/{shard}/hoplog/clicks', '{replica}')\nORDER"
            )
        );
        assert_eq!(
            distributed,
            "CREATE TABLE IF NOT EXISTS clicks ON CLUSTER `hops` AS clicks_local\n\
             ENGINE = Distributed('hops', 'hoplog', 'clicks_local', cityHash64(code))\nCOMMENT 'Clicks'"
        );
        assert_eq!(
            alter_local,
            "ALTER TABLE clicks_local ON CLUSTER `hops` ADD COLUMN m UInt8, MODIFY ORDER BY (n, m)"
        );
        assert_eq!(alter, "ALTER TABLE clicks ON CLUSTER `hops` ADD COLUMN m UInt8");
        assert!(view.starts_with("CREATE OR REPLACE VIEW v ON CLUSTER `hops` AS\n"));
    }

    #[test]
    fn a_view_moves_rows_on_the_server_that_has_them() {
        let view = "CREATE MATERIALIZED VIEW IF NOT EXISTS v TO ${local:b} AS\nSELECT n\nFROM ${local:a};\n";
        let of = |cluster| statements(view, &config(cluster, false)).remove(0);
        assert_eq!(of(None), "CREATE MATERIALIZED VIEW IF NOT EXISTS v TO b AS\nSELECT n\nFROM a");
        let placed = "CREATE MATERIALIZED VIEW IF NOT EXISTS v ON CLUSTER `hops` TO b_local AS\nSELECT n\nFROM a_local";
        assert_eq!(of(Some("hops")), placed);
    }

    #[test]
    fn every_table_has_a_server_to_go_to() {
        for migration in crate::migrate::MIGRATIONS {
            for statement in statements(migration.sql, &config(Some("hops"), false)) {
                assert!(!statement.contains("${") && !statement.contains("rand()"), "{statement}");
            }
        }
    }
}
