//! The gate before anything is consumed: whether tables, and what "exactly once" rests on, are as this version needs them,
//! on the server that answers and, in a cluster, on all that can be reached. Changes nothing.

use clickhouse::Row;
use serde::Deserialize;
use wide_event::FIELDS;

use crate::ddl::deduplication;
use crate::migrate::MIGRATIONS;
use crate::schema::times_to_live;
use crate::{Warehouse, WarehouseConfig, WarehouseError};

/// Settings that inserts bring along, and the value that must be in force where a profile fixes them.
const FIXED: [(&str, &str); 4] = [
    ("insert_deduplicate", "1"),
    ("async_insert", "0"),
    ("insert_deduplication_token", ""), // fixed at all is wrong: each range has its own
    ("distributed_foreground_insert", "1"),
];

/// The newer switch beside `insert_deduplicate`, which older servers do not know and which it overrules.
const OVERRULES: (&str, &str) = ("deduplicate_insert", "disable");

/// A table as a server has it.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub(crate) struct Table {
    pub(crate) host: String,
    pub(crate) name: String,
    engine: String,
    /// With all its settings.
    pub(crate) engine_full: String,
}

impl Table {
    /// Whether a Keeper has its tokens.
    pub(crate) fn is_replicated(&self) -> bool {
        self.engine.starts_with("Replicated") || self.engine.starts_with("Shared")
    }

    /// A setting of its own, as it was set.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        let (_, settings) = self.engine_full.rsplit_once(" SETTINGS ")?;
        settings.split(", ").find_map(|setting| setting.strip_prefix(name)?.strip_prefix(" = "))
    }

    /// A setting of its own that is a number.
    pub(crate) fn number(&self, setting: &str) -> Option<u64> {
        self.setting(setting)?.parse().ok()
    }
}

/// A setting of the user that asks.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
struct Setting {
    name: String,
    value: String,
    fixed: bool,
}

#[derive(Row, Deserialize)]
pub(crate) struct ColumnRow {
    pub(crate) name: String,
    kind: String,
}

/// Whether the tables are as this version needs them: the gate before anything is written.
///
/// # Errors
/// [`WarehouseError::Schema`] with all that is missing or not in force, or why it could not be found out.
pub async fn schema_check(warehouse: &Warehouse) -> Result<(), WarehouseError> {
    let config = warehouse.config();
    let mut wrong = wrong_tables(&tables(warehouse).await?, config);
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
        wrong.extend(wrong_settings(&settings(warehouse).await?));
    }
    if wrong.is_empty() { Ok(()) } else { Err(WarehouseError::Schema(wrong.join("; "))) }
}

/// All tables of the database, of all servers.
pub(crate) async fn tables(warehouse: &Warehouse) -> Result<Vec<Table>, WarehouseError> {
    let source = match &warehouse.config().cluster {
        Some(cluster) => format!("clusterAllReplicas('{cluster}', system.tables)"),
        None => "system.tables".to_owned(),
    };
    let sql = format!(
        "SELECT DISTINCT hostName() AS host, name, engine, engine_full FROM {source} \
         WHERE database = {{database:String}} ORDER BY host, name SETTINGS skip_unavailable_shards = 1"
    );
    warehouse.rows(&sql, &[("database", &warehouse.config().database)]).await
}

/// Numbers of the steps that were applied.
pub(crate) async fn applied(warehouse: &Warehouse) -> Result<Vec<u32>, WarehouseError> {
    warehouse.rows("SELECT DISTINCT version FROM schema_migrations", &[]).await
}

/// Columns of `requests`, as inserts find it.
pub(crate) async fn event_columns(warehouse: &Warehouse) -> Result<Vec<ColumnRow>, WarehouseError> {
    const SQL: &str = "SELECT name, type AS kind FROM system.columns WHERE database = {database:String} AND table = 'requests'";
    warehouse.rows(SQL, &[("database", &warehouse.config().database)]).await
}

async fn settings(warehouse: &Warehouse) -> Result<Vec<Setting>, WarehouseError> {
    let names = FIXED.iter().map(|(name, _)| name).chain([&OVERRULES.0]);
    let names = names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT name, value, readonly = 1 AS fixed FROM system.settings WHERE name IN ({names}) ORDER BY name"
    );
    warehouse.rows(&sql, &[]).await
}

/// What is wrong with the tables of each server.
fn wrong_tables(found: &[Table], config: &WarehouseConfig) -> Vec<String> {
    let mut hosts: Vec<&str> = found.iter().map(|table| &*table.host).collect();
    hosts.dedup();
    if hosts.is_empty() {
        return vec![format!("no tables in {}", config.database)];
    }
    let mut wrong = Vec::new();
    for host in &hosts {
        let mut say = |what: String| {
            wrong.push(if hosts.len() > 1 { format!("{host}: {what}") } else { what });
        };
        let find = |name: &str| found.iter().find(|table| table.host == *host && table.name == name);
        for table in all_tables(config) {
            if config.cluster.is_some() && find(table).is_none_or(|found| found.engine != "Distributed") {
                say(format!("no Distributed table {}.{table}", config.database));
            }
            let local = config.local(table);
            match find(&local) {
                None => say(format!("no table {}.{local}", config.database)),
                Some(found) => forgets(found, config).into_iter().for_each(&mut say),
            }
        }
    }
    wrong
}

fn all_tables(config: &WarehouseConfig) -> impl Iterator<Item = &'static str> {
    times_to_live(config).into_iter().map(|(table, ..)| table).chain(["sampling_policies"])
}

/// What of a table does not let a repeated insert be recognised.
fn forgets(table: &Table, config: &WarehouseConfig) -> Vec<String> {
    let Table { name, engine, .. } = table;
    if !engine.ends_with("MergeTree") {
        return vec![format!("{name} is a {engine}, which does not recognise repeated inserts")];
    }
    if config.is_replicated() && !table.is_replicated() {
        return vec![format!("{name} is a {engine}, and replicated tables are configured: move its rows")];
    }
    // Rows of this one replace each other: repetitions do no harm.
    if engine.contains("ReplacingMergeTree") {
        return Vec::new();
    }
    let too_small = |(setting, least): &(&str, u64)| match table.number(setting) {
        Some(value) if value >= *least => None,
        Some(value) => Some(format!("{name}: {setting} is {value}, needed is {least}")),
        None => Some(format!("{name}: {setting} is not set, needed is {least}")),
    };
    deduplication(table.is_replicated()).iter().filter_map(too_small).collect()
}

/// What a profile of the user does not let inserts bring along.
fn wrong_settings(found: &[Setting]) -> Vec<String> {
    let mut wrong = Vec::new();
    for Setting { name, value, fixed } in found {
        let differs = FIXED.iter().any(|(known, needed)| {
            known == name && (value != needed || name == "insert_deduplication_token")
        });
        if *fixed && differs {
            wrong.push(format!("the user's profile fixes {name}, so inserts can't be recognised"));
        }
        if (name.as_str(), value.as_str()) == OVERRULES {
            wrong.push(format!("the user's profile sets {name} = {value}, so inserts are not recognised"));
        }
    }
    wrong
}

#[cfg(test)]
impl Table {
    /// One that is nothing but its settings.
    pub(crate) fn of(host: &str, name: &str, settings: &str) -> Self {
        let [host, name, engine] = [host, name, "MergeTree"].map(str::to_owned);
        Self { host, name, engine, engine_full: format!("MergeTree ORDER BY a SETTINGS {settings}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(engine: &str, settings: &str) -> Table {
        let text = str::to_owned;
        let engine_full = format!("{engine} ORDER BY a SETTINGS ttl_only_drop_parts = 1, {settings}");
        Table { host: text("h"), name: text("clicks"), engine: text(engine), engine_full }
    }

    #[test]
    fn tables_that_forget_are_named() {
        let plain = WarehouseConfig::default();
        let replicated = WarehouseConfig { replicated: true, ..WarehouseConfig::default() };
        let both =
            "replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 315360000";
        let hour = "replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 3600";
        for (engine, settings, config, expected) in [
            ("MergeTree", "non_replicated_deduplication_window = 20000", &plain, None),
            ("MergeTree", "non_replicated_deduplication_window = 30000", &plain, None),
            (
                "MergeTree",
                "non_replicated_deduplication_window = 100, index_granularity = 8192",
                &plain,
                Some("window is 100"),
            ),
            ("MergeTree", "index_granularity = 8192", &plain, Some("window is not set")),
            ("MergeTree", "non_replicated_deduplication_window = 20000", &replicated, Some("move its rows")),
            ("ReplicatedMergeTree", both, &replicated, None),
            ("SharedMergeTree", both, &plain, None),
            ("ReplicatedMergeTree", hour, &replicated, Some("seconds is 3600")),
            (
                "ReplicatedMergeTree",
                "non_replicated_deduplication_window = 20000",
                &replicated,
                Some("replicated_deduplication_window is not set"),
            ),
            ("ReplacingMergeTree", "index_granularity = 8192", &plain, None),
            ("Log", "", &plain, Some("does not recognise")),
        ] {
            let found = forgets(&table(engine, settings), config);
            assert_eq!(found.is_empty(), expected.is_none(), "{engine} {settings}: {found:?}");
            assert!(expected.is_none_or(|text| found[0].contains(text)), "{engine} {settings}: {found:?}");
        }
    }

    #[test]
    fn profiles_that_forbid_tokens_are_named() {
        for (name, value, fixed, right) in [
            ("insert_deduplicate", "0", false, true),
            ("insert_deduplicate", "0", true, false),
            ("insert_deduplicate", "1", true, true),
            ("async_insert", "1", false, true),
            ("async_insert", "1", true, false),
            ("insert_deduplication_token", "", true, false),
            ("deduplicate_insert", "enable", true, true),
            ("deduplicate_insert", "disable", false, false),
        ] {
            let setting = Setting { name: name.to_owned(), value: value.to_owned(), fixed };
            assert_eq!(wrong_settings(&[setting]).is_empty(), right, "{name} {value} {fixed}");
        }
    }

    #[test]
    fn each_server_of_a_cluster_has_all_tables() {
        let config = WarehouseConfig { cluster: Some("c".to_owned()), ..WarehouseConfig::default() };
        let settings =
            "replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 315360000";
        let mut found = Vec::new();
        for host in ["a", "b"] {
            for name in all_tables(&config) {
                let local = table("ReplicatedMergeTree", settings);
                found.push(Table { host: host.to_owned(), name: config.local(name), ..local });
                let over = table("Distributed", "");
                found.push(Table { host: host.to_owned(), name: name.to_owned(), ..over });
            }
        }
        assert_eq!(wrong_tables(&found, &config), [] as [String; 0]);
        found.retain(|table| table.host == "a" || !table.name.starts_with("clicks"));
        let wrong = wrong_tables(&found, &config);
        assert!(wrong.contains(&"b: no table hoplog.clicks_local".to_owned()), "{wrong:?}");
        assert_eq!(wrong.len(), 8, "{wrong:?}");
        assert_eq!(wrong_tables(&[], &config), ["no tables in hoplog"]);
    }
}
