//! Brings ClickHouse's tables to this version, and checks that they are there. Every statement can be repeated, so two
//! that migrate at once, or one that is killed half way, do no harm. Columns are only added, never changed or dropped.

use clickhouse::Row;
use serde::Deserialize;
use wide_event::FIELDS;

use crate::schema::{column, fill_in, times_to_live};
use crate::{Warehouse, WarehouseError};

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
};

const RECORD_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version UInt32 COMMENT 'Number of the step',
    name String COMMENT 'Its name',
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When it was applied'
) ENGINE = ${engine:ReplacingMergeTree} ORDER BY version COMMENT 'Steps of the schema that were applied'";

/// Brings the schema to this version; creates the database where it is missing. Returns the names of the steps that
/// were applied now.
///
/// # Errors
/// See [`WarehouseError`]; what was done stays, and the next call goes on from there.
pub async fn migrate(warehouse: &Warehouse) -> Result<Vec<&'static str>, WarehouseError> {
    let config = warehouse.config();
    warehouse.execute_outside(&format!("CREATE DATABASE IF NOT EXISTS {}", config.database)).await?;
    warehouse.execute(&fill_in(RECORD_TABLE, config)).await?;
    let done = applied(warehouse).await?;
    let mut now = Vec::new();
    for migration in MIGRATIONS.iter().filter(|migration| !done.contains(&migration.version)) {
        for statement in statements(&fill_in(migration.sql, config)) {
            warehouse.execute(&statement).await?;
        }
        let Migration { version, name, .. } = migration;
        let record = format!("INSERT INTO schema_migrations (version, name) VALUES ({version}, '{name}')");
        warehouse.execute(&record).await?;
        now.push(*name);
    }
    ensure_columns(warehouse).await?;
    ensure_times_to_live(warehouse).await?;
    Ok(now)
}

/// Whether the tables are as this version needs them: the gate before anything is written.
///
/// # Errors
/// [`WarehouseError::Schema`] with all that is missing, or why it could not be found out.
pub async fn schema_check(warehouse: &Warehouse) -> Result<(), WarehouseError> {
    let database = &warehouse.config().database;
    let mut wrong = Vec::new();
    let tables =
        rows_of::<Name>(warehouse, "SELECT name FROM system.tables WHERE database = {database:String}")
            .await?;
    for (table, ..) in times_to_live(warehouse.config()).iter().chain(&[("sampling_policies", "", 0)]) {
        if !tables.iter().any(|found| found.name == *table) {
            wrong.push(format!("no table {database}.{table}"));
        }
    }
    if wrong.is_empty() {
        let done = applied(warehouse).await?;
        let missing = MIGRATIONS.iter().filter(|migration| !done.contains(&migration.version));
        wrong.extend(missing.map(|migration| format!("{} was not applied", migration.name)));
        let columns = event_columns(warehouse).await?;
        for field in FIELDS {
            let expected = field.kind.column_type();
            match columns.iter().find(|column| column.name == field.name) {
                None => wrong.push(format!("no column requests.{}", field.name)),
                Some(found) if found.kind != expected => {
                    wrong.push(format!("requests.{} is {}, not {expected}", field.name, found.kind));
                }
                Some(_) => (),
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(WarehouseError::Schema(wrong.join("; "))) }
}

#[derive(Row, Deserialize)]
struct Name {
    name: String,
}

#[derive(Row, Deserialize)]
struct ColumnRow {
    name: String,
    kind: String,
}

#[derive(Row, Deserialize)]
struct Version {
    version: u32,
}

async fn rows_of<T>(warehouse: &Warehouse, sql: &str) -> Result<Vec<T>, WarehouseError>
where
    T: clickhouse::RowOwned + clickhouse::RowRead,
{
    warehouse.rows(sql, &[("database", &warehouse.config().database)]).await
}

async fn applied(warehouse: &Warehouse) -> Result<Vec<u32>, WarehouseError> {
    let rows = warehouse.rows::<Version>("SELECT DISTINCT version FROM schema_migrations", &[]).await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

async fn event_columns(warehouse: &Warehouse) -> Result<Vec<ColumnRow>, WarehouseError> {
    const SQL: &str = "SELECT name, type AS kind FROM system.columns WHERE database = {database:String} AND table = 'requests'";
    rows_of(warehouse, SQL).await
}

/// Adds columns for fields that the registry has got since the table was created, and lets the view show them.
async fn ensure_columns(warehouse: &Warehouse) -> Result<(), WarehouseError> {
    let columns = event_columns(warehouse).await?;
    let mut added = false;
    for field in FIELDS.iter().filter(|field| !columns.iter().any(|column| column.name == field.name)) {
        warehouse
            .execute(&format!("ALTER TABLE requests ADD COLUMN IF NOT EXISTS {}", column(field)))
            .await?;
        added = true;
    }
    let view = MIGRATIONS.iter().find(|migration| migration.name == "0006_otel_logs").filter(|_| added);
    for statement in view.iter().flat_map(|view| statements(&fill_in(view.sql, warehouse.config()))) {
        warehouse.execute(&statement).await?;
    }
    Ok(())
}

/// Follows a change of the configuration. Rows get the new time with their next merge: rewriting all of them at once
/// would stall the server.
async fn ensure_times_to_live(warehouse: &Warehouse) -> Result<(), WarehouseError> {
    const SQL: &str =
        "SELECT concat(name, ' ', engine_full) AS name FROM system.tables WHERE database = {database:String}";
    let tables = rows_of::<Name>(warehouse, SQL).await?;
    for (table, column, days) in times_to_live(warehouse.config()) {
        let (prefix, ttl) = (format!("{table} "), format!("toIntervalDay({days})"));
        if tables.iter().any(|found| found.name.starts_with(&prefix) && !found.name.contains(&ttl)) {
            let alter = format!("ALTER TABLE {table} MODIFY TTL {column} + {ttl}");
            warehouse.execute(&format!("{alter} SETTINGS materialize_ttl_after_modify = 0")).await?;
        }
    }
    Ok(())
}

/// The statements of a migration: each ends with a semicolon at a line's end. Comments between them are left out.
fn statements(sql: &str) -> Vec<String> {
    let code = sql.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    let parts = code.split(";\n").map(|statement| statement.trim().trim_end_matches(';').to_owned());
    parts.filter(|statement| !statement.is_empty()).collect()
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
    }

    #[test]
    fn statements_are_told_apart() {
        assert_eq!(statements("-- a;\nSELECT ';';\n\n-- b\nSELECT 2;\n"), ["SELECT ';'", "SELECT 2"]);
    }
}
