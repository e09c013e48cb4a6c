//! An alert: when it fires, how urgent it is, and what whoever gets it is told. Names are checked here, since runbooks,
//! routes and tests are found by them; expressions are Prometheus's to judge.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::Links;
use crate::error::Mistakes;

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody is called, at any hour.
    Page,
    /// Somebody looks at it on the next working day.
    Ticket,
    /// Nobody: the alert is for machines, such as the dead man's switch.
    None,
}

impl Severity {
    /// As the label says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
            Self::None => "none",
        }
    }
}

/// Dashboards that there are.
const DASHBOARDS: [&str; 6] = [
    "hoplog-slo",
    "hoplog-redirects",
    "hoplog-dependencies",
    "hoplog-pipeline",
    "hoplog-errors",
    "hoplog-links",
];

/// How far a query looks back that says nothing of it, in seconds.
const QUERY_WINDOW_S: u32 = 3_600;

/// What is encoded in an address; braces are, so that Prometheus takes no part of a query for a template.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An alert. Texts may be templates of Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Its name, which is that of its runbook.
    pub alert: String,
    /// How urgent it is.
    pub severity: Severity,
    /// Part of hoplog that it is about: `redirect`, `api`, `events`, `collector`, `kafka`, `clickhouse`, …
    pub component: String,
    /// The SLO that it is about.
    #[serde(default)]
    pub slo: Option<String>,
    /// PromQL: it fires for each series that this returns.
    pub expr: String,
    /// For how long before it fires, as Prometheus writes it: 30s, 5m. Default: at once.
    #[serde(default, rename = "for")]
    pub hold: Option<String>,
    /// For how long it goes on firing afterwards (Prometheus 2.42 or later). Default: not at all.
    #[serde(default)]
    pub keep_firing_for: Option<String>,
    /// One sentence that an engineer understands at 2 a.m.
    pub summary: String,
    /// What it means, and what it does not.
    pub description: String,
    /// uid of the dashboard to look at first.
    pub dashboard: String,
    /// What is appended to the dashboard's address, such as `var-slo=redirect-latency`.
    #[serde(default)]
    pub dashboard_parameters: Option<String>,
    /// SQL that lists the very rows, with the parameters `since_s` and `until_s`, and `service` where rows are requests.
    pub query: String,
    /// How far the query looks back, in seconds. Default 3600.
    #[serde(default = "query_window_s")]
    pub query_window_s: u32,
}

const fn query_window_s() -> u32 {
    QUERY_WINDOW_S
}

impl Alert {
    pub(crate) fn check(&self, mistakes: &mut Mistakes) {
        let place = format!("alert {}", self.alert);
        let mut require = |holds: bool, what: &str| mistakes.unless(holds, &place, || what.to_owned());
        let is_name = self.alert.starts_with(|c: char| c.is_ascii_uppercase())
            && self.alert.bytes().all(|byte| byte.is_ascii_alphanumeric());
        require(is_name, "a name is in CamelCase");
        require(DASHBOARDS.contains(&self.dashboard.as_str()), "there is no such dashboard");
        require(!self.expr.trim().is_empty(), "has no expression");
        require(!self.component.is_empty(), "has no component");
        let sentence = self.summary.trim();
        require(!sentence.is_empty() && !sentence.contains('\n'), "its summary is not one line");
        require(self.description.trim().ends_with('.'), "its description is no sentence");
        let parameters = ["{since_s:UInt32}", "{until_s:UInt32}"];
        require(
            parameters.iter().all(|parameter| self.query.contains(parameter)),
            "its query does not say from when to when: {since_s:UInt32}, {until_s:UInt32}",
        );
    }

    /// Address of its runbook.
    #[must_use]
    pub fn runbook_url(&self, links: &Links) -> String {
        format!("{}/{}.md", links.runbooks, self.alert)
    }

    /// Address of its dashboard.
    #[must_use]
    pub fn dashboard_url(&self, links: &Links) -> String {
        let parameters = self.dashboard_parameters.iter().map(|parameters| format!("?{parameters}"));
        format!("{}/d/{}{}", links.grafana, self.dashboard, parameters.collect::<String>())
    }

    /// Address at which ClickHouse runs its query. A template: Prometheus puts the time in.
    #[must_use]
    pub fn query_url(&self, links: &Links) -> String {
        let time = |expr: &str| format!("{{{{ query \"{expr}\" | first | value | printf \"%.0f\" }}}}");
        format!(
            "{}/?default_format=TabSeparatedWithNames&database={}&param_service={}&param_since_s={}&param_until_s={}&query={}",
            links.clickhouse,
            links.database,
            utf8_percent_encode(&links.service, ENCODED),
            time(&format!("time() - {}", self.query_window_s)),
            time("time()"),
            utf8_percent_encode(self.query.trim(), ENCODED)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_at_once() {
        let alert = Alert {
            alert: "not a name".to_owned(),
            severity: Severity::Page,
            component: String::new(),
            slo: None,
            expr: " ".to_owned(),
            hold: None,
            keep_firing_for: None,
            summary: "two\nlines".to_owned(),
            description: "no sentence".to_owned(),
            dashboard: "hoplog-none".to_owned(),
            dashboard_parameters: None,
            query: "SELECT 1".to_owned(),
            query_window_s: 60,
        };
        let mut mistakes = Mistakes::default();
        alert.check(&mut mistakes);
        assert_eq!(mistakes.to_string().matches("alert not a name: ").count(), 7, "{mistakes}");
    }
}
