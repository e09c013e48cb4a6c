//! What holds of every dashboard, whatever it shows, and that they are those of the sources.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::expand::variables;
use crate::{committed, list, panels, repository, text};

/// Grafana's form of the classic JSON.
const SCHEMA_VERSION: u64 = 39;
/// Longest uid that Grafana takes.
const UID_MAX: usize = 40;

#[test]
fn they_are_what_the_sources_say() {
    let generated = dashboards::generate(&repository("dashboards")).unwrap();
    let committed = std::fs::read_dir(repository("dashboards/grafana")).unwrap();
    let committed: BTreeSet<_> =
        committed.map(|entry| format!("grafana/{}", entry.unwrap().file_name().display())).collect();
    assert_eq!(generated.iter().map(|(path, _)| path.clone()).collect::<BTreeSet<_>>(), committed);
    for (path, text) in generated {
        let found = std::fs::read_to_string(repository(&format!("dashboards/{path}"))).unwrap();
        assert!(found == text, "{path}: cargo xtask gen");
    }
}

/// What breaks a rule, in words.
fn violations(dashboards: &[(String, Value)]) -> Vec<String> {
    let mut found = Vec::new();
    let uids: Vec<_> = dashboards.iter().map(|(_, dashboard)| text(dashboard, "uid")).collect();
    for (name, dashboard) in dashboards {
        let uid = text(dashboard, "uid");
        let plain = uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let once = uids.iter().filter(|other| **other == uid).count() == 1;
        let mut require = |holds: bool, what: String| {
            if !holds {
                found.push(format!("{name}: {what}"));
            }
        };
        require(plain && once && !uid.is_empty() && uid.len() <= UID_MAX, format!("uid {uid:?}"));
        require(*name == format!("{uid}.json"), "is not called as its uid".to_owned());
        require(dashboard["schemaVersion"] == SCHEMA_VERSION, "schemaVersion".to_owned());
        require(!text(dashboard, "title").is_empty(), "has no title".to_owned());
        require(!text(dashboard, "description").is_empty(), "has no description".to_owned());
        let links: BTreeSet<_> = list(dashboard, "links").iter().map(|link| text(link, "url")).collect();
        for other in uids.iter().filter(|other| **other != uid) {
            require(links.contains(format!("/d/{other}").as_str()), format!("has no link to {other}"));
        }
        let kept = |link: &Value| link["keepTime"] == true && link["includeVars"] == true;
        require(list(dashboard, "links").iter().all(kept), "a link forgets time or variables".to_owned());
        let names = ["Deployments", "Incidents"];
        let annotations = list(&dashboard["annotations"], "list");
        let annotated = |name: &&str| annotations.iter().any(|one| text(one, "name") == *name);
        require(names.iter().all(annotated), "lacks annotations".to_owned());
        grid(dashboard, &mut require);
        for panel in panels(dashboard) {
            let title = text(panel, "title");
            of_panel(dashboard, panel, &mut |holds, what| require(holds, format!("{title:?} {what}")));
            links_lead_somewhere(dashboards, panel, &mut |holds, what| {
                require(holds, format!("{title:?} {what}"))
            });
        }
    }
    found
}

/// Names of a dashboard's variables.
fn names(dashboard: &Value) -> BTreeSet<&str> {
    list(&dashboard["templating"], "list").iter().map(|variable| text(variable, "name")).collect()
}

/// Panels are within 24 columns, don't lie on each other, and have numbers of their own.
fn grid(dashboard: &Value, require: &mut impl FnMut(bool, String)) {
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in list(dashboard, "panels") {
        let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap_or_default());
        let [x, y, w, h] = place;
        require(w > 0 && h > 0 && x + w <= 24, format!("{:?} is outside: {place:?}", text(panel, "title")));
        let fields = (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y)));
        let free = fields.filter(|field| !taken.insert(*field)).count() == 0;
        require(free, format!("{:?} lies on another", text(panel, "title")));
        require(ids.insert(panel["id"].as_u64()), format!("{:?} has another's id", text(panel, "title")));
    }
}

fn of_panel(dashboard: &Value, panel: &Value, require: &mut impl FnMut(bool, &str)) {
    let defaults = &panel["fieldConfig"]["defaults"];
    require(!text(panel, "title").is_empty(), "has no title");
    require(text(panel, "description").len() >= 20, "has no description that says something");
    require(text(panel, "description").ends_with('.'), "has a description that is no sentence");
    require(!text(defaults, "unit").is_empty(), "has no unit");
    require(!list(defaults, "links").is_empty(), "leads nowhere");
    require(!list(panel, "targets").is_empty(), "shows nothing");
    let names = names(dashboard);
    for target in list(panel, "targets") {
        let source = &target["datasource"];
        let uid = text(source, "uid").strip_prefix("${").and_then(|uid| uid.strip_suffix('}'));
        require(uid.is_some_and(|uid| names.contains(uid)), "has a data source that can't be chosen");
        require(*source == panel["datasource"], "has another data source than its targets");
        let query = match text(source, "type") {
            "prometheus" => {
                let expr = text(target, "expr");
                let over_time = target["range"] == true && expr.contains("_request_duration_seconds_bucket");
                require(target["exemplar"] == over_time, "does not say whether it shows exemplars");
                expr
            }
            "grafana-clickhouse-datasource" => {
                let format = target["format"].as_u64();
                let wanted = match text(panel, "type") {
                    "timeseries" | "heatmap" | "state-timeline" => 0,
                    "logs" => 2,
                    "traces" => 3,
                    _ => 1,
                };
                require(
                    target["editorType"] == "sql" && format == Some(wanted),
                    "has another form of answer",
                );
                let sql = text(target, "rawSql");
                let bounded = sql.contains("$__timeFilter(")
                    || sql.contains("$__fromTime")
                    || sql.contains("system.parts");
                require(bounded, "reads all times");
                require(format != Some(0) || sql.contains("ORDER BY time"), "has times in no order");
                sql
            }
            _ => "",
        };
        require(!query.is_empty(), "has a target without a query");
        // Windows of rates follow the distance of points, or are the whole range.
        let windows = query.split('[').skip(1).filter_map(|rest| rest.split(']').next());
        let mut of_rates = windows.filter(|_| text(source, "type") == "prometheus");
        require(
            of_rates.all(|window| ["$__rate_interval", "$__range"].contains(&window)),
            "has a window of its own",
        );
        require(
            variables(query).iter().all(|name| names.contains(name.as_str())),
            "uses a variable that is not there",
        );
    }
}

/// Each link from a value leads to a dashboard that is there and sets variables that it has.
fn links_lead_somewhere(dashboards: &[(String, Value)], panel: &Value, require: &mut impl FnMut(bool, &str)) {
    let overrides = list(&panel["fieldConfig"], "overrides").iter().flat_map(|one| list(one, "properties"));
    let columns =
        overrides.filter(|property| property["id"] == "links").flat_map(|property| list(property, "value"));
    for link in list(&panel["fieldConfig"]["defaults"], "links").iter().chain(columns) {
        let url = text(link, "url");
        if url.starts_with("/explore?schemaVersion=1&panes=%7B") {
            require(url.contains("${tempo}") && url.contains("${__value.raw"), "leads to no trace");
            continue;
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let to = dashboards.iter().find(|(_, one)| path == format!("/d/{}", text(one, "uid")));
        let Some((_, to)) = to else {
            require(false, "leads to a dashboard that is not there");
            continue;
        };
        require(query.starts_with("${__url_time_range}"), "leads to another time");
        let set = query.split("&var-").skip(1).filter_map(|set| set.split('=').next());
        require(set.into_iter().all(|name| names(to).contains(name)), "sets what is not there");
    }
}

#[test]
fn the_rules_hold() {
    assert_eq!(violations(&committed()), Vec::<String>::new());
}

/// Puts something wrong into a dashboard.
type Breaks = fn(&mut Value);

#[test]
fn what_breaks_a_rule_is_found() {
    let broken: [(&str, Breaks); 9] = [
        ("uid", |one| one["uid"] = "hoplog-slo".into()),
        ("schemaVersion", |one| one["schemaVersion"] = 38.into()),
        ("lies on another", |one| one["panels"][2]["gridPos"]["x"] = 0.into()),
        ("outside", |one| one["panels"][1]["gridPos"]["w"] = 25.into()),
        ("no unit", |one| one["panels"][1]["fieldConfig"]["defaults"]["unit"] = "".into()),
        ("can't be chosen", |one| {
            one["panels"][1]["targets"][0]["datasource"]["uid"] = "hoplog-prometheus".into()
        }),
        ("window of its own", |one| one["panels"][1]["targets"][0]["expr"] = "rate(a[5m])".into()),
        ("variable that is not there", |one| {
            one["panels"][1]["targets"][0]["expr"] = "a{b=\"$made_up\"}".into()
        }),
        ("leads nowhere", |one| one["panels"][1]["fieldConfig"]["defaults"]["links"] = Value::Null),
    ];
    for (wanted, breaks) in broken {
        let mut all = committed();
        breaks(&mut all.iter_mut().find(|(name, _)| name == "hoplog-redirects.json").unwrap().1);
        let found = violations(&all);
        assert!(found.iter().any(|violation| violation.contains(wanted)), "{wanted}: {found:?}");
    }
}

/// One name means the same on all dashboards, and the default data sources are those that are provisioned.
#[test]
fn variables_and_data_sources_agree() {
    let provisioned = std::fs::read_to_string(repository("deploy/grafana/datasources.yml")).unwrap();
    let mut known = std::collections::BTreeMap::new();
    for (name, dashboard) in committed() {
        for variable in list(&dashboard["templating"], "list") {
            let first = known.entry(text(variable, "name").to_owned()).or_insert_with(|| variable.clone());
            assert_eq!(first, variable, "{name}");
            if variable["type"] == "datasource" {
                let uid = format!(
                    "uid: {}\n    type: {}\n",
                    text(&variable["current"], "value"),
                    text(variable, "query")
                );
                assert!(provisioned.contains(&uid), "{uid}");
            }
        }
    }
}

/// Grafana is given the folder that its provisioning names.
#[test]
fn they_are_where_grafana_looks() {
    let compose = std::fs::read_to_string(repository("docker-compose.yml")).unwrap();
    let provisioning = std::fs::read_to_string(repository("dashboards/provisioning/dashboards.yml")).unwrap();
    let path = provisioning.lines().find_map(|line| line.trim().strip_prefix("path: ")).unwrap();
    assert!(compose.contains(&format!("- ./dashboards/grafana:{path}:ro\n")), "{path}");
    assert!(compose.contains(
        "- ./dashboards/provisioning/dashboards.yml:/etc/grafana/provisioning/dashboards/hoplog.yml:ro\n"
    ));
}
