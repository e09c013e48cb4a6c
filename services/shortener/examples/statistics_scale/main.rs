//! How long statistics take at a size: `statistics_scale fill URL CLICKS LINKS` fills a database of its own in the ClickHouse
//! at URL (`hoplog engine` will do) as so many clicks over two years would leave it, `measure` with the same numbers asks each
//! kind of question that the API asks, and `drop URL` drops the database. They are apart, since filling takes long and wants
//! nothing, and measuring is short and wants a machine without anything else to do. 100 million clicks take about 1.5 GB of
//! disk, a billion on 100,000 links 16 GB, and to be filled an engine whose queries may take 5 GB
//! (`HOPLOG_ENGINE__QUERY_MEMORY_BYTES_MAX`).
#![expect(clippy::print_stdout, reason = "the result is for whoever runs it")]

mod fill;
mod measure;

use anyhow::{Context as _, Result, bail};
use warehouse::{Warehouse, WarehouseConfig, migrate};

const USAGE: &str = "statistics_scale fill|measure|drop URL [CLICKS [LINKS]]";

/// What is filled and measured.
const DATABASE: &str = "statistics_scale";

/// Longest that filling a month of a table may take, milliseconds.
const FILL_MS_MAX: u64 = 1_800_000;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let step = arguments.next().context(USAGE)?;
    let url = arguments.next().context(USAGE)?;
    let mut number =
        |otherwise: u64| arguments.next().map_or(Ok(otherwise), |text| text.parse()).context(USAGE);
    let size = fill::Size { clicks: number(100_000_000)?, links: number(1_000_000)? };
    let database = DATABASE.to_owned();
    let config = WarehouseConfig { url, database, query_ms_max: FILL_MS_MAX, ..WarehouseConfig::default() };
    let warehouse = Warehouse::new(&config);
    match step.as_str() {
        "fill" => {
            migrate(&warehouse).await?;
            fill::fill(&warehouse, size).await
        }
        "measure" => {
            println!("{} clicks on {} links", size.clicks, size.links);
            for (table, rows, bytes) in fill::sizes(&warehouse).await? {
                println!("{table:20} {rows:>13} rows {:>8.1} MB", bytes as f64 / 1e6);
            }
            measure::measure(&warehouse, size).await
        }
        "drop" => Ok(warehouse.execute(&format!("DROP DATABASE {DATABASE} SYNC")).await?),
        _ => bail!(USAGE),
    }
}
