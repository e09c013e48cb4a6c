#![doc = include_str!("../README.md")]

mod alert;
pub mod burn;
mod error;
mod openslo;
mod pipeline;
mod promql;
mod reference;
mod rules;
mod sli;
mod slo;
mod slo_alerts;
mod slo_rules;
mod sloth;
mod sql;

pub use alert::{Alert, Severity};
pub use error::AlertsError;
pub use pipeline::{Group, Pipeline};
pub use sli::{Bad, Population, Sli};
pub use slo::{Links, Objective, Slo, Slos};
pub use sql::{Failures, Sql};

/// A generated file: its path below `alerts/`, and what it has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Path below the folder of this crate.
    pub path: &'static str,
    /// All of its text.
    pub text: String,
}

/// All files that follow from the definitions.
///
/// # Errors
/// As [`Slos::parse`] and [`Pipeline::parse`].
pub fn generate() -> Result<Vec<Generated>, AlertsError> {
    let slos = Slos::built_in()?;
    let pipeline = Pipeline::built_in()?;
    Ok(vec![
        Generated {
            path: "prometheus/slos.yml",
            text: rules::file("slos.yaml", &slo_rules::groups(&slos), &slos.links)?,
        },
        Generated {
            path: "prometheus/pipeline.yml",
            text: rules::file("pipeline.yaml", &pipeline.groups, &slos.links)?,
        },
        Generated { path: "openslo.yaml", text: openslo::file(&slos)? },
        Generated { path: "sloth.yaml", text: sloth::file(&slos)? },
        Generated { path: "SLOS.md", text: reference::file(&slos) },
    ])
}
