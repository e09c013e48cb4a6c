//! Pages of single visits, the newest first.
//!
//! The rollup by hour says in which hours a page lies, so a deep page reads as much as the first: the visits of those
//! hours, and not all before it.

use std::sync::Arc;

use clickhouse::Row;
use serde::Deserialize;

use super::scope::By;
use super::sql::Sql;
use super::{Answer, Statistics, StatisticsError, Visits};
use crate::link::UnixSeconds;

const HOUR_S: i64 = 3_600;

/// Which page of which visits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitsQuery {
    /// Which visits.
    pub visits: Visits,
    /// Visits to skip.
    pub offset: u64,
    /// Visits at most.
    pub limit: u32,
}

/// A visit. Columns of an answer have names of their own: those of a table would stand for it in conditions, too.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct SingleVisit {
    /// When, in seconds since the Unix epoch.
    #[serde(rename = "visit_ts")]
    pub ts: u32,
    /// See [`crate::domain::Domain::authority`].
    #[serde(rename = "visit_domain")]
    pub domain: String,
    /// The code; of an orphan visit, the path.
    #[serde(rename = "visit_asked")]
    pub asked: String,
    /// `click`, or the kind of an orphan visit.
    #[serde(rename = "visit_kind")]
    pub kind: String,
    /// ISO 3166-1 alpha-2, or empty.
    #[serde(rename = "visit_country")]
    pub country: String,
    /// `desktop`, `mobile`, `appliance` or empty.
    #[serde(rename = "visit_device")]
    pub device: String,
    /// Family, or empty.
    #[serde(rename = "visit_browser")]
    pub browser: String,
    /// Family, or empty.
    #[serde(rename = "visit_os")]
    pub os: String,
    /// Host of the page that led here, or empty.
    #[serde(rename = "visit_referrer_host")]
    pub referrer_host: String,
    /// Whether a rule says that a bot made it.
    #[serde(rename = "visit_bot")]
    pub bot: bool,
}

/// Some of the visits asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VisitsPage {
    /// The newest first.
    pub visits: Arc<Vec<SingleVisit>>,
    /// How many there are in all.
    pub total: u64,
}

/// In which hours a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Deserialize)]
struct Place {
    total: i64,
    /// The hour of its first visit.
    newest: u32,
    /// The hour of its last one.
    oldest: u32,
    /// Visits that are newer than the first hour.
    before: i64,
}

impl Statistics {
    /// A page of visits.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub async fn page(&self, query: &VisitsQuery) -> Result<Answer<VisitsPage>, StatisticsError> {
        let reader = self.reader()?;
        if query.visits.are_none() {
            return Ok(Answer::default());
        }
        let place = reader.ask::<Place>(&where_it_lies(query)).await?;
        let Some(found) = place.value.first().copied().filter(|found| found.total > 0) else {
            return Ok(place.map(|_| VisitsPage { visits: Arc::default(), total: 0 }));
        };
        let total = u64::try_from(found.total).unwrap_or(0);
        if query.offset >= total || query.limit == 0 {
            return Ok(place.map(|_| VisitsPage { visits: Arc::default(), total }));
        }
        let visits = reader.ask::<SingleVisit>(&rows(query, &found)).await?;
        Ok(place.and(visits).map(|(_, visits)| VisitsPage { visits, total }))
    }
}

fn where_it_lies(query: &VisitsQuery) -> Sql {
    let offset = i64::try_from(query.offset).unwrap_or(i64::MAX / 2);
    let mut sql = Sql::default();
    sql.push("SELECT sum(c) AS total, toUInt32(maxIf(hour, reached > ").number(offset);
    sql.push(")) AS newest, toUInt32(ifNull(maxOrNullIf(hour, reached >= ")
        .number(offset + i64::from(query.limit));
    sql.push("), min(hour))) AS oldest, sumIf(c, reached <= ").number(offset);
    sql.push(
        ") AS before FROM (SELECT hour, c, sum(c) OVER (ORDER BY hour DESC ROWS UNBOUNDED PRECEDING) AS reached \
         FROM (SELECT hour, sum(n) AS c FROM (",
    );
    query.visits.counts(&mut sql, By::Hour);
    sql.push(") GROUP BY hour HAVING c > 0))");
    sql
}

fn rows(query: &VisitsQuery, place: &Place) -> Sql {
    let visits = &query.visits;
    let offset = i64::try_from(query.offset).unwrap_or(i64::MAX / 2) - place.before;
    let mut sql = Sql::default();
    sql.push("SELECT toUInt32(ts) AS visit_ts, toString(domain) AS visit_domain, ");
    sql.push(if visits.is_orphans() {
        "path AS visit_asked, toString(kind) AS visit_kind, "
    } else {
        "code AS visit_asked, 'click' AS visit_kind, "
    });
    sql.push(
        "toString(country) AS visit_country, toString(device) AS visit_device, toString(browser) AS visit_browser, \
         toString(os) AS visit_os, toString(referrer_host) AS visit_referrer_host, bot AS visit_bot FROM ",
    );
    sql.push(visits.singles()).push(" WHERE ");
    let newest = UnixSeconds::from(place.newest) + HOUR_S;
    visits.single(&mut sql, UnixSeconds::from(place.oldest), newest);
    // Visits of the same second need an order of their own, or one could be on two pages.
    sql.push(" ORDER BY ts DESC, visitor, ").push(if visits.is_orphans() { "path" } else { "code" });
    sql.push(", domain, referrer_host, browser, os, country, device LIMIT ").number(i64::from(query.limit));
    sql.push(" OFFSET ").number(offset.max(0));
    sql
}
