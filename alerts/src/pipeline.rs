//! Reads `pipeline.yaml`: alerts that are about no SLO, and what is recorded for them.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::AlertsError;
use crate::alert::Alert;
use crate::error::{Mistakes, parse};

const FILE: &str = "pipeline.yaml";

/// Alerts of the pipeline, of dependencies and of the monitoring itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Rules that are evaluated together, one after the other.
    pub groups: Vec<Group>,
}

/// Rules that are evaluated together, one after the other: first what is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name, unique within the file.
    pub name: String,
    /// How often it is evaluated. Default: as often as Prometheus evaluates by itself.
    #[serde(default)]
    pub interval: Option<String>,
    /// What is recorded.
    #[serde(default)]
    pub records: Vec<Record>,
    /// What it watches.
    #[serde(default)]
    pub alerts: Vec<Alert>,
}

/// A recorded series.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its name.
    pub record: String,
    /// The SLO that it is of.
    #[serde(default)]
    pub slo: Option<String>,
    /// PromQL.
    pub expr: String,
}

impl Pipeline {
    /// The definition that is built in.
    ///
    /// # Errors
    /// As [`Self::parse`]; a test sees to it that there are none.
    pub fn built_in() -> Result<Self, AlertsError> {
        Self::parse(include_str!("../pipeline.yaml"))
    }

    /// Reads a definition.
    ///
    /// # Errors
    /// Where it is no YAML or of another shape, the first place; where it makes no sense, all mistakes.
    pub fn parse(text: &str) -> Result<Self, AlertsError> {
        let pipeline: Self = parse(FILE, text)?;
        let mut mistakes = Mistakes::default();
        let mut names = BTreeSet::new();
        for group in &pipeline.groups {
            let unique = names.insert(group.name.clone());
            mistakes.unless(unique, &group.name, || "there are two groups of this name".to_owned());
            group.alerts.iter().for_each(|alert| alert.check(&mut mistakes));
        }
        let mut alerts = BTreeSet::new();
        for alert in pipeline.alerts() {
            let unique = alerts.insert((&alert.alert, alert.severity));
            mistakes
                .unless(unique, &alert.alert, || "there are two of this name and this severity".to_owned());
        }
        mistakes.or(FILE, ()).map(|()| pipeline)
    }

    /// All alerts, in their order.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.groups.iter().flat_map(|group| &group.alerts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_right() {
        assert!(Pipeline::built_in().unwrap().alerts().count() > 0);
    }

    #[test]
    fn names_are_unique() {
        let group = "  - {name: a, alerts: []}\n";
        let error = Pipeline::parse(&format!("groups:\n{group}{group}")).unwrap_err();
        assert_eq!(error.to_string(), "pipeline.yaml: a: there are two groups of this name");
    }
}
