//! Queries as Grafana has them. The text is the file's; which form the answer has follows from the panel, and whether single
//! requests are drawn over it, from what it asks for.

use serde_json::{Value, json};

use crate::source::{Kind, Store, Target};

/// The one metric with exemplars: each names the trace of a request that was in that bucket.
const WITH_EXEMPLARS: &str = "hoplog_request_duration_seconds_bucket";

/// Who answers a file's query, by its name.
pub(crate) fn store(file: &str) -> Option<Store> {
    match file.rsplit_once('.')? {
        (_, "promql") => Some(Store::Prometheus),
        (_, "sql") => Some(Store::Clickhouse),
        _ => None,
    }
}

/// Which data source, by variable.
pub(crate) fn datasource(store: Store) -> Value {
    json!({ "type": store.plugin(), "uid": format!("${{{}}}", store.variable()) })
}

/// The `number`th target of a panel.
pub(crate) fn json(target: &Target, store: Store, text: &str, kind: Kind, number: usize) -> Value {
    let id = reference(number);
    match store {
        Store::Prometheus => {
            let instant = matches!(kind, Kind::Number | Kind::Bars | Kind::Table);
            let format = match kind {
                Kind::Table => "table",
                Kind::Heatmap => "heatmap",
                _ => "time_series",
            };
            json!({
                "datasource": datasource(store),
                "editorMode": "code",
                "exemplar": !instant && text.contains(WITH_EXEMPLARS),
                "expr": text,
                "format": format,
                "instant": instant,
                "legendFormat": target.legend,
                "range": !instant,
                "refId": id,
            })
        }
        Store::Clickhouse => {
            // The plugin's own numbers.
            let (format, name) = match kind {
                Kind::Lines | Kind::Heatmap | Kind::States => (0, "timeseries"),
                Kind::Number | Kind::Bars | Kind::Table => (1, "table"),
                Kind::Logs => (2, "logs"),
                Kind::Trace => (3, "traces"),
            };
            json!({
                "datasource": datasource(store),
                "editorType": "sql",
                "format": format,
                "queryType": name,
                "rawSql": text,
                "refId": id,
            })
        }
    }
}

/// `A`, `B`, …; a panel with more than there are letters would be no panel.
pub(crate) fn reference(number: usize) -> String {
    char::from(b'A' + u8::try_from(number % 26).unwrap_or_default()).to_string()
}
