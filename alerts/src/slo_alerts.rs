//! Alerts of each SLO: its budget burns too fast, is spent, or nothing is measured. What they say is computed when they
//! fire: how much of the budget is gone and since when, when all of it will be, and where most failures come from.

use crate::alert::{Alert, Severity};
use crate::burn::{FAILURES_MIN, PERIOD, THRESHOLDS, Threshold, Window, failures_above};
use crate::promql::Queries;
use crate::slo::Slo;

/// For how long a page goes on after the burning: pauses of up to ten minutes (this, and the short window) are one alert.
const KEEP_PAGE: &str = "5m";
/// The same for a ticket.
const KEEP_TICKET: &str = "30m";
/// For how long nothing may be measured: a restart and two scrapes take less.
const ABSENT_FOR: &str = "2m";

pub(crate) fn alerts(slo: &Slo) -> Vec<Alert> {
    let queries = Queries::new(&slo.name, &slo.sli);
    vec![
        burn(slo, &queries, Severity::Page),
        burn(slo, &queries, Severity::Ticket),
        exhausted(slo, &queries),
        absent(slo, &queries),
    ]
}

fn burn(slo: &Slo, queries: &Queries<'_>, severity: Severity) -> Alert {
    let thresholds: Vec<_> =
        THRESHOLDS.into_iter().filter(|threshold| threshold.severity == severity).collect();
    let conditions: Vec<_> = thresholds.iter().map(|threshold| condition(queries, threshold)).collect();
    let longest = thresholds.iter().map(|threshold| threshold.long).max().unwrap_or(PERIOD);
    let shortest = thresholds.iter().map(|threshold| threshold.long).min().unwrap_or(PERIOD);
    let rates = thresholds.iter().map(|threshold| {
        let (rate, long, short) = (number(threshold.burn_rate()), threshold.long, threshold.short);
        format!("above {rate} over {long} and {short}")
    });
    Alert {
        keep_firing_for: Some(if severity == Severity::Page { KEEP_PAGE } else { KEEP_TICKET }.to_owned()),
        summary: format!("{}: {}", slo.broken, burned(queries, longest, shortest)),
        description: format!(
            "{} The objective is {} % over {PERIOD}. The budget burns {{{{ $value | printf \"%.1f\" }}}} times as fast as it \
             may; this alert is for {}, with at least {FAILURES_MIN} failures.",
            slo.promise,
            slo.objective.percent(),
            rates.collect::<Vec<_>>().join(", or ")
        ),
        query_window_s: longest.seconds,
        ..alert(slo, "Burn", severity, conditions.join("\nor\n"))
    }
}

fn condition(queries: &Queries<'_>, threshold: &Threshold) -> String {
    let Threshold { long, short, .. } = *threshold;
    let (rate, of) = (number(threshold.burn_rate()), |series: String| queries.recorded(&series));
    let failures = failures_above();
    format!(
        "(\n  {} > {rate}\n  and {} > {rate}\n  and {} > {failures}\n)",
        of(format!("burn_rate:{long}")),
        of(format!("burn_rate:{short}")),
        of(format!("bad:sum_{long}"))
    )
}

/// `4.1 % of the 28-day budget in 38m, exhausted in 11h; 92 % on /{code}, version 1.4.2`.
fn burned(queries: &Queries<'_>, longest: Window, shortest: Window) -> String {
    let spent = format!(
        "100 * {} * {} / {}",
        queries.recorded(&format!("burn_rate:{longest}")),
        longest.seconds,
        PERIOD.seconds
    );
    let burning = format!("60 * count_over_time(({} > 1)[{longest}:1m])", queries.recorded("burn_rate:5m"));
    let exhausted = format!("{} > 0", queries.recorded("exhaustion:seconds"));
    let spent_all = format!("{} <= 0", queries.recorded("budget_left:ratio"));
    let mut text = format!(
        "{} of the 28-day budget{}{}{}",
        each(&spent, "{{ . | value | printf \"%.1f\" }} %"),
        each(&burning, " in {{ . | value | humanizeDuration }}"),
        each(&exhausted, ", exhausted in {{ . | value | humanizeDuration }}"),
        each(&spent_all, ", of which nothing is left")
    );
    if let Some((label, expr)) = queries.blamed(shortest) {
        let share = format!("; {{{{ . | value | printf \"%.0f\" }}}} % on {{{{ . | label \"{label}\" }}}}");
        text.push_str(&each(&expr, &share));
    }
    if let Some(expr) = queries.blamed_version(shortest) {
        text.push_str(&each(&expr, ", version {{ . | label \"version\" }}"));
    }
    text
}

/// A part of a text for each series of a query: for none, nothing is said.
fn each(expr: &str, text: &str) -> String {
    format!("{{{{ range query `{expr}` }}}}{text}{{{{ end }}}}")
}

fn exhausted(slo: &Slo, queries: &Queries<'_>) -> Alert {
    let failures = failures_above();
    let expr = format!(
        "{} <= 0\nand {} > {failures}",
        queries.recorded("budget_left:ratio"),
        queries.recorded(&format!("bad:sum_{PERIOD}"))
    );
    Alert {
        hold: Some("5m".to_owned()),
        summary: format!(
            "{}: the 28-day budget is spent{}",
            slo.broken,
            each(
                &format!("100 * {}", queries.recorded(&format!("burn_rate:{PERIOD}"))),
                ", {{ . | value | printf \"%.0f\" }} % of it"
            )
        ),
        description: format!(
            "{} The objective is {} % over {PERIOD}, and it is missed. The error-budget policy says what is not released now.",
            slo.promise,
            slo.objective.percent()
        ),
        query_window_s: 86_400,
        ..alert(slo, "BudgetExhausted", Severity::Ticket, expr)
    }
}

fn absent(slo: &Slo, queries: &Queries<'_>) -> Alert {
    Alert {
        hold: Some(ABSENT_FOR.to_owned()),
        summary: format!(
            "Nobody knows whether {}{}: no process that would count it is scraped",
            slo.broken.chars().take(1).flat_map(char::to_lowercase).collect::<String>(),
            slo.broken.chars().skip(1).collect::<String>()
        ),
        description: format!(
            "{} Nothing is measured of it: the processes are down, or Prometheus does not reach them. A dead process burns \
             no budget, so no other alert of this objective will fire.",
            slo.promise
        ),
        ..alert(slo, "Absent", Severity::Page, queries.absent())
    }
}

fn alert(slo: &Slo, kind: &str, severity: Severity, expr: String) -> Alert {
    Alert {
        alert: format!("{}{kind}", slo.alert_prefix()),
        severity,
        component: slo.component.clone(),
        slo: Some(slo.name.clone()),
        expr,
        hold: None,
        keep_firing_for: None,
        summary: String::new(),
        description: String::new(),
        dashboard: "hoplog-slo".to_owned(),
        dashboard_parameters: Some(format!("var-slo={}", slo.name)),
        query: slo.sli.sql().failures.sql,
        query_window_s: 3_600,
    }
}

/// At most four digits behind the point, and none that are zero.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
