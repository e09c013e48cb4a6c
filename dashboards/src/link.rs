//! Ways from one dashboard to another, and to a trace. Time range and variables go along, but for those that are set.

use serde_json::{Value, json};

use crate::read::Sources;
use crate::source::{Dashboard, Link};

/// Links at the top of a dashboard: to each of the others.
pub(crate) fn to_all(all: &Sources, from: &Dashboard) -> Value {
    let others = all.dashboards.iter().filter(|(_, dashboard)| dashboard.uid != from.uid);
    let link = |dashboard: &Dashboard| {
        json!({
            "asDropdown": false,
            "icon": "dashboard",
            "includeVars": true,
            "keepTime": true,
            "tags": [],
            "targetBlank": false,
            "title": short(&dashboard.title),
            "tooltip": dashboard.description,
            "type": "link",
            "url": format!("/d/{}", dashboard.uid),
        })
    };
    others.map(|(_, dashboard)| link(dashboard)).collect()
}

/// What is behind the product's name in a title.
fn short(title: &str) -> &str {
    title.rsplit_once(" / ").map_or(title, |(_, last)| last)
}

/// A link from a value that is shown.
///
/// # Errors
/// In words, when there is no such dashboard, or it has no such variable.
pub(crate) fn from_value(all: &Sources, from: &Dashboard, link: &Link) -> Result<Value, String> {
    let url = if link.to == "trace" { trace(from, link)? } else { onward(all, from, link)? };
    Ok(json!({ "targetBlank": link.to == "trace", "title": link.title, "url": url }))
}

fn onward(all: &Sources, from: &Dashboard, link: &Link) -> Result<String, String> {
    let to = all.dashboard(&link.to).ok_or_else(|| format!("leads to {:?}, which is none", link.to))?;
    if let Some(name) = link.set.keys().find(|name| !to.variables.contains(name)) {
        return Err(format!("sets {name:?}, which {:?} does not have", link.to));
    }
    let mut url = format!("/d/{}?${{__url_time_range}}", to.uid);
    for name in to.variables.iter().filter(|name| from.variables.contains(name)) {
        if !link.set.contains_key(name) {
            url += &format!("&${{{name}:queryparam}}");
        }
    }
    for (name, value) in &link.set {
        url += &format!("&var-{name}={value}");
    }
    Ok(url)
}

/// The viewer of traces, for whichever data source holds them.
fn trace(from: &Dashboard, link: &Link) -> Result<String, String> {
    let Some(id) = link.set.get("trace_id").filter(|_| link.set.len() == 1) else {
        return Err("a trace is found by `trace_id` alone".to_owned());
    };
    if !from.variables.iter().any(|name| name == "tempo") {
        return Err("leads to a trace, and the dashboard does not say where those are".to_owned());
    }
    let source = json!({ "type": "tempo", "uid": "TEMPO" });
    let query = json!({ "datasource": source, "query": "TRACE", "queryType": "traceql", "refId": "A" });
    let range = json!({ "from": "FROM", "to": "TO" });
    let mut panes = json!({ "trace": { "datasource": "TEMPO", "queries": [query], "range": range } });
    panes.sort_all_objects();
    let mut panes = encoded(&panes.to_string());
    // Left as they are, for Grafana to fill in.
    for (mark, variable) in [("TEMPO", "${tempo}"), ("TRACE", id), ("FROM", "${__from}"), ("TO", "${__to}")] {
        panes = panes.replace(mark, variable);
    }
    Ok(format!("/explore?schemaVersion=1&panes={panes}"))
}

/// What has a meaning in a URL, percent-encoded.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn what_has_a_meaning_in_a_url_is_encoded() {
        assert_eq!(encoded(r#"{"a b":[1]}"#), "%7B%22a%20b%22%3A%5B1%5D%7D");
        assert_eq!(encoded("A-z_0.9"), "A-z_0.9");
    }
}
