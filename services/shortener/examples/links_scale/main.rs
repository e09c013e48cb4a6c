//! Whether PostgreSQL slows a shortener down as links grow: `links_scale URL LINKS` fills the (empty or smaller) database at
//! URL up to LINKS, and prints what calls of the store take then and what a link takes on disk. Once a size, of growing ones.
//! With `ADDRESS KEY`, of a `hoplog serve` on this database that has just been started, also what its redirects of links that
//! it has not in memory take, and creations by its API.
#![expect(clippy::print_stdout, reason = "the result is for whoever runs it")]

mod fill;
mod http;
mod measure;

use anyhow::{Context as _, Result};
use shortener::ShortenerConfig;
use shortener::config::SecretText;
use sqlx::PgPool;

/// Creations a second where they are not as many as possible: a quarter of what two cores can do, forty million a day.
const RATE_PER_S: u32 = 500;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("links_scale URL LINKS")?;
    let links: i64 = arguments.next().context("links_scale URL LINKS")?.parse()?;
    let server = arguments.next().zip(arguments.next());
    let mut config = ShortenerConfig::default().store;
    config.postgres.url = SecretText::new(&url);
    // Only so that a slow call is measured, not refused.
    (config.read_ms_max, config.write_ms_max, config.postgres.statement_ms_max) = (60_000, 60_000, 60_000);
    let store = shortener::store::open(&config).await?;
    store.migrate().await?;
    let database = PgPool::connect(&url).await?;
    fill::fill(&database, links).await?;

    println!("{links} links; ms, p50 / p99");
    if let Some((address, key)) = &server {
        let codes = measure::codes(&database, links).await?;
        println!("redirect, cold  {}", http::redirects(address, &codes).await?.text());
        let paced = http::creations(address, key, Some(RATE_PER_S)).await?;
        println!("create by API, {RATE_PER_S} a second {}", paced.text());
        println!("create by API, 8 at once {}", http::creations(address, key, None).await?.text());
    }
    println!("find, cold      {}", measure::finds(&*store, &database, links).await?.text());
    println!("create, 8 at once {}", measure::creations(&store).await?.text());
    println!("first page      {}", measure::pages(&*store, |_, _| ()).await?.text());
    let tag =
        measure::pages(&*store, |query, at| query.tags = [format!("tag-{}", 1 + at * 3)].into()).await?;
    println!("page of a tag   {}", tag.text());
    let term =
        |query: &mut shortener::link::ListQuery, at| query.search = Some(format!("-{}?utm", 1000 + at * 97));
    println!("page of a search {}", measure::pages(&*store, term).await?.text());
    println!("bytes a link");
    for (name, bytes) in measure::sizes(&database).await? {
        println!("{name:20} {bytes:.1}");
    }
    Ok(())
}
