//! What of the schema is generated: the event's columns and attributes from wide-event's registry, the engines, the
//! times to live. The rest stands in `migrations/`. Pure text; nothing here talks to ClickHouse.

use std::fmt::Write;

use wide_event::FIELDS;
use wide_event::registry::{Field, Kind};

use crate::WarehouseConfig;

/// How many inserts back ClickHouse recognises a token, by table. An insert is repeated after a crash, a timeout or
/// a rebalance; what counts is how many inserts of *other* partitions came in between. At one range a second from
/// each of eight partitions, and two months touched by each, 20,000 are twenty minutes of a stuck partition beside
/// seven busy ones; a lone collector that was down for a month needs one. The log of tokens costs about 100 bytes an
/// entry. Behind it stands the ledger: a range that is in there is never inserted again.
const DEDUP_WINDOW: u32 = 20_000;

/// Fills in what a migration leaves open as `${…}`.
pub(crate) fn fill_in(template: &str, config: &WarehouseConfig) -> String {
    let days = |days: u32| days.to_string();
    let mut sql = template
        .replace("${event_columns}", &event_columns())
        .replace("${otel_attributes}", &otel_attributes())
        .replace("${window}", &DEDUP_WINDOW.to_string())
        .replace("${requests_ttl_days}", &days(config.requests_ttl_days))
        .replace("${clicks_ttl_days}", &days(config.clicks_ttl_days))
        .replace("${rollups_ttl_days}", &days(config.rollups_ttl_days));
    for kind in ["MergeTree", "AggregatingMergeTree", "ReplacingMergeTree"] {
        sql = sql.replace(&format!("${{engine:{kind}}}"), &engine(kind));
    }
    sql
}

/// The engine clause. The one place where a cluster's `Replicated…MergeTree` would come in.
fn engine(kind: &str) -> String {
    format!("{kind}()")
}

/// A table's column that expires its rows, and after how many days.
pub(crate) fn times_to_live(config: &WarehouseConfig) -> [(&'static str, &'static str, u32); 8] {
    [
        ("requests", "toDateTime(ts)", config.requests_ttl_days),
        ("requests_by_minute", "minute", config.rollups_ttl_days),
        ("clicks", "ts", config.clicks_ttl_days),
        ("clicks_by_hour", "hour", config.rollups_ttl_days),
        ("ingest_ledger", "toDateTime(collected_at)", config.rollups_ttl_days),
        ("dead_letters", "toDateTime(collected_at)", config.requests_ttl_days),
        ("producer_sequences", "toDateTime(collected_at)", config.requests_ttl_days),
        ("producer_boots", "toDateTime(collected_at)", config.requests_ttl_days),
    ]
}

/// The definition of an event's column.
pub(crate) fn column(field: &Field) -> String {
    let Field { name, kind, .. } = field;
    let doc = field.doc.trim().replace('\\', "\\\\").replace('\'', "\\'");
    let unit = if matches!(field.unit, "" | "1") { String::new() } else { format!(" [{}]", field.unit) };
    format!("{name} {} COMMENT '{doc}{unit}' {}", kind.column_type(), kind.codec()).trim_end().to_owned()
}

fn event_columns() -> String {
    FIELDS.iter().map(|field| format!("    {}", column(field))).collect::<Vec<_>>().join(",\n")
}

/// Pairs of OpenTelemetry's name and the column as text, for what has no column of its own in `otel_logs`.
fn otel_attributes() -> String {
    let mut pairs = String::new();
    for Field { name, kind, otel, .. } in FIELDS {
        if matches!(kind, Kind::Time | Kind::Trace | Kind::Span) {
            continue;
        }
        let separator = if pairs.is_empty() { "" } else { ",\n" };
        // Writing to a string can't fail.
        let _ = write!(pairs, "{separator}        '{otel}', toString({name})");
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::MIGRATIONS;

    #[test]
    fn nothing_is_left_open() {
        for migration in MIGRATIONS {
            let sql = fill_in(migration.sql, &WarehouseConfig::default());
            assert!(!sql.contains("${"), "{}: {sql}", migration.name);
        }
    }

    #[test]
    fn every_column_of_every_table_has_a_comment() {
        for migration in MIGRATIONS.iter().filter(|migration| migration.sql.contains("CREATE TABLE")) {
            let sql = fill_in(migration.sql, &WarehouseConfig::default());
            for line in sql.lines().filter(|line| line.starts_with("    ") && !line.starts_with("    INDEX"))
            {
                assert!(line.contains(" COMMENT '"), "{}: {line}", migration.name);
            }
        }
    }

    #[test]
    fn a_column_says_what_it_is() {
        let duration = FIELDS.iter().find(|field| field.name == "duration_us").unwrap();
        let sql = column(duration);
        assert!(sql.starts_with("duration_us UInt64 COMMENT 'From the request\\'s head"), "{sql}");
        assert!(sql.ends_with(" [us]' CODEC(T64, ZSTD(1))"), "{sql}");
    }
}
