//! Brings ClickHouse's tables to this version. Every statement can be repeated, so any number that migrate at once, or one
//! that is killed half way, do no harm. Columns are only added and packed otherwise, never dropped, and their types stay.

use std::time::Duration;

use wide_event::FIELDS;
use wide_event::registry::Field;

use crate::check::{Table, applied, event_columns, tables};
use crate::ddl::{self, MERGED_HOURLY, MERGES, add_column, deduplication};
use crate::schema::{column, times_to_live};
use crate::{Warehouse, WarehouseConfig, WarehouseError};

/// How often a statement is tried that failed because another one was at work. Each failure means that one of the others
/// got through, and each has some dozen statements.
const TRIES_MAX: u32 = 30;

/// Before the next try, times the number of tries: an `ALTER` takes some milliseconds, on a cluster some hundred.
const PAUSE: Duration = Duration::from_millis(20);

/// Codes that say that another one was at work on the same table: it exists already or no longer (a view is replaced by
/// way of a table with another name), it is locked, it is about to be altered, or its metadata in the Keeper have moved on.
const CONTENDED: [u32; 5] = [57, 60, 473, 517, 999];

/// A numbered step. Never edited once it has been released: later ones follow it.
pub(crate) struct Migration {
    pub(crate) version: u32,
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal,)*) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../migrations/", $name, ".sql")),
        },)*]
    };
}

/// All steps, in their order.
pub(crate) const MIGRATIONS: &[Migration] = migrations! {
    1 "0001_requests",
    2 "0002_requests_by_minute",
    3 "0003_clicks",
    4 "0004_accounting",
    5 "0005_producers",
    6 "0006_otel_logs",
    7 "0007_replays",
    8 "0008_visits",
    9 "0009_totals_by_link",
    10 "0010_otel_traces",
    11 "0011_clicks_by_link",
    12 "0012_visitors_by_day",
    13 "0013_fewer_places",
};

/// The view over all event columns, which is replaced when there are more of them.
const VIEW: &str = "0006_otel_logs";

/// What is done to the rows that are there, once.
const OF_ROWS: [&str; 2] = [" MATERIALIZE PROJECTION ", " APPLY DELETED MASK"];

const RECORD_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version UInt32 COMMENT 'Number of the step',
    name String COMMENT 'Its name',
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When it was applied'
) ENGINE = ${engine:ReplacingMergeTree} ORDER BY version COMMENT 'Steps of the schema that were applied'";

/// Brings the schema to this version; creates the database where it is missing. Returns the names of the steps that
/// were applied now. May run in several places at once.
///
/// # Errors
/// See [`WarehouseError`]; what was done stays, and the next call goes on from there.
pub async fn migrate(warehouse: &Warehouse) -> Result<Vec<&'static str>, WarehouseError> {
    let config = warehouse.config();
    let database = create_database(config);
    contend(|| warehouse.execute_outside(&database)).await?;
    run(warehouse, &ddl::statements(RECORD_TABLE, config)).await?;
    let done = applied(warehouse).await?;
    let mut now = Vec::new();
    for migration in MIGRATIONS {
        let is_done = done.contains(&migration.version);
        // A server that has joined the cluster since has none of the tables, and no rows.
        if !is_done || config.cluster.is_some() {
            run(warehouse, &step(migration, is_done, config)).await?;
        }
        if !is_done {
            let Migration { version, name, .. } = migration;
            let record =
                format!("INSERT INTO schema_migrations (version, name) VALUES ({version}, '{name}')");
            warehouse.execute(&record).await?;
            now.push(*name);
        }
    }
    ensure_columns(warehouse).await?;
    let tables = tables(warehouse).await?;
    run(warehouse, &change_times_to_live(config, &tables)).await?;
    run(warehouse, &change_deduplication(config, &tables)).await?;
    run(warehouse, &change_merges(config, &tables)).await?;
    Ok(now)
}

/// All that [`migrate`] would run on an empty server, to be read, or run by somebody else.
#[must_use]
pub fn statements(config: &WarehouseConfig) -> Vec<String> {
    let steps = MIGRATIONS.iter().map(|migration| migration.sql);
    let tables = std::iter::once(RECORD_TABLE).chain(steps).flat_map(|sql| ddl::statements(sql, config));
    let merges = MERGED_HOURLY.iter().map(|table| set(table, &MERGES, config));
    std::iter::once(create_database(config)).chain(tables).chain(merges).collect()
}

/// What a step takes that was not done before, or was.
fn step(migration: &Migration, is_done: bool, config: &WarehouseConfig) -> Vec<String> {
    let mut statements = ddl::statements(migration.sql, config);
    let is_of_rows = |statement: &String| OF_ROWS.iter().any(|what| statement.contains(what));
    statements.retain(|statement| !(is_done && is_of_rows(statement)));
    statements
}

fn create_database(config: &WarehouseConfig) -> String {
    format!("CREATE DATABASE IF NOT EXISTS {}{}", config.database, config.on_cluster())
}

async fn run(warehouse: &Warehouse, statements: &[String]) -> Result<(), WarehouseError> {
    for statement in statements {
        contend(|| warehouse.execute(statement)).await?;
    }
    Ok(())
}

/// Tries again what failed because another one was at work.
async fn contend<F>(statement: impl Fn() -> F) -> Result<(), WarehouseError>
where
    F: Future<Output = Result<(), WarehouseError>>,
{
    let mut tries = 1;
    loop {
        match statement().await {
            Err(error) if tries < TRIES_MAX && error.code().is_some_and(|code| CONTENDED.contains(&code)) => {
                tokio::time::sleep(PAUSE * tries).await;
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Adds columns for fields that the registry has got since the table was created, and lets the view show them.
async fn ensure_columns(warehouse: &Warehouse) -> Result<(), WarehouseError> {
    let config = warehouse.config();
    let columns = event_columns(warehouse).await?;
    let is_there = |field: &Field| columns.iter().any(|column| column.name == field.name);
    let mut statements = Vec::new();
    // Each behind the one before it, as in a new table. The first one is in all tables.
    for [before, field] in FIELDS.array_windows().filter(|[_, field]| !is_there(field)) {
        let place = format!("{} AFTER {}", column(field), before.name);
        statements.extend(add_column("requests", &place, config));
    }
    if !statements.is_empty() {
        let view = MIGRATIONS.iter().filter(|migration| migration.name == VIEW);
        statements.extend(view.flat_map(|view| ddl::statements(view.sql, config)));
    }
    run(warehouse, &statements).await
}

/// Follows a change of the configuration. Rows get the new time with their next merge: rewriting all of them at once
/// would stall the server.
fn change_times_to_live(config: &WarehouseConfig, tables: &[Table]) -> Vec<String> {
    let mut statements = Vec::new();
    for (table, column, days) in times_to_live(config) {
        let (local, ttl) = (config.local(table), format!("toIntervalDay({days})"));
        if tables.iter().any(|found| found.name == local && !found.engine_full.contains(&ttl)) {
            let alter = format!("ALTER TABLE {} MODIFY TTL {column} + {ttl}", config.stored_in(table));
            statements.push(format!("{alter} SETTINGS materialize_ttl_after_modify = 0"));
        }
    }
    statements
}

/// For tables that forget tokens too soon, whoever made them so.
fn change_deduplication(config: &WarehouseConfig, tables: &[Table]) -> Vec<String> {
    let mut statements = Vec::new();
    for (table, ..) in times_to_live(config) {
        for found in tables.iter().filter(|found| found.name == config.local(table)) {
            for (setting, least) in deduplication(found.is_replicated()) {
                if found.number(setting).is_none_or(|value| value < *least) {
                    let stored = config.stored_in(table);
                    statements.push(format!("ALTER TABLE {stored} MODIFY SETTING {setting} = {least}"));
                }
            }
        }
    }
    // Of several servers.
    statements.dedup();
    statements
}

/// For tables that say nothing of how they are merged: of a cluster's servers they get what others have.
fn change_merges(config: &WarehouseConfig, tables: &[Table]) -> Vec<String> {
    let mut statements = Vec::new();
    for table in MERGED_HOURLY {
        let found: Vec<_> = tables.iter().filter(|found| found.name == config.local(table)).collect();
        let mut missing = MERGES.to_vec();
        missing.retain_mut(|(setting, value)| {
            *value = found.iter().find_map(|found| found.setting(setting)).unwrap_or(value);
            found.iter().any(|found| found.setting(setting).is_none())
        });
        if !missing.is_empty() {
            statements.push(set(table, &missing, config));
        }
    }
    statements
}

/// All at once: parts are merged by all of these settings or by none.
fn set(table: &str, settings: &[(&str, &str)], config: &WarehouseConfig) -> String {
    let settings: Vec<_> = settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!("ALTER TABLE {} MODIFY SETTING {}", config.stored_in(table), settings.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_match_the_names() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, index + 1);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)));
        }
        assert!(MIGRATIONS.iter().any(|migration| migration.name == VIEW));
    }

    #[test]
    fn rows_are_rewritten_once_and_all_else_is_repeated() {
        let config = WarehouseConfig { cluster: Some("c".to_owned()), ..WarehouseConfig::default() };
        let of = |is_done| {
            MIGRATIONS.iter().flat_map(|migration| step(migration, is_done, &config)).collect::<Vec<_>>()
        };
        let [first, again] = [of(false), of(true)];
        let once: Vec<_> = first.iter().filter(|statement| !again.contains(statement)).collect();
        assert_eq!(once.len(), first.len() - again.len());
        let tables = ["clicks_by_hour_local", "visits_by_hour_local", "clicks_local", "clicks_local"];
        assert_eq!(once.len(), tables.len());
        assert!(tables.iter().zip(once).all(|(table, statement)| statement.contains(&format!(" {table} "))));
    }

    #[test]
    fn a_server_that_joins_merges_as_the_others_do() {
        let config = WarehouseConfig { cluster: Some("c".to_owned()), ..WarehouseConfig::default() };
        let all = "min_age_to_force_merge_seconds = 3600, \
                   enable_max_bytes_limit_for_min_age_to_force_merge = 1, \
                   max_bytes_to_merge_at_max_space_in_pool = 4294967296";
        let (none, off) = ("index_granularity = 512", all.replace("3600", "0"));
        for (first, second, expected) in
            [(none, none, Some(all)), (none, &off, Some(&off)), (&off, &off, None)]
        {
            let found = [("a", first), ("b", second)]
                .map(|(host, settings)| Table::of(host, "clicks_by_day_local", settings));
            let expected = expected.map(|settings| {
                format!("ALTER TABLE clicks_by_day_local ON CLUSTER `c` MODIFY SETTING {settings}")
            });
            assert_eq!(change_merges(&config, &found), Vec::from_iter(expected));
        }
    }
}
