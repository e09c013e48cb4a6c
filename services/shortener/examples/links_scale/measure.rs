//! What is measured at a size: calls of the store, one after the other and several at once, and bytes on disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use shortener::link::{LinkRef, ListQuery, NewLink};
use shortener::store::{Created, Creation, LinkStore, Read};
use shortener::target::{self, TargetPolicy};
use sqlx::PgPool;

/// Creations at a time: half the connections of a pool.
pub(crate) const CREATORS: usize = 8;

/// Creations of each: they take longer than it takes until texts are indexed.
pub(crate) const CREATED: usize = 5_000;

/// Links looked for: of ten million, hardly one twice.
const FOUND: usize = 5_000;

/// Pages of each kind.
const PAGES: usize = 300;

/// Times of one kind of call.
pub(crate) struct Times(pub(crate) Vec<Duration>);

impl Times {
    /// `p50 / p99` in ms.
    pub(crate) fn text(mut self) -> String {
        self.0.sort_unstable();
        let at =
            |percent: usize| self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)].as_secs_f64() * 1e3;
        format!("{:.2} / {:.2}", at(50), at(99))
    }
}

pub(crate) async fn creations(store: &Arc<dyn LinkStore>) -> Result<Times> {
    let tasks: Vec<_> = (0..CREATORS)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(CREATED);
                for at in 0..CREATED {
                    let link = random_link(at)?;
                    let started = Instant::now();
                    let made = store.create(&[link], None).await?;
                    times.push(started.elapsed());
                    ensure!(matches!(made, Creation::Done(made) if matches!(made[0], Created::New(_))));
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    Ok(Times(times))
}

fn random_link(at: usize) -> Result<NewLink> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    let code = format!("{:x}", u64::from_be_bytes(random));
    let url = format!("https://www.example-{}.com/articles/2026/{code}?utm_source=newsletter", at % 5000);
    let mut link = NewLink::with_alias(code, target::parse(&url, &TargetPolicy::default())?);
    link.owner = Some(format!("k{}", at % 50));
    if at.is_multiple_of(3) {
        link.settings.tags.insert(format!("tag-{}", 1 + at * 31 % 1000));
    }
    Ok(link)
}

/// Codes of links that nobody has asked for since the server's start, but for chance.
pub(crate) async fn codes(database: &PgPool, links: i64) -> Result<Vec<String>> {
    // Computed, not read: a link that was read would not be cold.
    let codes = sqlx::query_scalar(
        "SELECT substr(translate(encode(decode(md5((1 + floor(random() * $1))::bigint::text), 'hex'), 'base64'),
                                 '+/=', 'xyz'), 1, 9)
         FROM generate_series(1, $2)",
    );
    Ok(codes.bind(links).bind(i64::try_from(FOUND)?).fetch_all(database).await?)
}

pub(crate) async fn finds(store: &dyn LinkStore, database: &PgPool, links: i64) -> Result<Times> {
    let codes = codes(database, links).await?;
    let mut times = Vec::with_capacity(FOUND);
    for code in &codes {
        let started = Instant::now();
        let found = store.find(LinkRef::on_default(code), Read::Recent).await?;
        times.push(started.elapsed());
        ensure!(found.is_some(), "{code} is not there");
    }
    Ok(Times(times))
}

/// Pages of 20, the newest first, with their totals, as clients ask for them.
pub(crate) async fn pages(store: &dyn LinkStore, set: impl Fn(&mut ListQuery, usize)) -> Result<Times> {
    let mut times = Vec::with_capacity(PAGES);
    for at in 0..PAGES {
        let mut query = newest();
        set(&mut query, at);
        let started = Instant::now();
        store.list(&query).await?;
        times.push(started.elapsed());
    }
    Ok(Times(times))
}

fn newest() -> ListQuery {
    ListQuery { count: true, descending: true, limit: 20, ..ListQuery::default() }
}

/// Bytes a link, of the table and of each index.
pub(crate) async fn sizes(database: &PgPool) -> Result<Vec<(String, f64)>> {
    let sizes = sqlx::query_as(
        "SELECT name::text, (pg_relation_size(name::regclass) / links)::float8
         FROM (SELECT 'links' AS name UNION ALL SELECT indexname FROM pg_indexes WHERE tablename = 'links') AS names,
              (SELECT count(*)::float8 AS links FROM links) AS counted
         ORDER BY 2 DESC",
    );
    Ok(sizes.fetch_all(database).await?)
}
