//! A panel as Grafana has it, by its kind. Where it stands and where it leads is decided elsewhere.

use serde_json::{Map, Value, json};

use crate::read::Sources;
use crate::source::{Kind, Panel, Store};
use crate::target;

/// Where a panel stands, and its number within the dashboard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) id: usize,
    pub(crate) left: u32,
    pub(crate) top: u32,
}

/// Highest width: the whole grid.
const WIDTH_MAX: u32 = 24;

/// Points of a line: by default Grafana asks for one a pixel, and a day of quantiles by the minute costs Prometheus five
/// times what it costs by five minutes. A third of a laptop's screen shows no more than these.
const POINTS_MAX: u32 = 400;

/// A panel; `links` lead on from each value, `columns` from the values of columns, in the order of the source.
///
/// # Errors
/// In words, when what is said does not fit together.
pub(crate) fn json(
    all: &Sources,
    dashboard: &str,
    panel: &Panel,
    place: Place,
    links: Vec<Value>,
    columns: Vec<Vec<Value>>,
) -> Result<Value, String> {
    if panel.width == 0 || panel.width > WIDTH_MAX || panel.height == 0 {
        return Err(format!("is {} by {}", panel.width, panel.height));
    }
    let mut targets = Vec::new();
    let mut stores = Vec::new();
    for (number, wanted) in panel.targets.iter().enumerate() {
        let file = format!("{dashboard}/{}", wanted.query);
        let text = all.queries.get(&file).ok_or_else(|| format!("there is no query {file}"))?;
        let store = target::store(&file).ok_or_else(|| format!("{file} is neither PromQL nor SQL"))?;
        targets.push(target::json(wanted, store, text, panel.kind, number));
        stores.push(store);
    }
    let [first, others @ ..] = &stores[..] else { return Err("shows nothing".to_owned()) };
    if others.iter().any(|store| store != first) {
        return Err("mixes data sources".to_owned());
    }
    let mut json = json!({
        "datasource": target::datasource(*first),
        "description": panel.description,
        "fieldConfig": {
            "defaults": defaults(panel, links),
            "overrides": overrides(panel, columns),
        },
        "gridPos": { "h": panel.height, "w": panel.width, "x": place.left, "y": place.top },
        "id": place.id,
        "maxDataPoints": POINTS_MAX,
        "options": options(panel, *first),
        "targets": targets,
        "title": panel.title,
        "type": grafana_type(panel.kind),
    });
    if panel.kind == Kind::Table && *first == Store::Prometheus {
        json["transformations"] = side_by_side(panel);
    }
    Ok(json)
}

fn grafana_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Lines => "timeseries",
        Kind::Heatmap => "heatmap",
        Kind::States => "state-timeline",
        Kind::Number => "stat",
        Kind::Bars => "bargauge",
        Kind::Table => "table",
        Kind::Logs => "logs",
        Kind::Trace => "traces",
    }
}

fn defaults(panel: &Panel, links: Vec<Value>) -> Value {
    let steps = panel.thresholds.iter().enumerate().map(|(number, step)| {
        let from = if number == 0 { Value::Null } else { Value::from(step.from) };
        json!({ "color": step.color, "value": from })
    });
    let mut steps: Vec<_> = steps.collect();
    let by_value = !steps.is_empty() && panel.kind != Kind::Lines || panel.kind == Kind::States;
    if steps.is_empty() {
        steps.push(json!({ "color": "blue", "value": null }));
    }
    let names = panel.names.iter().enumerate().map(|(number, named)| {
        (named.value.clone(), json!({ "color": named.color, "index": number, "text": named.text }))
    });
    let names: Map<_, _> = names.collect();
    let mappings = if names.is_empty() { json!([]) } else { json!([{ "options": names, "type": "value" }]) };
    json!({
        "color": { "mode": if by_value { "thresholds" } else { "palette-classic" } },
        "custom": custom(panel),
        "links": links,
        "mappings": mappings,
        "noValue": "none",
        "thresholds": { "mode": "absolute", "steps": steps },
        "unit": panel.unit,
    })
}

/// What only this kind of panel has.
fn custom(panel: &Panel) -> Value {
    match panel.kind {
        Kind::Lines => json!({
            "drawStyle": "line",
            "fillOpacity": if panel.stacked { 30 } else { 8 },
            "lineWidth": 1,
            "showPoints": "auto",
            "spanNulls": false,
            "stacking": { "group": "A", "mode": if panel.stacked { "normal" } else { "none" } },
            // Limits are drawn where there are any.
            "thresholdsStyle": { "mode": if panel.thresholds.is_empty() { "off" } else { "dashed" } },
        }),
        Kind::States => json!({ "fillOpacity": 80, "lineWidth": 0 }),
        Kind::Table => {
            json!({ "align": "auto", "cellOptions": { "type": "auto" }, "filterable": true, "inspect": true })
        }
        Kind::Heatmap | Kind::Number | Kind::Bars | Kind::Logs | Kind::Trace => json!({}),
    }
}

fn overrides(panel: &Panel, links: Vec<Vec<Value>>) -> Vec<Value> {
    let columns = panel.columns.iter().zip(links);
    let properties = columns.map(|(column, links)| {
        let mut properties = Vec::new();
        if let Some(unit) = &column.unit {
            properties.push(json!({ "id": "unit", "value": unit }));
        }
        if let Some(width) = column.width {
            properties.push(json!({ "id": "custom.width", "value": width }));
        }
        if !links.is_empty() {
            properties.push(json!({ "id": "links", "value": links }));
        }
        json!({ "matcher": { "id": "byName", "options": column.name }, "properties": properties })
    });
    properties.collect()
}

fn options(panel: &Panel, store: Store) -> Value {
    let legend = json!({ "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true });
    // An answer of ClickHouse has a row for each value; one of Prometheus has a series, of which the last value counts.
    let rows = store == Store::Clickhouse && panel.kind == Kind::Bars;
    let reduce = json!({ "calcs": ["lastNotNull"], "fields": "", "values": rows });
    match panel.kind {
        Kind::Lines => json!({ "legend": legend, "tooltip": { "mode": "multi", "sort": "desc" } }),
        Kind::Heatmap => json!({
            "calculate": false,
            "cellGap": 1,
            "color": { "exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "reverse": false, "scale": "exponential", "scheme": "Oranges", "steps": 64 },
            "exemplars": { "color": "rgba(255,0,255,0.7)" },
            "filterValues": { "le": 1e-9 },
            "legend": { "show": true },
            "rowsFrame": { "layout": "auto" },
            "showValue": "never",
            "tooltip": { "mode": "single", "showColorScale": false, "yHistogram": false },
            "yAxis": { "axisPlacement": "left", "reverse": false, "unit": panel.unit },
        }),
        Kind::States => json!({
            "alignValue": "left",
            "legend": legend,
            "mergeValues": true,
            "rowHeight": 0.9,
            "showValue": "never",
            "tooltip": { "mode": "single", "sort": "none" },
        }),
        Kind::Number => json!({
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": reduce,
            "showPercentChange": false,
            "textMode": "auto",
            "wideLayout": true,
        }),
        Kind::Bars => json!({
            "displayMode": "gradient",
            "maxVizHeight": 300,
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "auto",
            "orientation": "horizontal",
            "reduceOptions": reduce,
            "showUnfilled": true,
            "sizing": "auto",
            "valueMode": "color",
        }),
        Kind::Table => json!({
            "cellHeight": "sm",
            "footer": { "countRows": false, "fields": "", "reducer": ["sum"], "show": false },
            "showHeader": true,
        }),
        Kind::Logs => json!({
            "dedupStrategy": "none",
            "enableLogDetails": true,
            "prettifyLogMessage": false,
            "showCommonLabels": false,
            "showLabels": false,
            "showTime": true,
            "sortOrder": "Descending",
            "wrapLogMessage": true,
        }),
        Kind::Trace => json!({}),
    }
}

/// Answers to several questions to Prometheus as columns of one table, under names that people read.
fn side_by_side(panel: &Panel) -> Value {
    let one = panel.targets.len() == 1;
    let column = |number: usize| {
        if one { "Value".to_owned() } else { format!("Value #{}", target::reference(number)) }
    };
    let names = panel.targets.iter().enumerate();
    let names: Map<_, _> =
        names.map(|(number, target)| (column(number), target.legend.as_str().into())).collect();
    let hidden = ["Time", "__name__", "instance", "job"].map(|name| (name.to_owned(), true.into()));
    let organize = json!({
        "excludeByName": Map::from_iter(hidden),
        "includeByName": {},
        "indexByName": {},
        "renameByName": names,
    });
    json!([{ "id": "merge", "options": {} }, { "id": "organize", "options": organize }])
}
