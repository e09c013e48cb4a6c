//! Reads `slos.yaml`: what is promised. Every mistake is named with its place.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::error::{Mistakes, parse};
use crate::{AlertsError, Sli};

const FILE: &str = "slos.yaml";

/// All SLOs, and where links lead.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slos {
    /// Where links in alerts lead.
    pub links: Links,
    /// The SLOs.
    pub slos: Vec<Slo>,
}

/// Where links in alerts lead. Addresses as a browser of whoever is on call reaches them, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// The folder of the runbooks.
    pub runbooks: String,
    /// Grafana.
    pub grafana: String,
    /// ClickHouse's HTTP interface.
    pub clickhouse: String,
    /// The database of hoplog's tables.
    pub database: String,
    /// The service whose requests links lead to: its setting `service.name`.
    pub service: String,
}

/// A promise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Its name, which is the label `slo`: words in lower case and hyphens.
    pub name: String,
    /// What is promised, as a sentence.
    pub promise: String,
    /// What happens where it is broken, as a main clause that texts of alerts begin with: `Redirects fail`.
    pub broken: String,
    /// Share that has to be good.
    pub objective: Objective,
    /// Part of hoplog that keeps it.
    pub component: String,
    /// What is measured.
    pub sli: Sli,
}

/// The share of events that has to be good.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(transparent)]
pub struct Objective {
    percent: f64,
}

/// Steps of an objective and its budget, a share: a hundred-millionth. Computed in whole steps, 99.9 % leaves 0.001, not
/// 0.0010000000000000009.
const STEPS: f64 = 1e8;

impl Objective {
    /// In percent: 99.9.
    #[must_use]
    pub const fn percent(self) -> f64 {
        self.percent
    }

    /// As a share: 0.999.
    #[must_use]
    pub fn ratio(self) -> f64 {
        (self.percent / 100.0 * STEPS).round() / STEPS
    }

    /// The share that may be bad: 0.001.
    #[must_use]
    pub fn budget(self) -> f64 {
        ((100.0 - self.percent) / 100.0 * STEPS).round() / STEPS
    }
}

impl Slos {
    /// The definition that is built in.
    ///
    /// # Errors
    /// As [`Self::parse`]; a test sees to it that there are none.
    pub fn built_in() -> Result<Self, AlertsError> {
        Self::parse(include_str!("../slos.yaml"))
    }

    /// Reads a definition.
    ///
    /// # Errors
    /// Where it is no YAML or of another shape, the first place; where it makes no sense, all mistakes.
    pub fn parse(text: &str) -> Result<Self, AlertsError> {
        let slos: Self = parse(FILE, text)?;
        let mut mistakes = Mistakes::default();
        let links = &slos.links;
        for link in [&links.runbooks, &links.grafana, &links.clickhouse] {
            mistakes.unless(!link.is_empty() && !link.ends_with('/'), "links", || {
                format!("`{link}` is empty or ends in a slash")
            });
        }
        let mut names = BTreeSet::new();
        for slo in &slos.slos {
            let place = format!("slo {}", slo.name);
            let mut require = |holds: bool, what: &str| mistakes.unless(holds, &place, || what.to_owned());
            require(names.insert(&slo.name), "there are two of this name");
            require(is_name(&slo.name), "a name is lower case words and hyphens");
            let percent = slo.objective.percent;
            require((50.0..100.0).contains(&percent), "an objective is at least 50 and below 100 percent");
            require(slo.promise.ends_with('.'), "its promise is no sentence");
            require(!slo.broken.is_empty() && !slo.broken.ends_with('.'), "`broken` is a clause");
            slo.sli.check(&place, &mut mistakes);
        }
        mistakes.or(FILE, ()).map(|()| slos)
    }

    /// The SLO of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Slo> {
        self.slos.iter().find(|slo| slo.name == name)
    }
}

impl Slo {
    /// What its alerts' names begin with: `RedirectAvailability`.
    #[must_use]
    pub fn alert_prefix(&self) -> String {
        let words = self.name.split('-').filter_map(|word| word.split_at_checked(1));
        words.map(|(first, rest)| format!("{}{rest}", first.to_ascii_uppercase())).collect()
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.split('-').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_right() {
        let slos = Slos::built_in().unwrap();
        let budgets: Vec<_> =
            slos.slos.iter().map(|slo| (slo.name.as_str(), slo.objective.budget())).collect();
        assert_eq!(
            budgets,
            [
                ("redirect-availability", 0.001),
                ("redirect-latency", 0.001),
                ("api-availability", 0.001),
                ("api-latency", 0.01),
                ("event-freshness", 0.01),
                ("event-completeness", 0.0001),
            ]
        );
        assert_eq!(slos.slos[0].alert_prefix(), "RedirectAvailability");
        assert_eq!(slos.slos[5].objective.ratio().to_string(), "0.9999");
    }

    #[test]
    fn all_mistakes_are_named_with_their_place() {
        let text = "
links: {runbooks: r/, grafana: g, clickhouse: c, database: d, service: s}
slos:
  - name: Wrong_Name
    promise: none
    broken: It fails.
    objective: 100
    component: x
    sli: {requests: {of: {outcomes: [ok]}, bad: {slower_than_ms: 99}}}
  - name: right
    promise: All is well.
    broken: It fails
    objective: 99
    component: x
    sli: {requests: {of: {routes: [/], except_routes: [/x], outcomes: [ok]}, bad: {outcomes: [shed]}}}
";
        let error = Slos::parse(text).unwrap_err().to_string();
        for wanted in [
            "links: `r/` is empty",
            "slo Wrong_Name: a name is lower case",
            "below 100 percent",
            "its promise is no sentence",
            "`broken` is a clause",
            "names no routes",
            "has a limit at which the histogram of latencies has no bound",
            "slo right: excepts a route that begins with none",
            "slo right: names bad outcomes that are not among `of`",
        ] {
            assert!(error.contains(wanted), "no {wanted} in {error}");
        }
        let error = Slos::parse("links: 3").unwrap_err();
        assert!(
            std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("line 1"))
        );
    }
}
