//! Samples of a day, a minute apart, and their form on the way into Prometheus. What is measured is not known here.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::day::MINUTES;

/// Seconds between two samples: Prometheus is told that it scrapes this often.
pub(crate) const STEP_S: usize = 60;

/// Series by name with labels; a minute without a value is NaN.
#[derive(Default)]
pub(crate) struct Samples(BTreeMap<String, Vec<f64>>);

/// The name and the labels of a series, as Prometheus writes them.
pub(crate) fn series(name: &str, labels: &[(&str, &str)]) -> String {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

impl Samples {
    pub(crate) fn set(&mut self, series: String, minute: usize, value: f64) {
        self.0.entry(series).or_insert_with(|| vec![f64::NAN; MINUTES])[minute] = value;
    }

    /// Names of metrics, each with the names of its labels.
    pub(crate) fn names(&self) -> BTreeMap<&str, Vec<&str>> {
        let parts = self.0.keys().map(|series| {
            let (name, labels) = series.split_once('{').unwrap();
            let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once('='));
            (name, labels.map(|(name, _)| name).collect())
        });
        parts.collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// All of them as OpenMetrics, for `promtool tsdb create-blocks-from openmetrics`.
    pub(crate) fn write(&self, start_s: i64, mut to: impl Write) -> io::Result<()> {
        for (series, values) in &self.0 {
            for (minute, value) in values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
                writeln!(to, "{series} {value} {}", start_s + (minute * STEP_S) as i64)?;
            }
        }
        writeln!(to, "# EOF")
    }
}
