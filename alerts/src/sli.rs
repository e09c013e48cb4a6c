//! What is measured, as a predicate and not as a query: only what Prometheus's labels and ClickHouse's columns both say
//! can be asked. Queries are made of it in `promql` and `sql`.

use serde::Deserialize;
use wide_event::Outcome;
use wide_event::latency::BOUNDS_US;

use crate::error::Mistakes;

/// What an SLO measures.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sli {
    /// Requests, each good or bad.
    Requests {
        /// The requests that are asked about.
        of: Population,
        /// Which of them are bad.
        bad: Bad,
    },
    /// Events, bad if they could be queried only later than this after the request's begin.
    Freshness {
        /// The limit in seconds: one of the bounds of the collector's histogram.
        within_s: u32,
    },
    /// Events that were numbered, bad if they are not accounted for.
    Completeness {},
}

/// Which requests are asked about. Routes are named, or begin with what is named, and are none of the excepted ones;
/// probes are left out always, since no user waits for them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// Templates of routes.
    #[serde(default)]
    pub routes: Vec<String>,
    /// What templates begin with.
    #[serde(default)]
    pub route_prefixes: Vec<String>,
    /// Templates of routes that are left out though they begin so.
    #[serde(default)]
    pub except_routes: Vec<String>,
    /// How they ended.
    pub outcomes: Vec<Outcome>,
}

/// Which requests are bad.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Bad {
    /// Those that ended so.
    Outcomes(Vec<Outcome>),
    /// Those that took longer than this many milliseconds.
    SlowerThanMs(u32),
}

/// Bounds of the collector's histogram of freshness that an objective can be stated at, in seconds.
const FRESHNESS_S: [u32; 8] = [1, 2, 3, 4, 5, 10, 30, 300];

impl Sli {
    pub(crate) fn check(&self, place: &str, mistakes: &mut Mistakes) {
        let mut require = |holds: bool, what: &str| mistakes.unless(holds, place, || what.to_owned());
        match self {
            Self::Requests { of, bad } => {
                require(!of.outcomes.is_empty(), "names no outcomes: then it is about no request");
                require(
                    !of.routes.is_empty() || !of.route_prefixes.is_empty(),
                    "names no routes and no prefixes",
                );
                // They stand in quotes in PromQL and in SQL.
                let plain = |route: &String| !route.contains(['"', '\'', '\\', '`']);
                let mut routes = of.routes.iter().chain(&of.route_prefixes).chain(&of.except_routes);
                require(routes.all(plain), "has a route with a quote or a backslash");
                let begins = |route: &String| {
                    of.route_prefixes.iter().any(|prefix| route.starts_with(prefix.as_str()))
                };
                require(
                    of.except_routes.iter().all(begins),
                    "excepts a route that begins with none of its prefixes",
                );
                match bad {
                    Bad::Outcomes(outcomes) => {
                        require(!outcomes.is_empty(), "names no bad outcomes");
                        require(
                            outcomes.iter().all(|outcome| of.outcomes.contains(outcome)),
                            "names bad outcomes that are not among `of`",
                        );
                    }
                    Bad::SlowerThanMs(ms) => require(
                        BOUNDS_US.contains(&(u64::from(*ms) * 1_000)),
                        "has a limit at which the histogram of latencies has no bound",
                    ),
                }
            }
            Self::Freshness { within_s } => require(
                FRESHNESS_S.contains(within_s),
                "has a limit at which the histogram of freshness has no bound",
            ),
            Self::Completeness {} => {}
        }
    }

    /// The predicate in words: what counts, and what of it is bad.
    #[must_use]
    pub fn words(&self) -> (String, String) {
        match self {
            Self::Requests { of, bad } => {
                let routes = of.routes.iter().map(|route| format!("`{route}`"));
                let prefixes = of.route_prefixes.iter().map(|prefix| format!("`{prefix}…`"));
                let routes = routes.chain(prefixes).collect::<Vec<_>>().join(", ");
                let excepted: Vec<_> = of.except_routes.iter().map(|route| format!("`{route}`")).collect();
                let but = if excepted.is_empty() {
                    String::new()
                } else {
                    format!(" (not {})", excepted.join(", "))
                };
                let total = format!(
                    "requests of {routes}{but} that ended in {}; no probes",
                    names(&of.outcomes).join(", ")
                );
                let bad = match bad {
                    Bad::Outcomes(outcomes) => format!("those that ended in {}", names(outcomes).join(", ")),
                    Bad::SlowerThanMs(ms) => format!("those that took longer than {ms} ms"),
                };
                (total, bad)
            }
            Self::Freshness { within_s } => (
                "events that were stored".to_owned(),
                format!("those that could be queried only {within_s} s or later after the request began"),
            ),
            Self::Completeness {} => (
                "events that were numbered, which is one a request".to_owned(),
                "those that never arrived (dropped, or lost on the way), or of which the books do not say what became".to_owned(),
            ),
        }
    }
}

/// Outcomes as labels and columns have them.
pub(crate) fn names(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes.iter().map(|outcome| outcome.as_str()).collect()
}
