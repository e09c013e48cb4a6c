//! Asks what the API asks, of other links each time, and prints how long it took, what it took of the server's processors
//! and how many rows were read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use shortener::config::StatisticsConfig;
use shortener::metrics::Metrics;
use shortener::statistics::{Begin, Interval, Scope, Span, Statistics, Visits, VisitsQuery};
use shortener::store::Counted;
use warehouse::Warehouse;

use crate::fill::{BEGIN, CODE, DOMAIN, MONTH_DAYS, MONTHS, Size};

/// Times that each kind of question is asked: of a hundred the 99th percentile is the second slowest.
const TIMES: usize = 100;

/// Longest that a kind of question is asked; of slow ones there are fewer answers, and the table says how many.
const KIND_MAX: Duration = Duration::from_secs(20);

/// Longest that one may take, so that slow ones are measured, too, milliseconds.
const QUERY_MS_MAX: u64 = 60_000;

/// How long merges of what was filled are waited for.
const MERGES_MAX: Duration = Duration::from_secs(7_200);

/// What is asked.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Summaries,
    Counts { days: Option<i64> },
    Series { interval: Interval, days: Option<i64> },
    Top { days: Option<i64> },
    Visitors { days: i64 },
    Page { number: u64 },
}

/// Of what.
#[derive(Debug, Clone, Copy)]
enum Of {
    All,
    Domain,
    /// The link of this rank.
    Rank(u64),
    /// So many links, evenly over all ranks.
    Links(u64),
}

/// By day, of the whole time.
const DAYS: Kind = Kind::Series { interval: Interval::Day, days: None };
/// By hour, of a month.
const HOURS: Kind = Kind::Series { interval: Interval::Hour, days: Some(31) };
const MONTH: Option<i64> = Some(31);

const QUESTIONS: [(&str, Of, Kind); 29] = [
    ("summaries, list of 20 links", Of::Links(20), Kind::Summaries),
    ("summaries, list of 1,000 links", Of::Links(1_000), Kind::Summaries),
    ("list of 10,000 links by visits", Of::Links(10_000), Kind::Summaries),
    ("a busy link: totals", Of::Rank(1), Kind::Counts { days: None }),
    ("a busy link: series by day", Of::Rank(1), DAYS),
    ("a busy link: top values", Of::Rank(1), Kind::Top { days: None }),
    ("a busy link: totals, 31 days", Of::Rank(1), Kind::Counts { days: MONTH }),
    ("a busy link: series by hour, 31 days", Of::Rank(1), HOURS),
    ("a busy link: top values, 31 days", Of::Rank(1), Kind::Top { days: MONTH }),
    ("a busy link: visitors, 31 days", Of::Rank(1), Kind::Visitors { days: 31 }),
    ("a busy link: first page of visits", Of::Rank(1), Kind::Page { number: 0 }),
    ("a busy link: 50th page of visits", Of::Rank(1), Kind::Page { number: 49 }),
    ("a link in the middle: top values", Of::Rank(1_000), Kind::Top { days: None }),
    ("a link in the middle: first page", Of::Rank(1_000), Kind::Page { number: 0 }),
    ("tag of 20 links: series by day", Of::Links(20), DAYS),
    ("tag of 20 links: top values", Of::Links(20), Kind::Top { days: None }),
    ("tag of 1,000 links: series by day", Of::Links(1_000), DAYS),
    ("tag of 1,000 links: top values", Of::Links(1_000), Kind::Top { days: None }),
    ("tag of 1,000 links: series by hour, 31 days", Of::Links(1_000), HOURS),
    ("tag of 1,000 links: top values, 31 days", Of::Links(1_000), Kind::Top { days: MONTH }),
    ("a domain: totals", Of::Domain, Kind::Counts { days: None }),
    ("a domain: series by day", Of::Domain, DAYS),
    ("a domain: top values", Of::Domain, Kind::Top { days: None }),
    ("a domain: visitors, 7 days", Of::Domain, Kind::Visitors { days: 7 }),
    ("everything: totals", Of::All, Kind::Counts { days: None }),
    ("everything: series by day", Of::All, DAYS),
    ("everything: top values", Of::All, Kind::Top { days: None }),
    ("everything: visitors, 7 days", Of::All, Kind::Visitors { days: 7 }),
    ("everything: first page of visits", Of::All, Kind::Page { number: 0 }),
];

pub(crate) async fn measure(warehouse: &Warehouse, size: Size) -> Result<()> {
    rest(warehouse).await?;
    let config = StatisticsConfig {
        query_ms_max: QUERY_MS_MAX,
        rows_read_max: u64::MAX >> 2,
        ..StatisticsConfig::default()
    };
    let statistics = Statistics::new(&config, Some(warehouse.clone()), &Metrics::default());
    println!("| | p50, ms | p99, ms | CPU, ms | rows read | asked |\n|---|---|---|---|---|---|");
    for (name, of, kind) in QUESTIONS {
        let mut times = Vec::new();
        let (began, before) = (Instant::now(), used(warehouse).await?);
        for time in 0..TIMES {
            let scope = scope(warehouse, of, size, time as u64).await?;
            let started = Instant::now();
            ask(&statistics, scope, kind).await?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
            if began.elapsed() > KIND_MAX {
                break;
            }
        }
        let after = used(warehouse).await?;
        let asked = times.len();
        times.sort_by(f64::total_cmp);
        let [rows, cpu_us] = [0, 1].map(|what: usize| (after[what] - before[what]) / asked as u64);
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {rows} | {asked} |",
            times[asked / 2],
            times[(asked * 99).div_ceil(100) - 1],
            cpu_us as f64 / 1e3
        );
    }
    Ok(())
}

/// Merges what was filled, as it would have been in two years, but for its last hours, and for months larger than parts get.
async fn rest(warehouse: &Warehouse) -> Result<()> {
    let partitions = "SELECT concat(table, ' PARTITION ', partition) FROM system.parts WHERE active AND \
                      database = currentDatabase() AND table IN ('clicks_by_hour', 'clicks_by_day') \
                      GROUP BY table, partition HAVING count() > 1 ORDER BY table, partition";
    for partition in warehouse.rows::<String>(partitions, &[]).await? {
        // Without a deadline.
        warehouse.query(&format!("OPTIMIZE TABLE {partition} FINAL"), &[]).execute().await?;
    }
    let merges = "SELECT count() FROM system.merges WHERE database = currentDatabase()";
    let began = Instant::now();
    while warehouse.rows::<u64>(merges, &[]).await? != [0] {
        ensure!(began.elapsed() < MERGES_MAX, "still being merged");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn ask(statistics: &Statistics, scope: Scope, kind: Kind) -> Result<()> {
    let end = BEGIN + i64::try_from(MONTHS)? * MONTH_DAYS * 86_400;
    let of = |days: Option<i64>| {
        let span = days.map(|days| Span { from: Some(end - days * 86_400), to: Some(end) });
        Visits { scope: scope.clone(), span: span.unwrap_or_default(), exclude_bots: false }
    };
    match kind {
        Kind::Summaries => {
            let Scope::Links(links) = scope else { return Ok(()) };
            statistics.of_links(links).await?;
        }
        Kind::Counts { days } => {
            statistics.counts(&of(days)).await?;
        }
        Kind::Series { interval, days } => {
            statistics.series(&of(days), interval, 0).await?;
        }
        Kind::Top { days } => {
            statistics.tallies(&of(days), 10).await?;
        }
        Kind::Visitors { days } => {
            statistics.visitors(&of(Some(days))).await?;
        }
        Kind::Page { number } => {
            let query = VisitsQuery { visits: of(None), begin: Begin::Skip(number * 1_000), limit: 1_000 };
            statistics.page(&query).await?;
        }
    }
    Ok(())
}

/// The links meant, others each time.
async fn scope(warehouse: &Warehouse, of: Of, size: Size, time: u64) -> Result<Scope> {
    let (count, step, first) = match of {
        Of::All => return Ok(Scope::Clicks { domain: None, deleted: [].into() }),
        Of::Domain => return Ok(Scope::Clicks { domain: Some("s.example".to_owned()), deleted: [].into() }),
        Of::Rank(rank) => (1, 1, rank + time),
        Of::Links(count) => (count, (size.links / count).max(1), 1 + time * 13),
    };
    let sql = format!(
        "SELECT {DOMAIN}, {CODE} FROM (SELECT 1 + ({first} - 1 + number * {step}) % {} AS rank FROM numbers({count}))",
        size.links
    );
    let names = warehouse.rows::<(String, String)>(&sql, &[]).await?;
    // Created within an hour, as links are.
    let counted = names.into_iter().map(|(domain, code)| Counted { domain, code, from: BEGIN - 1_234 });
    Ok(Scope::Links(counted.collect::<Arc<[_]>>()))
}

/// Rows that the server has read for questions, and microseconds that its processors worked, as it counts them itself.
async fn used(warehouse: &Warehouse) -> Result<[u64; 2]> {
    let sql = "SELECT sumIf(value, event = 'SelectedRows'), sumIf(value, event = 'OSCPUVirtualTimeMicroseconds') \
               FROM system.events";
    let (rows, cpu_us) =
        warehouse.rows::<(u64, u64)>(sql, &[]).await?.first().copied().context("no counts")?;
    Ok([rows, cpu_us])
}
