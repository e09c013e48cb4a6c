//! A dashboard: its head, its variables, and its panels placed on the grid, row by row.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::error::Mistake;
use crate::panel::{self, Place};
use crate::read::Sources;
use crate::source::{Dashboard, Link};
use crate::{link, variable};

/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;

/// Of the JSON's form: the classic one.
const SCHEMA_VERSION: u32 = 39;

/// What one dashboard has to hold; what does not fit is added to the mistakes.
pub(crate) fn json(all: &Sources, name: &str, source: &Dashboard, mistakes: &mut Vec<Mistake>) -> Value {
    let mut wrong = |place: &str, what: String| {
        let place = if place.is_empty() { name.to_owned() } else { format!("{name}, {place:?}") };
        mistakes.push(Mistake { place, what });
    };
    let mut list = Vec::new();
    for wanted in &source.variables {
        match all.common.variables.iter().find(|variable| variable.name == *wanted) {
            Some(found) => list.push(variable::json(found)),
            None => wrong("", format!("there is no variable {wanted:?}")),
        }
    }
    let annotations = variable::annotations(all).unwrap_or_else(|what| {
        wrong("", what);
        Value::Null
    });
    for unused in unused_queries(all, name, source) {
        wrong("", format!("no panel uses {unused}"));
    }
    json!({
        "annotations": annotations,
        "description": source.description,
        "editable": false,
        "fiscalYearStartMonth": 0,
        // The cross hair is at the same time in all panels.
        "graphTooltip": 1,
        "id": null,
        "links": link::to_all(all, source),
        "panels": panels(all, name, source, &mut wrong),
        "refresh": "1m",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["hoplog"],
        "templating": { "list": list },
        "time": { "from": source.from, "to": "now" },
        "timepicker": {},
        "timezone": "browser",
        "title": source.title,
        "uid": source.uid,
        "version": 1,
    })
}

/// Rows and panels, from the left to the right and from the top down.
fn panels(all: &Sources, name: &str, source: &Dashboard, wrong: &mut impl FnMut(&str, String)) -> Vec<Value> {
    let (mut placed, mut top) = (Vec::new(), 0);
    for row in &source.rows {
        placed.push(json!({
            "collapsed": false,
            "gridPos": { "h": 1, "w": COLUMNS, "x": 0, "y": top },
            "id": placed.len() + 1,
            "panels": [],
            "title": row.title,
            "type": "row",
        }));
        top += 1;
        let (mut left, mut highest) = (0, 0);
        for panel in &row.panels {
            if left + panel.width > COLUMNS {
                (left, top, highest) = (0, top + highest, 0);
            }
            let place = Place { id: placed.len() + 1, left, top };
            let onward = panel.onward.as_deref().unwrap_or(&row.onward);
            let links = links(all, source, onward, &panel.title, wrong);
            let columns = panel.columns.iter();
            let columns =
                columns.map(|column| links_of(all, source, &column.onward, &panel.title, wrong)).collect();
            match panel::json(all, name, panel, place, links, columns) {
                Ok(json) => placed.push(json),
                Err(what) => wrong(&panel.title, what),
            }
            left += panel.width;
            highest = highest.max(panel.height);
        }
        top += highest;
    }
    placed
}

/// Of a panel: there is always a way on.
fn links(
    all: &Sources,
    source: &Dashboard,
    links: &[Link],
    panel: &str,
    wrong: &mut impl FnMut(&str, String),
) -> Vec<Value> {
    if links.is_empty() {
        wrong(panel, "leads nowhere".to_owned());
    }
    links_of(all, source, links, panel, wrong)
}

fn links_of(
    all: &Sources,
    source: &Dashboard,
    links: &[Link],
    panel: &str,
    wrong: &mut impl FnMut(&str, String),
) -> Vec<Value> {
    let made = links.iter().map(|link| link::from_value(all, source, link));
    made.filter_map(|link| link.map_err(|what| wrong(panel, what)).ok()).collect()
}

/// Files in the folder of the dashboard's queries that nothing shows.
fn unused_queries(all: &Sources, name: &str, source: &Dashboard) -> Vec<String> {
    let panels = source.rows.iter().flat_map(|row| &row.panels);
    let used: BTreeSet<_> = panels.flat_map(|panel| &panel.targets).map(|target| &*target.query).collect();
    let folder = format!("{name}/");
    let files = all.queries.keys().filter_map(|file| file.strip_prefix(&folder));
    files.filter(|file| !used.contains(file)).map(str::to_owned).collect()
}
