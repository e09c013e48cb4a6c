//! Counts of links over their whole time, out of `clicks_by_link`, where all of a link is in one place: so a question about
//! a thousand links takes as long as one about some thousand rows.
//!
//! A link is in there whole if it began to count after the last range that was stored without that table, and exact if
//! nobody clicked its name before it began to count, or only within that hour, whose single clicks are taken off again. All
//! other links are counted from the rollups that are cut by month.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::reader::Reader;
use super::scope::{By, Grain, HOUR_S, link_name};
use super::sql::Sql;
use super::{Scope, Span, Statistics, StatisticsError, Visits};
use crate::link::UnixSeconds;
use crate::store::Counted;

/// How far clocks may be apart: a link that is so much younger than a range has no click in it.
const CLOCKS_S: i64 = HOUR_S;

/// For how long it is taken to be known which range was the last one without the table, or that it can't be found out. It
/// changes while a collector of an earlier version runs: that is, during an upgrade.
const FRESH: Duration = Duration::from_secs(60);

/// How much later than it was begun a range may come onto the ledger: by then the event log has deleted what it would be
/// stored from (`kafka.retention_hours`, a week by default).
const LATE_S: i64 = 7 * 24 * HOUR_S;

/// Since when all clicks are in `clicks_by_link`.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Held while ClickHouse is asked, by one question for all: no redirect waits for it.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// When ClickHouse was asked last, also in vain.
    asked: Option<Instant>,
    found: Option<Found>,
}

/// What the ledger said.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// When the last range was begun that is not in the table; 0 if all are.
    last: UnixSeconds,
    /// When the last range of all was begun: by then nothing new is found, but for what comes late.
    seen_to: UnixSeconds,
}

impl Kept {
    /// Links that began to count by then may have clicks elsewhere. As it was known last where ClickHouse is away.
    pub(super) async fn since(&self, reader: &Reader) -> UnixSeconds {
        let mut known = self.known.lock().await;
        if known.asked.is_none_or(|asked| asked.elapsed() >= FRESH) {
            if let Some(found) = find(reader, known.found).await {
                known.found = Some(found);
            }
            known.asked = Some(Instant::now());
        }
        known.found.map_or(UnixSeconds::MAX, |found| found.last + CLOCKS_S)
    }
}

/// Looks at what has come onto the ledger; `None` if there is no answer.
async fn find(reader: &Reader, before: Option<Found>) -> Option<Found> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT toInt64(toUnixTimestamp(maxIf(collected_at, clicks > 0 AND link_clicks = 0))), \
         toInt64(toUnixTimestamp(max(collected_at))) FROM ingest_ledger WHERE collected_at >= toDateTime(",
    );
    let from = before.map_or(0, |before| (before.seen_to - LATE_S).max(0));
    sql.number(from).push(")");
    let rows = reader.ask_now::<(UnixSeconds, UnixSeconds)>(&sql).await.ok()?;
    let (last, seen_to) = *rows.first()?;
    let before = before.unwrap_or(Found { last: 0, seen_to: 0 });
    Some(Found { last: last.max(before.last), seen_to: seen_to.max(before.seen_to) })
}

/// Links by where their whole time is counted.
struct Parted {
    /// By link.
    kept: Arc<[Counted]>,
    /// Those of them whose name was clicked in the hour in which they began to count, before that.
    within: Arc<[Counted]>,
    /// By hour or day.
    others: Arc<[Counted]>,
}

impl Statistics {
    /// The same as [`Visits::counts`], out of what takes the least. Hours may be days.
    pub(super) async fn counts_of(&self, visits: &Visits, by: By) -> Result<Sql, StatisticsError> {
        let mut sql = Sql::default();
        let Scope::Links(links) = &visits.scope else {
            visits.counts(&mut sql, by);
            return Ok(sql);
        };
        if visits.span != Span::default() {
            visits.counts(&mut sql, by);
            return Ok(sql);
        }
        let Parted { kept, within, others } = self.part(links).await?;
        let of = |links| Visits { scope: Scope::Links(links), ..visits.clone() };
        if !kept.is_empty() {
            of(kept).counts_by_link(&mut sql, by);
            of(within).take_off_before(&mut sql, by, Grain::Hour);
            if others.is_empty() {
                return Ok(sql);
            }
            sql.push(" UNION ALL ");
        }
        of(others).counts(&mut sql, by);
        Ok(sql)
    }

    async fn part(&self, links: &Arc<[Counted]>) -> Result<Parted, StatisticsError> {
        let (young, old) = self.by_age(links).await?;
        let totals = self.totals_by_link(young.clone()).await?;
        let first = |link: &Counted| {
            totals.value.get(&link_name(&link.domain, &link.code)).map_or(i64::MAX, |total| total.first)
        };
        let (kept, mut others): (Vec<_>, Vec<_>) =
            young.iter().cloned().partition(|link| first(link) > link.from - HOUR_S);
        others.extend(old.iter().cloned());
        let within = kept.iter().filter(|link| first(link) < link.from).cloned().collect();
        Ok(Parted { kept: kept.into(), within, others: others.into() })
    }

    /// Those that are in the table whole if they are in it at all, and the others.
    pub(super) async fn by_age(
        &self,
        links: &Arc<[Counted]>,
    ) -> Result<(Arc<[Counted]>, Arc<[Counted]>), StatisticsError> {
        let parts = self.parts.as_ref().ok_or(StatisticsError::Absent)?;
        let since = parts.kept.since(&parts.reader).await;
        let (young, old): (Vec<_>, Vec<_>) = links.iter().cloned().partition(|link| link.from > since);
        Ok((young.into(), old.into()))
    }
}

impl Visits {
    /// [`Visits::counts`] of links that are kept, but for what is to be taken off; days instead of hours.
    fn counts_by_link(&self, sql: &mut Sql, by: By) {
        let (columns, kind) = match by {
            By::Nothing | By::Link => (by.columns(), "all"),
            By::Hour => ("toDateTime(since, 'UTC') AS hour, ", "day"),
            By::Dimension => ("toString(dimension) AS dimension, value, ", "value"),
        };
        sql.push("SELECT ")
            .push(columns)
            .push("bot, toInt64(sum(clicks)) AS n FROM clicks_by_link WHERE kind = ");
        sql.text(kind);
        self.named(sql);
        self.only_people(sql);
        sql.push(" GROUP BY ").push(by.columns()).push("bot");
    }

    /// The same as [`Visits::totals`], out of the table where all of a link is in one place.
    pub(super) fn totals_by_link(&self, sql: &mut Sql) {
        sql.push(
            "SELECT concat(toString(domain), '/', code) AS link, bot, toInt64(sum(clicks)), \
             toInt64(toUnixTimestamp(min(first))) FROM clicks_by_link WHERE kind = 'all'",
        );
        self.named(sql);
        sql.push(" GROUP BY link, bot");
    }

    /// Condition on the links' names: on the code for the index, then on both.
    fn named(&self, sql: &mut Sql) {
        let Scope::Links(links) = &self.scope else { return };
        sql.push(" AND code IN ").texts(links.iter().map(|link| link.code.clone()).collect());
        sql.push(" AND concat(toString(domain), '/', code) IN ");
        sql.texts(links.iter().map(|link| link_name(&link.domain, &link.code)).collect());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use warehouse::{Warehouse, WarehouseConfig, migrate};

    use super::*;
    use crate::config::StatisticsConfig;
    use crate::keys::now;
    use crate::metrics::Metrics;

    fn reader(warehouse: Warehouse) -> Reader {
        // Nothing here is about a machine that is slow.
        let config = StatisticsConfig { query_ms_max: 60_000, ..StatisticsConfig::default() };
        Reader::new(&config, warehouse, Metrics::default())
    }

    #[tokio::test]
    async fn ranges_without_the_table_are_found_whenever_they_come() {
        let url = format!("http://{}", testbed::shared_engine_address());
        let database = "statistics_kept".to_owned();
        let warehouse = Warehouse::new(&WarehouseConfig { url, database, ..WarehouseConfig::default() });
        migrate(&warehouse).await.unwrap();
        let (kept, reader, now) = (Kept::default(), reader(warehouse.clone()), now());
        let range = async |age_s: i64, link_clicks: u32| {
            let sql = format!(
                "INSERT INTO ingest_ledger (topic, clicks, link_clicks, collected_at) SELECT 't', 1, {link_clicks}, toDateTime({})",
                now - age_s
            );
            warehouse.execute(&sql).await.unwrap();
        };
        let since = async || {
            kept.known.lock().await.asked = None;
            kept.since(&reader).await
        };
        assert_eq!(since().await, CLOCKS_S);
        range(100 * 86_400, 0).await;
        assert_eq!(since().await, now - 100 * 86_400 + CLOCKS_S);
        // Within the hour after the last one, and late: others were seen that were begun after it.
        for (age_s, link_clicks) in [(100 * 86_400 - 600, 0), (50, 1), (3 * 86_400, 0)] {
            range(age_s, link_clicks).await;
            let last = if link_clicks == 0 { age_s } else { 100 * 86_400 - 600 };
            assert_eq!(since().await, now - last + CLOCKS_S);
        }
        // What was looked at is not looked at again.
        warehouse.execute("TRUNCATE TABLE ingest_ledger").await.unwrap();
        range(20 * 86_400, 0).await;
        assert_eq!(since().await, now - 3 * 86_400 + CLOCKS_S);
        let found = kept.known.lock().await.found.unwrap();
        assert_eq!((found.last, found.seen_to), (now - 3 * 86_400, now - 50));
    }

    #[tokio::test]
    async fn one_question_is_asked_for_all_and_a_failure_is_remembered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 65_536];
                let mut length = 0;
                while !String::from_utf8_lossy(&request[..length]).contains("FROM ingest_ledger") {
                    length += stream.read(&mut request[length..]).await.unwrap();
                }
                counter.fetch_add(1, SeqCst);
                let answer = "HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 8\r\n\r\nCode: 62";
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let (kept, reader) =
            (Kept::default(), reader(Warehouse::new(&WarehouseConfig { url, ..WarehouseConfig::default() })));
        for _ in 0..3 {
            let (one, other) = tokio::join!(kept.since(&reader), kept.since(&reader));
            assert_eq!((one, other), (UnixSeconds::MAX, UnixSeconds::MAX));
        }
        assert_eq!(asked.load(SeqCst), 1);
    }
}
