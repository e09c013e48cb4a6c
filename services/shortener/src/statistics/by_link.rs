//! Counts of links over their whole time, out of `clicks_by_link`, where all of a link is in one place: so a question about
//! a thousand links takes as long as one about some thousand rows.
//!
//! A link is in there whole if it began to count after the last range that was stored without that table, and exact if
//! nobody clicked its name before it began to count, or only within that hour, whose single clicks are taken off again. All
//! other links are counted from the rollups that are cut by month.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::reader::Reader;
use super::scope::{By, Grain, HOUR_S, link_name};
use super::sql::Sql;
use super::{Scope, Span, Statistics, StatisticsError, Visits};
use crate::link::UnixSeconds;
use crate::store::Counted;

/// How far clocks may be apart: a link that is so much younger than a range has no click in it.
const CLOCKS_S: i64 = HOUR_S;

/// For how long it is taken to be known which range was the last one without the table. It changes while a collector of
/// an earlier version runs: that is, during an upgrade.
const FRESH: Duration = Duration::from_secs(60);

/// Since when all clicks are in `clicks_by_link`.
#[derive(Debug, Default)]
pub(super) struct Kept {
    found: Mutex<Option<(Instant, UnixSeconds)>>,
}

impl Kept {
    /// Links that began to count by then may have clicks elsewhere. As it was known last where ClickHouse is away.
    pub(super) async fn since(&self, reader: &Reader) -> UnixSeconds {
        let known = *self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, since)) = known
            && at.elapsed() < FRESH
        {
            return since;
        }
        let mut sql = Sql::default();
        sql.push(
            "SELECT toInt64(toUnixTimestamp(max(collected_at))) FROM ingest_ledger WHERE clicks > 0 AND \
             link_clicks = 0 AND collected_at >= toDateTime(",
        );
        // A range is on the ledger some time after it was collected.
        sql.number(known.map_or(0, |(_, since)| since)).push(") HAVING count() > 0");
        match reader.ask_now::<i64>(&sql).await {
            Ok(rows) => {
                let since = rows.first().map_or(0, |last| last + CLOCKS_S);
                let since = since.max(known.map_or(0, |(_, since)| since));
                *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), since));
                since
            }
            Err(_) => known.map_or(UnixSeconds::MAX, |(_, since)| since),
        }
    }
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
