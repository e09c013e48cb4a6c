//! The SLOs for users of Sloth (v1), which makes recording rules and alerts of its own from them. Its windows are of 30 days
//! unless it is told otherwise, and its alerts know no volume: ours are in `prometheus/slos.yml`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::promql::Queries;
use crate::slo::{Slo, Slos};
use crate::{AlertsError, rules};

const FILE: &str = "sloth.yaml";

#[derive(Serialize)]
struct File<'a> {
    version: &'static str,
    service: &'static str,
    slos: Vec<SlothSlo<'a>>,
}

#[derive(Serialize)]
struct SlothSlo<'a> {
    name: &'a str,
    objective: f64,
    description: &'a str,
    sli: SlothSli,
    alerting: Alerting<'a>,
}

#[derive(Serialize)]
struct SlothSli {
    events: Events,
}

#[derive(Serialize)]
struct Events {
    error_query: String,
    total_query: String,
}

#[derive(Serialize)]
struct Alerting<'a> {
    name: String,
    labels: BTreeMap<&'static str, &'a str>,
    annotations: BTreeMap<&'static str, String>,
    page_alert: Severity,
    ticket_alert: Severity,
}

#[derive(Serialize)]
struct Severity {
    labels: BTreeMap<&'static str, &'static str>,
}

/// All SLOs in one file.
pub(crate) fn file(slos: &Slos) -> Result<String, AlertsError> {
    let all = slos.slos.iter().map(|slo| sloth(slo, &slos.links.runbooks)).collect();
    let file = File { version: "prometheus/v1", service: "hoplog", slos: all };
    let text = serde_saphyr::to_string(&file)
        .map_err(|source| AlertsError::Write { file: FILE, source: Box::new(source) })?;
    Ok(rules::generated_from("slos.yaml", &text))
}

fn sloth<'a>(slo: &'a Slo, runbooks: &str) -> SlothSlo<'a> {
    let queries = Queries::new(&slo.name, &slo.sli);
    // A template of Sloth's; it comes back as one, whatever the window is called.
    let window = "{{.window}}";
    let name = format!("{}Burn", slo.alert_prefix());
    let runbook = format!("{runbooks}/{name}.md");
    let severity = |severity| Severity { labels: BTreeMap::from([("severity", severity)]) };
    SlothSlo {
        name: &slo.name,
        objective: slo.objective.percent(),
        description: &slo.promise,
        sli: SlothSli {
            events: Events { error_query: queries.bad_or_zero(window), total_query: queries.total(window) },
        },
        alerting: Alerting {
            name,
            labels: BTreeMap::from([("component", slo.component.as_str())]),
            annotations: BTreeMap::from([("summary", slo.broken.clone()), ("runbook_url", runbook)]),
            page_alert: severity("page"),
            ticket_alert: severity("ticket"),
        },
    }
}
