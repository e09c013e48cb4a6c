//! SQL of an SLI: counts from the exact rollups, and the failures themselves from the kept events. Tables are named without
//! a database: that is the connection's. From when to when is `since_s` and `until_s`, whole minutes since 1970. Requests are
//! those of `service` (several may share a ClickHouse); of freshness and completeness the pipeline counts all services, and
//! so does this.

use wide_event::Outcome;

use crate::sli::{Bad, Population, Sli, names};

/// What an SLI asks ClickHouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    /// A row a minute: `minute`, `total`, `bad`, as floating point numbers; minutes without events are left out.
    pub minutes: String,
    /// The failures themselves, newest first.
    pub failures: Failures,
}

/// How bad events are found among those that are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    /// A row a failure, or where failures left no event, a row a gap.
    pub sql: String,
    /// Whether every failure has a row; otherwise the rows are a sample, and `sum(sample_weight)` says of how many.
    pub complete: bool,
}

/// Rows that an engineer is given at most: more than anybody reads, and few enough for a browser.
const ROWS_MAX: u32 = 10_000;

/// Columns by which a failure is understood.
const COLUMNS: &str = "ts, request_id, trace_id, instance, version, method, route, status, outcome, duration_us, \
                       error_type, error_message, sample_weight";

impl Sli {
    /// Counts and latencies of each version of the service, for those who compare a new one with the old: a row a series
    /// with `minute_s` (seconds since 1970), `version`, `stratum` (what makes requests alike: route, method, status, cache),
    /// `total`, `bad`, `cold` (those whose link was not in memory), and the histogram as `bounds_us` and `counts`. None
    /// where no version is to blame.
    #[must_use]
    pub fn by_version(&self) -> Option<String> {
        let Self::Requests { of, bad } = self else { return None };
        Some(series_by_version(&predicate(of, &of.outcomes), &count_of(bad)))
    }

    /// The same rows of *all* requests on the SLI's routes, those that it leaves out included; bad is whatever is not `ok`. A
    /// version that takes every code for unknown fails nobody by the SLI, and everybody by this. None where the SLI is of
    /// latency, or of no requests.
    #[must_use]
    pub fn not_ok_by_version(&self) -> Option<String> {
        let Self::Requests { of, bad: Bad::Outcomes(_) } = self else { return None };
        let all = format!("{}\n  AND NOT synthetic", on_routes(of));
        Some(series_by_version(&all, "sumIf(requests, outcome != 'ok')"))
    }

    /// The same measure in SQL.
    #[must_use]
    pub fn sql(&self) -> Sql {
        match self {
            Self::Requests { of, bad } => Sql { minutes: minutes(of, bad), failures: failures(of, bad) },
            Self::Freshness { within_s } => freshness(*within_s),
            Self::Completeness {} => completeness(),
        }
    }
}

impl Sql {
    /// One row for all of the time: `total`, `bad`.
    #[must_use]
    pub fn totals(&self) -> String {
        format!("SELECT sum(total) AS total, sum(bad) AS bad\nFROM (\n{}\n)", self.minutes)
    }
}

fn series_by_version(of: &str, bad: &str) -> String {
    format!(
        "SELECT toUInt32(minute) AS minute_s, version, concat(method, ' ', route, ' ', toString(status), ' ', cache) AS stratum,\n\
         \x20   sum(requests) AS total, toUInt64({bad}) AS bad,\n\
         \x20   toUInt64(sumIf(requests, cache IN ('redis', 'store', 'stale'))) AS cold,\n\
         \x20   mapKeys(sumMap(latency_us) AS latency) AS bounds_us, mapValues(latency) AS counts\n\
         FROM requests_by_minute\nWHERE {}\n  AND {of}\nGROUP BY minute, version, stratum",
        between("minute")
    )
}

fn count_of(bad: &Bad) -> String {
    match bad {
        Bad::Outcomes(outcomes) => format!("sumIf(requests, {})", one_of("outcome", &names(outcomes))),
        Bad::SlowerThanMs(ms) => {
            let us = u64::from(*ms) * 1_000;
            format!(
                "sum(requests) - sum(arraySum(mapValues(mapFilter((bound, n) -> bound <= {us}, latency_us))))"
            )
        }
    }
}

fn minutes(of: &Population, bad: &Bad) -> String {
    format!(
        "SELECT minute, toFloat64(sum(requests)) AS total, toFloat64({}) AS bad\n\
         FROM requests_by_minute\n\
         WHERE {}\n  AND {}\n\
         GROUP BY minute ORDER BY minute",
        count_of(bad),
        between("minute"),
        predicate(of, &of.outcomes)
    )
}

fn failures(of: &Population, bad: &Bad) -> Failures {
    let (which, complete) = match bad {
        Bad::Outcomes(outcomes) => (predicate(of, outcomes), true),
        Bad::SlowerThanMs(ms) => {
            let slow = format!("duration_us > {}", u64::from(*ms) * 1_000);
            (format!("{}\n  AND {slow}", predicate(of, &of.outcomes)), false)
        }
    };
    let sql = format!(
        "SELECT {COLUMNS}\nFROM requests\nWHERE {}\n  AND {which}\nORDER BY ts DESC LIMIT {ROWS_MAX}",
        between("ts")
    );
    Failures { sql, complete }
}

/// By the kept events, each for as many as its weight says: the collector's time of taking in, which is some
/// milliseconds before they can be queried.
fn freshness(within_s: u32) -> Sql {
    let late = format!("dateDiff('microsecond', ts, collected_at) > {within_s}000000");
    let minutes = format!(
        "SELECT toStartOfMinute(collected_at) AS minute, sum(sample_weight) AS total, sumIf(sample_weight, {late}) AS bad\n\
         FROM requests\nWHERE {}\nGROUP BY minute ORDER BY minute",
        between("collected_at")
    );
    let sql = format!(
        "SELECT dateDiff('microsecond', ts, collected_at) / 1e6 AS age_s, collected_at, {COLUMNS}, log_partition, log_offset\n\
         FROM requests\nWHERE {}\n  AND {late}\nORDER BY ts DESC LIMIT {ROWS_MAX}",
        between("collected_at")
    );
    Sql { minutes, failures: Failures { sql, complete: false } }
}

fn completeness() -> Sql {
    let from = |select: &str| format!("{}{}", include_str!("../queries/losses.sql"), select.trim_end());
    Sql {
        minutes: from(include_str!("../queries/losses_by_minute.sql")),
        failures: Failures { sql: from(include_str!("../queries/losses_one_by_one.sql")), complete: true },
    }
}

fn predicate(of: &Population, outcomes: &[Outcome]) -> String {
    format!("{}\n  AND {}\n  AND NOT synthetic", on_routes(of), one_of("outcome", &names(outcomes)))
}

/// Requests of the service on the routes, however they ended.
fn on_routes(of: &Population) -> String {
    let routes: Vec<&str> = of.routes.iter().map(String::as_str).collect();
    let exact = (!routes.is_empty()).then(|| one_of("route", &routes));
    let prefixes = of.route_prefixes.iter().map(|prefix| format!("startsWith(route, '{prefix}')"));
    let routes: Vec<_> = exact.into_iter().chain(prefixes).collect();
    let routes =
        if let [one] = routes.as_slice() { one.clone() } else { format!("({})", routes.join(" OR ")) };
    let ours = format!("service = {{service:String}}\n  AND {routes}");
    match of.except_routes.join("', '") {
        none if none.is_empty() => ours,
        excepted => format!("{ours}\n  AND route NOT IN ('{excepted}')"),
    }
}

fn one_of(column: &str, values: &[&str]) -> String {
    match values {
        [one] => format!("{column} = '{one}'"),
        several => format!("{column} IN ('{}')", several.join("', '")),
    }
}

fn between(column: &str) -> String {
    format!("{column} >= toDateTime({{since_s:UInt32}}) AND {column} < toDateTime({{until_s:UInt32}})")
}
