//! What is recorded of each SLO. Events and bad events are recorded separately and divided last: the share of a period
//! is that of its requests, not the mean of its minutes' shares, in which a quiet minute counts like a busy one.

use crate::Slos;
use crate::burn::{PERIOD, SHORTEST, STEP, WINDOWS};
use crate::pipeline::{Group, Record};
use crate::promql::Queries;
use crate::slo::Slo;
use crate::slo_alerts;

/// A group for each SLO.
pub(crate) fn groups(slos: &Slos) -> Vec<Group> {
    let group = |slo: &Slo| Group {
        name: format!("slo-{}", slo.name),
        interval: Some(STEP.to_string()),
        records: records(slo),
        alerts: slo_alerts::alerts(slo),
    };
    slos.slos.iter().map(group).collect()
}

fn records(slo: &Slo) -> Vec<Record> {
    let queries = Queries::new(&slo.name, &slo.sli);
    let of = |series: &str| queries.recorded(series);
    let (budget, step_s, period_s) = (slo.objective.budget(), STEP.seconds, PERIOD.seconds);
    let mut records = Vec::new();
    let mut record = |series: String, expr: String| {
        records.push(Record { record: format!("slo:{series}"), slo: Some(slo.name.clone()), expr });
    };
    record("objective:ratio".to_owned(), format!("vector({})", slo.objective.ratio()));
    record("total:rate5m".to_owned(), queries.total_rate(SHORTEST));
    record("bad:rate5m".to_owned(), queries.bad_rate(SHORTEST));
    for window in WINDOWS {
        let (bad, total) = if window == SHORTEST {
            ("bad:rate5m".to_owned(), "total:rate5m".to_owned())
        } else {
            for what in ["total", "bad"] {
                // A recorded rate stands for the step up to the next one, so this is a number of events.
                let sum = format!("{step_s} * sum_over_time({}[{window}])", of(&format!("{what}:rate5m")));
                record(format!("{what}:sum_{window}"), sum);
            }
            (format!("bad:sum_{window}"), format!("total:sum_{window}"))
        };
        // Without events there is no share: silent, instead of NaN.
        record(format!("bad:ratio_{window}"), format!("{} / ({} > 0)", of(&bad), of(&total)));
        record(format!("burn_rate:{window}"), format!("{} / {budget}", of(&format!("bad:ratio_{window}"))));
    }
    record("budget_left:ratio".to_owned(), format!("1 - {}", of(&format!("burn_rate:{PERIOD}"))));
    record(
        "exhaustion:seconds".to_owned(),
        format!("clamp_min({}, 0) * {period_s} / ({} > 0)", of("budget_left:ratio"), of("burn_rate:1h")),
    );
    records
}
