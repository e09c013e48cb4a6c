//! PromQL of an SLI, on counters of 100 % of requests and events. What is missing counts as 0 where the process that
//! would count it is there: a service without traffic has no failures, and one that is gone has no numbers at all.

use std::fmt::Display;

use crate::burn::Window;
use crate::sli::{Bad, Population, Sli, names};

/// Counter that a serving process shows from its start.
const SERVES: &str = "hoplog_events_issued_total";
/// The same of a collecting process.
const COLLECTS: &str = "hoplog_collector_freshness_seconds_count";
/// Whether what was collected is proved to be whole.
const PROVES: &str = "hoplog_verify_window_seconds";

/// What an SLI asks Prometheus.
pub(crate) struct Queries<'a> {
    slo: &'a str,
    sli: &'a Sli,
}

impl<'a> Queries<'a> {
    pub(crate) fn new(slo: &'a str, sli: &'a Sli) -> Self {
        Self { slo, sli }
    }

    /// Events a second over a window; 0 where a process could count them and has not yet.
    pub(crate) fn total_rate(&self, window: Window) -> String {
        let there = match self.sli {
            Sli::Requests { .. } | Sli::Completeness {} => SERVES,
            Sli::Freshness { .. } => COLLECTS,
        };
        format!("{}\nor\n0 * sum({there})", self.total(window))
    }

    /// Bad events a second over a window. The rates of all events must have been recorded before.
    pub(crate) fn bad_rate(&self, window: Window) -> String {
        format!("{}\nor\n0 * sum({})", self.bad(window), self.recorded("total:rate5m"))
    }

    /// Returns something where nothing is there that would count.
    pub(crate) fn absent(&self) -> String {
        match self.sli {
            Sli::Requests { .. } => format!("absent({SERVES})"),
            Sli::Freshness { .. } => format!("absent({COLLECTS})"),
            Sli::Completeness {} => format!("absent({SERVES}) or absent({PROVES} > 0)"),
        }
    }

    /// A series that is recorded of the SLO.
    pub(crate) fn recorded(&self, series: &str) -> String {
        format!("slo:{series}{{slo=\"{}\"}}", self.slo)
    }

    /// What most of the bad events have in common, in percent of them: by the label that tells them apart.
    pub(crate) fn blamed(&self, window: Window) -> Option<(&'static str, String)> {
        let label = match self.sli {
            Sli::Requests { .. } => "route",
            Sli::Freshness { .. } => "instance",
            Sli::Completeness {} => return None,
        };
        let bad = self.bad_by(label, window);
        Some((label, format!("topk(1, 100 * ({bad}) / scalar({}))", self.bad(window))))
    }

    /// The version that answered most of the bad requests.
    pub(crate) fn blamed_version(&self, window: Window) -> Option<String> {
        matches!(self.sli, Sli::Requests { .. }).then(|| {
            let bad = self.bad_by("job, instance", window);
            format!(
                "topk(1, sum by (version) (({bad}) * on (job, instance) group_left (version) hoplog_build_info))"
            )
        })
    }

    /// Events a second over a window, without those that are 0 because nothing has counted.
    pub(crate) fn total(&self, window: impl Display) -> String {
        self.total_by("", window)
    }

    /// The same of bad events.
    pub(crate) fn bad(&self, window: impl Display) -> String {
        self.bad_by("", window)
    }

    /// Bad events a second, by themselves: 0 where there are events and none is bad.
    pub(crate) fn bad_or_zero(&self, window: &str) -> String {
        format!("({})\nor\n0 * ({})", self.bad(window), self.total(window))
    }

    fn total_by(&self, by: &str, window: impl Display) -> String {
        match self.sli {
            Sli::Requests { of, bad: Bad::Outcomes(_) } => {
                sum(by, &counter("hoplog_requests_total", &selector(of, &of.outcomes, ""), window))
            }
            Sli::Requests { of, bad: Bad::SlowerThanMs(_) } => {
                let selector = selector(of, &of.outcomes, "");
                sum(by, &counter("hoplog_request_duration_seconds_count", &selector, window))
            }
            Sli::Freshness { .. } => sum(by, &counter(COLLECTS, "", window)),
            Sli::Completeness {} => sum(by, &counter(SERVES, "", window)),
        }
    }

    fn bad_by(&self, by: &str, window: impl Display) -> String {
        match self.sli {
            Sli::Requests { of, bad: Bad::Outcomes(bad) } => {
                sum(by, &counter("hoplog_requests_total", &selector(of, bad, ""), window))
            }
            Sli::Requests { of, bad: Bad::SlowerThanMs(ms) } => {
                let le = format!(",le=\"{:?}\"", f64::from(*ms) / 1_000.0);
                let selector = selector(of, &of.outcomes, &le);
                let good = counter("hoplog_request_duration_seconds_bucket", &selector, &window);
                less(&self.total_by(by, &window), &sum(by, &good))
            }
            Sli::Freshness { within_s } => {
                let le = format!("le=\"{:?}\"", f64::from(*within_s));
                let good = counter("hoplog_collector_freshness_seconds_bucket", &le, &window);
                less(&self.total_by(by, &window), &sum(by, &good))
            }
            Sli::Completeness {} => lost(window),
        }
    }
}

/// Events a second that are not accounted for. A producer counts what it drops at once; what is lost behind its back (by a
/// kill, by the log, in ClickHouse) shows in the proof, which every collector does, and stays there for as long as it
/// looks back. Drops are among the missing numbers of the proof, too, and are taken off: those of six hours, since their gap
/// shows only when later events arrive, which wait while the log is away.
fn lost(window: impl Display) -> String {
    let dropped = "hoplog_events_dropped_total{reason!=\"log_in_doubt\"}";
    // Numbers are settled after five minutes, so what is missing shows for five minutes less than the proof looks back.
    format!(
        "sum(rate({dropped}[{window}]))\n\
         + (\n  clamp_min(max(hoplog_verify_missing_numbers) - sum(increase({dropped}[6h])), 0)\n    \
         / (max({PROVES}) - 300 > 0)\n  \
         + max(hoplog_verify_unaccounted_events + hoplog_verify_lost_rows) / (max({PROVES}) > 0)\n  \
         or vector(0)\n)"
    )
}

fn counter(name: &str, selector: &str, window: impl Display) -> String {
    let braces = if selector.is_empty() { String::new() } else { format!("{{{selector}}}") };
    format!("rate({name}{braces}[{window}])")
}

fn sum(by: &str, what: &str) -> String {
    if by.is_empty() { format!("sum({what})") } else { format!("sum by ({by}) ({what})") }
}

/// What is above a bound. Two rates of whole numbers may differ by a rounding error below zero.
fn less(all: &str, good: &str) -> String {
    format!("clamp_min({all} - {good}, 0)")
}

fn selector(of: &Population, outcomes: &[wide_event::Outcome], more: &str) -> String {
    let outcomes = names(outcomes);
    let outcomes = match outcomes.as_slice() {
        [one] => format!("outcome=\"{one}\""),
        several => format!("outcome=~\"{}\"", several.join("|")),
    };
    format!("{}{},{outcomes},synthetic=\"false\"{more}", routes(of), except(of))
}

fn except(of: &Population) -> String {
    if of.except_routes.is_empty() {
        return String::new();
    }
    let routes: Vec<_> = of.except_routes.iter().map(|route| literally(route)).collect();
    format!(",route!~\"{}\"", routes.join("|"))
}

fn routes(of: &Population) -> String {
    if let ([one], []) = (of.routes.as_slice(), of.route_prefixes.as_slice()) {
        return format!("route=\"{one}\"");
    }
    let exact = of.routes.iter().map(|route| literally(route));
    let prefixes = of.route_prefixes.iter().map(|prefix| format!("{}.*", literally(prefix)));
    format!("route=~\"{}\"", exact.chain(prefixes).collect::<Vec<_>>().join("|"))
}

/// A regular expression that matches just this text. Classes instead of backslashes: the expression stands in quotes, and
/// those in templates.
fn literally(text: &str) -> String {
    let special = |c: char| ".+*?()|[]{}^$".contains(c);
    text.chars().map(|c| if special(c) { format!("[{c}]") } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wide_event::Outcome;

    #[test]
    fn routes_are_matched_literally() {
        let of = Population {
            routes: vec!["/{*code}".to_owned(), "/{code}+".to_owned()],
            route_prefixes: vec!["/rest/".to_owned()],
            except_routes: vec!["/rest/{version}/health".to_owned()],
            outcomes: vec![Outcome::Ok],
        };
        assert_eq!(
            selector(&of, &of.outcomes, ""),
            "route=~\"/[{][*]code[}]|/[{]code[}][+]|/rest/.*\",route!~\"/rest/[{]version[}]/health\",\
             outcome=\"ok\",synthetic=\"false\""
        );
    }
}
