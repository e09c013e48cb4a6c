//! Asks what the API asks, of other links each time, and prints how long it took and how many rows were read.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use shortener::config::StatisticsConfig;
use shortener::metrics::Metrics;
use shortener::statistics::{Interval, Scope, Span, Statistics, Visits, VisitsQuery};
use shortener::store::Counted;
use warehouse::Warehouse;

use crate::fill::{BEGIN, CODE, MONTH_DAYS, MONTHS, Size};

/// Times that each kind of question is asked.
const TIMES: u64 = 20;

/// Longest that one may take, so that slow ones are measured, too, milliseconds.
const QUERY_MS_MAX: u64 = 60_000;

/// What is asked.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Summaries,
    Counts,
    Series,
    Top,
    Visitors { days: i64 },
    Page { number: u64 },
}

/// Of what.
#[derive(Debug, Clone, Copy)]
enum Of {
    All,
    /// The link of this rank.
    Rank(u64),
    /// So many links, evenly over all ranks.
    Links(u64),
}

const QUESTIONS: [(&str, Of, Kind); 15] = [
    ("summaries, list of 20 links", Of::Links(20), Kind::Summaries),
    ("summaries, list of 1,000 links", Of::Links(1_000), Kind::Summaries),
    ("list of 10,000 links by visits", Of::Links(10_000), Kind::Summaries),
    ("totals of the busiest link", Of::Rank(1), Kind::Counts),
    ("series by day, the busiest link", Of::Rank(1), Kind::Series),
    ("series by day, tag of 1,000 links", Of::Links(1_000), Kind::Series),
    ("top values, the busiest link", Of::Rank(1), Kind::Top),
    ("top values, a link in the middle", Of::Rank(1_000), Kind::Top),
    ("top values, tag of 20 links", Of::Links(20), Kind::Top),
    ("top values, tag of 1,000 links", Of::Links(1_000), Kind::Top),
    ("visitors of 31 days, busiest link", Of::Rank(1), Kind::Visitors { days: 31 }),
    ("first page of visits, busiest link", Of::Rank(1), Kind::Page { number: 0 }),
    ("totals of everything", Of::All, Kind::Counts),
    ("top values of everything", Of::All, Kind::Top),
    ("visitors of 7 days of everything", Of::All, Kind::Visitors { days: 7 }),
];

pub(crate) async fn measure(warehouse: &Warehouse, size: Size) -> Result<()> {
    let config = StatisticsConfig {
        query_ms_max: QUERY_MS_MAX,
        rows_read_max: u64::MAX >> 2,
        ..StatisticsConfig::default()
    };
    let statistics = Statistics::new(&config, Some(warehouse.clone()), &Metrics::default());
    println!("{:36} {:>9} {:>9} {:>12}", "", "p50, ms", "p99, ms", "rows read");
    for (name, of, kind) in QUESTIONS {
        let mut times = Vec::new();
        let before = rows_read(warehouse).await?;
        for time in 0..TIMES {
            let scope = scope(warehouse, of, size, time).await?;
            let started = Instant::now();
            ask(&statistics, scope, kind).await?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let rows = (rows_read(warehouse).await? - before) / TIMES;
        println!("{name:36} {:>9.1} {:>9.1} {rows:>12}", times[times.len() / 2], times[times.len() - 1]);
    }
    Ok(())
}

async fn ask(statistics: &Statistics, scope: Scope, kind: Kind) -> Result<()> {
    let end = BEGIN + i64::try_from(MONTHS)? * MONTH_DAYS * 86_400;
    let all = Visits { scope, span: Span::default(), exclude_bots: false };
    match kind {
        Kind::Summaries => {
            let Scope::Links(links) = all.scope else { return Ok(()) };
            statistics.of_links(links).await?;
        }
        Kind::Counts => {
            statistics.counts(&all).await?;
        }
        Kind::Series => {
            statistics.series(&all, Interval::Day, 0).await?;
        }
        Kind::Top => {
            statistics.tallies(&all, 10).await?;
        }
        Kind::Visitors { days } => {
            let span = Span { from: Some(end - days * 86_400), to: Some(end) };
            statistics.visitors(&Visits { span, ..all }).await?;
        }
        Kind::Page { number } => {
            let query = VisitsQuery { visits: all, offset: number * 1_000, limit: 1_000 };
            statistics.page(&query).await?;
        }
    }
    Ok(())
}

/// The links meant, others each time.
async fn scope(warehouse: &Warehouse, of: Of, size: Size, time: u64) -> Result<Scope> {
    let (count, step, first) = match of {
        Of::All => return Ok(Scope::Clicks { domain: None, deleted: [].into() }),
        Of::Rank(rank) => (1, 1, rank + time),
        Of::Links(count) => (count, (size.links / count).max(1), 1 + time * 13),
    };
    let sql = format!("SELECT {CODE} FROM (SELECT {first} + number * {step} AS rank FROM numbers({count}))");
    let codes = warehouse.rows::<String>(&sql, &[]).await?;
    // Created within an hour, as links are.
    let counted = codes.into_iter().map(|code| Counted { domain: String::new(), code, from: BEGIN - 1_234 });
    Ok(Scope::Links(counted.collect::<Arc<[_]>>()))
}

/// Rows that the server has read for questions, as it counts them itself.
async fn rows_read(warehouse: &Warehouse) -> Result<u64> {
    let sql = "SELECT sum(value) FROM system.events WHERE event = 'SelectedRows'";
    warehouse.rows::<u64>(sql, &[]).await?.first().copied().context("no count of rows read")
}
