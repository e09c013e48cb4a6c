//! The form of the sources: what a person writes. What Grafana makes of it is decided elsewhere.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `common.toml`: what dashboards share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Common {
    /// Names of the dashboards' files, in the order in which they link to each other.
    pub(crate) dashboards: Vec<String>,
    /// Every variable there is: one name means the same everywhere, so that links can carry it.
    pub(crate) variables: Vec<Variable>,
    /// What is drawn over time on every dashboard.
    pub(crate) annotations: Vec<Annotation>,
}

/// A field at the top of a dashboard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) description: String,
    pub(crate) choice: Choice,
}

/// Where a variable's values are from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Choice {
    /// A data source of this plugin; the default one.
    Datasource(Datasource),
    /// What a query of this data source says; several, and all of them by default.
    Values(Values),
    /// What a person types; empty by default, which means all.
    Text(Empty),
}

/// Nothing more to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Empty {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Datasource {
    pub(crate) plugin: String,
    /// What it is called where Grafana is provisioned by us.
    pub(crate) name: String,
    pub(crate) uid: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Values {
    pub(crate) of: Store,
    pub(crate) query: String,
}

/// Who answers a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Store {
    Prometheus,
    Clickhouse,
}

impl Store {
    /// The plugin of Grafana.
    pub(crate) fn plugin(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Clickhouse => "grafana-clickhouse-datasource",
        }
    }

    /// The variable that says which data source it is.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Clickhouse => "clickhouse",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Annotation {
    pub(crate) name: String,
    pub(crate) color: String,
    /// File in `queries/annotations`.
    pub(crate) query: String,
    /// For series: the title, from labels.
    #[serde(default)]
    pub(crate) title: String,
    /// For series: the text, from labels.
    #[serde(default)]
    pub(crate) text: String,
}

/// A dashboard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dashboard {
    pub(crate) uid: String,
    pub(crate) title: String,
    pub(crate) description: String,
    /// Where the time range begins when none is carried along, such as `now-6h`.
    pub(crate) from: String,
    /// Names of variables, in the order of the fields.
    pub(crate) variables: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) title: String,
    /// Where one goes from here; panels may say better.
    pub(crate) onward: Vec<Link>,
    pub(crate) panels: Vec<Panel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) kind: Kind,
    /// Grafana's name of a unit.
    pub(crate) unit: String,
    /// Of 24 columns.
    pub(crate) width: u32,
    /// In rows of 30 pixels.
    #[serde(default = "height")]
    pub(crate) height: u32,
    pub(crate) targets: Vec<Target>,
    /// Colours by value, from the lowest on; the first value does not matter.
    #[serde(default)]
    pub(crate) thresholds: Vec<Threshold>,
    /// Names of values.
    #[serde(default)]
    pub(crate) names: Vec<Named>,
    /// Lines on each other, where they are parts of a whole.
    #[serde(default)]
    pub(crate) stacked: bool,
    /// Of a table: columns with a unit or a link of their own.
    #[serde(default)]
    pub(crate) columns: Vec<Column>,
    /// Where one goes from here, instead of where the row leads.
    pub(crate) onward: Option<Vec<Link>>,
}

/// Eight rows: three panels on a laptop's screen.
fn height() -> u32 {
    8
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Lines over time.
    Lines,
    /// Buckets of a histogram over time, as colours.
    Heatmap,
    /// States over time, as bars.
    States,
    /// A number now, or of the whole range.
    Number,
    /// Numbers as bars.
    Bars,
    Table,
    /// Events as text.
    Logs,
    /// A trace's spans as a waterfall.
    Trace,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// File in `queries/<dashboard>`: `.promql` or `.sql`.
    pub(crate) query: String,
    /// How a series is called, from its labels; for a table, the name of the column.
    #[serde(default)]
    pub(crate) legend: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Threshold {
    pub(crate) from: f64,
    pub(crate) color: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    pub(crate) value: String,
    pub(crate) text: String,
    pub(crate) color: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) unit: Option<String>,
    /// In pixels.
    pub(crate) width: Option<u32>,
    #[serde(default)]
    pub(crate) onward: Vec<Link>,
}

/// A way to go on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    pub(crate) title: String,
    /// File name of the dashboard, or `trace`: the trace viewer.
    pub(crate) to: String,
    /// Variables to set there; the others are carried along. For `trace`, the one entry `trace_id`.
    #[serde(default)]
    pub(crate) set: BTreeMap<String, String>,
}
