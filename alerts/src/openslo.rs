//! The SLOs for users of OpenSLO (v1): the same queries, for whatever reads that format. Alerts are left out, since OpenSLO
//! has no two windows in one condition.

use serde::Serialize;

use crate::burn::{PERIOD, SHORTEST};
use crate::promql::Queries;
use crate::slo::{Slo, Slos};
use crate::{AlertsError, rules};

const FILE: &str = "openslo.yaml";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: &'a str,
    display_name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    description: &'a str,
    service: &'a str,
    indicator: Indicator<'a>,
    time_window: [TimeWindow; 1],
    budgeting_method: &'static str,
    objectives: [Target; 1],
}

#[derive(Serialize)]
struct Indicator<'a> {
    metadata: Metadata<'a>,
    spec: IndicatorSpec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndicatorSpec {
    ratio_metric: RatioMetric,
}

#[derive(Serialize)]
struct RatioMetric {
    counter: bool,
    bad: Metric,
    total: Metric,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    metric_source: MetricSource,
}

#[derive(Serialize)]
struct MetricSource {
    r#type: &'static str,
    spec: Query,
}

#[derive(Serialize)]
struct Query {
    query: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TimeWindow {
    duration: String,
    is_rolling: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    display_name: String,
    target: f64,
}

/// All SLOs, a document each.
pub(crate) fn file(slos: &Slos) -> Result<String, AlertsError> {
    let documents: Vec<_> = slos.slos.iter().map(document).collect();
    let text = serde_saphyr::to_string_multiple(&documents)
        .map_err(|source| AlertsError::Write { file: FILE, source: Box::new(source) })?;
    Ok(rules::generated_from("slos.yaml", &text))
}

fn document(slo: &Slo) -> Document<'_> {
    let queries = Queries::new(&slo.name, &slo.sli);
    let metric = |query: String| Metric {
        metric_source: MetricSource { r#type: "Prometheus", spec: Query { query } },
    };
    let metadata = || Metadata { name: &slo.name, display_name: slo.promise.trim_end_matches('.') };
    Document {
        api_version: "openslo/v1",
        kind: "SLO",
        metadata: metadata(),
        spec: Spec {
            description: &slo.promise,
            service: "hoplog",
            indicator: Indicator {
                metadata: metadata(),
                spec: IndicatorSpec {
                    // Rates, so the values do not grow like a counter's.
                    ratio_metric: RatioMetric {
                        counter: false,
                        bad: metric(queries.bad_or_zero(&SHORTEST.to_string())),
                        total: metric(queries.total(SHORTEST)),
                    },
                },
            },
            time_window: [TimeWindow { duration: PERIOD.to_string(), is_rolling: true }],
            budgeting_method: "Occurrences",
            objectives: [Target {
                display_name: format!("{} %", slo.objective.percent()),
                target: slo.objective.ratio(),
            }],
        },
    }
}
