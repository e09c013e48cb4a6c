//! What of the schema is generated: the event's columns and attributes from wide-event's registry, the times to live.
//! Engines and what depends on the servers is `ddl`'s, the rest stands in `migrations/`. Pure text.

use std::fmt::Write;

use wide_event::FIELDS;
use wide_event::registry::{Field, Kind};

use crate::WarehouseConfig;

/// Fills in what a migration leaves open as `${…}`, but for what depends on the servers.
pub(crate) fn fill_in(template: &str, config: &WarehouseConfig) -> String {
    let days = |days: u32| days.to_string();
    template
        .replace("${event_columns}", &event_columns())
        .replace("${otel_attributes}", &otel_attributes())
        .replace("${requests_ttl_days}", &days(config.requests_ttl_days))
        .replace("${clicks_ttl_days}", &days(config.clicks_ttl_days))
        .replace("${rollups_ttl_days}", &days(config.rollups_ttl_days))
        .replace("${traces_ttl_days}", &days(config.traces_ttl_days))
}

/// A table's column that expires its rows, and after how many days.
pub(crate) fn times_to_live(config: &WarehouseConfig) -> [(&'static str, &'static str, u32); 16] {
    [
        ("requests", "toDateTime(ts)", config.requests_ttl_days),
        ("requests_by_minute", "minute", config.rollups_ttl_days),
        ("clicks", "ts", config.clicks_ttl_days),
        ("clicks_by_hour", "hour", config.rollups_ttl_days),
        ("clicks_by_day", "day", config.rollups_ttl_days),
        // Rows of a year stay until its last day expires, those of its days, too: they add up to the year's.
        ("clicks_by_link", "toStartOfYear(since) + toIntervalYear(1)", config.rollups_ttl_days),
        ("visits_by_hour", "hour", config.rollups_ttl_days),
        ("visits_by_day", "day", config.rollups_ttl_days),
        ("orphan_visits", "ts", config.clicks_ttl_days),
        ("ingest_ledger", "toDateTime(collected_at)", config.rollups_ttl_days),
        ("dead_letters", "toDateTime(collected_at)", config.requests_ttl_days),
        ("dead_letter_replays", "toDateTime(replayed_at)", config.requests_ttl_days),
        ("producer_sequences", "toDateTime(collected_at)", config.requests_ttl_days),
        ("producer_boots", "toDateTime(collected_at)", config.requests_ttl_days),
        ("otel_traces", "toDateTime(Timestamp)", config.traces_ttl_days),
        ("otel_traces_trace_id_ts", "Start", config.traces_ttl_days),
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
