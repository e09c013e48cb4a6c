//! The fields at the top of a dashboard, and what is drawn over time on each of them.

use serde_json::{Value, json};

use crate::read::Sources;
use crate::source::{Annotation, Choice, Store, Variable};
use crate::target::{datasource, store};

/// A field.
pub(crate) fn json(variable: &Variable) -> Value {
    let mut json = match &variable.choice {
        Choice::Datasource(source) => json!({
            "current": { "selected": false, "text": source.name, "value": source.uid },
            "includeAll": false,
            "multi": false,
            "options": [],
            "query": source.plugin,
            "refresh": 1,
            "regex": "",
            "type": "datasource",
        }),
        Choice::Values(values) => json!({
            // Prometheus takes this where all are chosen; the macro of ClickHouse's plugin looks at the choice itself.
            "allValue": match values.of { Store::Prometheus => Value::from(".+"), Store::Clickhouse => Value::Null },
            "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
            "datasource": datasource(values.of),
            "definition": values.query,
            "includeAll": true,
            "multi": true,
            "options": [],
            "query": match values.of {
                // 1: values of a label.
                Store::Prometheus => json!({ "qryType": 1, "query": values.query, "refId": "variable" }),
                Store::Clickhouse => json!({ "editorType": "sql", "rawSql": values.query, "refId": "variable" }),
            },
            // With the time range: what is chosen from is what was there then.
            "refresh": 2,
            "regex": "",
            "sort": 1,
            "type": "query",
        }),
        Choice::Text(_) => json!({
            "current": { "selected": true, "text": "", "value": "" },
            "options": [{ "selected": true, "text": "", "value": "" }],
            "query": "",
            "type": "textbox",
        }),
    };
    json["name"] = variable.name.as_str().into();
    json["label"] = variable.label.as_str().into();
    json["description"] = variable.description.as_str().into();
    json["hide"] = 0.into();
    json["skipUrlSync"] = false.into();
    json
}

/// Grafana's own, which people add by hand, and ours.
///
/// # Errors
/// In words, when there is no such query.
pub(crate) fn annotations(all: &Sources) -> Result<Value, String> {
    let by_hand = json!({
        "builtIn": 1,
        "datasource": { "type": "grafana", "uid": "-- Grafana --" },
        "enable": true,
        "hide": true,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    });
    let ours = all.common.annotations.iter().map(|annotation| ours(all, annotation));
    let list = std::iter::once(Ok(by_hand)).chain(ours).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "list": list }))
}

fn ours(all: &Sources, annotation: &Annotation) -> Result<Value, String> {
    let file = format!("annotations/{}", annotation.query);
    let missing = || format!("there is no query {file}");
    let (store, text) = store(&file).zip(all.queries.get(&file)).ok_or_else(missing)?;
    let mut json = match store {
        Store::Prometheus => json!({
            "expr": text,
            // One point a minute: what lasts less is not an incident.
            "step": "60s",
            "titleFormat": annotation.title,
            "textFormat": annotation.text,
        }),
        Store::Clickhouse => json!({
            "target": { "editorType": "sql", "format": 1, "queryType": "table", "rawSql": text, "refId": "annotation" },
        }),
    };
    json["datasource"] = datasource(store);
    json["enable"] = true.into();
    json["hide"] = false.into();
    json["iconColor"] = annotation.color.as_str().into();
    json["name"] = annotation.name.as_str().into();
    Ok(json)
}
