//! How long statistics take at a size: `statistics_scale URL [CLICKS [LINKS]]` fills a database of its own in the ClickHouse
//! at URL (`hoplog engine` will do) as so many clicks over two years would leave it, asks each kind of question that the
//! API asks, and drops the database. 100 million clicks take about 2.5 GB of disk; more takes accordingly more.
#![expect(clippy::print_stdout, reason = "the result is for whoever runs it")]

mod fill;
mod measure;

use anyhow::{Context as _, Result};
use warehouse::{Warehouse, WarehouseConfig, migrate};

const USAGE: &str = "statistics_scale URL [CLICKS [LINKS]]";

/// What is filled, and dropped in the end.
const DATABASE: &str = "statistics_scale";

/// Longest that filling a month of a table may take, milliseconds.
const FILL_MS_MAX: u64 = 1_800_000;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context(USAGE)?;
    let mut number =
        |otherwise: u64| arguments.next().map_or(Ok(otherwise), |text| text.parse()).context(USAGE);
    let size = fill::Size { clicks: number(100_000_000)?, links: number(1_000_000)? };
    let database = DATABASE.to_owned();
    let config = WarehouseConfig { url, database, query_ms_max: FILL_MS_MAX, ..WarehouseConfig::default() };
    let warehouse = Warehouse::new(&config);
    migrate(&warehouse).await?;
    let measured = async {
        fill::fill(&warehouse, size).await?;
        println!("{} clicks on {} links", size.clicks, size.links);
        for (table, rows, bytes) in fill::sizes(&warehouse).await? {
            println!("{table:20} {rows:>13} rows {:>8.1} MB", bytes as f64 / 1e6);
        }
        measure::measure(&warehouse, size).await
    }
    .await;
    warehouse.execute(&format!("DROP DATABASE {DATABASE} SYNC")).await?;
    measured
}
