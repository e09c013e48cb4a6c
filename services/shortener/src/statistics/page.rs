//! Pages of single visits, the newest first.
//!
//! The rollup by hour says in which hours a page lies, so a deep page reads as much as the first: the visits of those
//! hours, and not all before it. Of all visits that links ever had, `clicks_by_link` first says in which days.

use std::sync::Arc;

use clickhouse::Row;
use serde::Deserialize;

use super::reader::Reader;
use super::scope::{By, Grain};
use super::sql::Sql;
use super::{Answer, Given, Scope, Span, Statistics, StatisticsError, Visits};
use crate::link::UnixSeconds;

/// Which page of which visits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitsQuery {
    /// Which visits.
    pub visits: Visits,
    /// Where the page begins.
    pub begin: Begin,
    /// Visits at most.
    pub limit: u32,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// After so many visits, all of which are counted.
    Skip(u64),
    /// After a place, or with the newest. Nothing is counted.
    After(Option<Given>),
}

/// A visit. Columns of an answer have names of their own: those of a table would stand for it in conditions, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Row, Deserialize)]
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
    /// See [`crate::link::Link::version`]. It is read for visits of some links only, and 0 for others.
    #[serde(rename = "visit_version")]
    pub version: u32,
    /// Place of the redirect rule that chose where the visit went, from 1; 0 where none did, or as above.
    #[serde(rename = "visit_rule")]
    pub rule: u8,
}

/// Some of the visits asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VisitsPage {
    /// Those that were read, the newest first, …
    pub(super) rows: Arc<Vec<SingleVisit>>,
    /// … of which so many are on the page.
    pub(super) shown: usize,
    /// How many there are in all, if they were counted.
    pub total: Option<u64>,
    /// The place after these, where pages begin after one, unless nothing comes after.
    pub next: Option<Given>,
}

impl VisitsPage {
    /// The newest first.
    pub fn visits(&self) -> &[SingleVisit] {
        &self.rows[..self.shown]
    }

    fn of(rows: Arc<Vec<SingleVisit>>, total: u64) -> Self {
        Self { shown: rows.len(), rows, total: Some(total), next: None }
    }
}

/// In which hours, or days, a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Deserialize)]
pub(super) struct Place {
    pub(super) total: i64,
    /// The hour of its first visit.
    newest: u32,
    /// The hour of its last one.
    pub(super) oldest: u32,
    /// Visits that are newer than the first hour.
    before: i64,
}

impl Place {
    /// From when on, and up to before when, if it is told in hours, or days.
    fn within(self, grain: Grain) -> (UnixSeconds, UnixSeconds) {
        (self.oldest.into(), UnixSeconds::from(self.newest) + grain.seconds())
    }
}

impl Statistics {
    /// A page of visits.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub async fn page(&self, query: &VisitsQuery) -> Result<Answer<VisitsPage>, StatisticsError> {
        self.reader()?;
        let VisitsQuery { visits, begin, limit } = query;
        match begin {
            Begin::Skip(_) if visits.are_none() => Ok(Answer::default().map(|rows| VisitsPage::of(rows, 0))),
            Begin::After(_) if visits.are_none() => Ok(Answer::default()),
            Begin::Skip(offset) => self.numbered(visits, *offset, *limit).await,
            Begin::After(given) => self.after(visits, *given, *limit).await,
        }
    }

    async fn numbered(
        &self,
        visits: &Visits,
        skipped: u64,
        limit: u32,
    ) -> Result<Answer<VisitsPage>, StatisticsError> {
        let reader = self.reader()?;
        let mut offset = i64::try_from(skipped).unwrap_or(i64::MAX).min(i64::MAX / 2);
        let grain = if is_of_links_ever(visits) { Grain::Day } else { Grain::Hour };
        let counts = self.counts_of(visits, By::Hour).await?;
        let mut place = locate(reader, counts, grain, None, offset, limit).await?;
        let Some(found) = place.value.filter(|found| found.total > 0) else {
            return Ok(place.map(|_| VisitsPage::of(Arc::default(), 0)));
        };
        let total = u64::try_from(found.total).unwrap_or(0);
        if skipped >= total || limit == 0 {
            return Ok(place.map(|_| VisitsPage::of(Arc::default(), total)));
        }
        let (mut from, mut to) = found.within(grain);
        offset -= found.before;
        if grain == Grain::Day {
            let mut counts = Sql::default();
            let span = Span { from: Some(from), to: Some(to) };
            Visits { span, ..visits.clone() }.counts(&mut counts, By::Hour);
            let hours = locate(reader, counts, Grain::Hour, None, offset, limit).await?;
            // Tables are filled beside each other: where the hours have fewer visits, the days are read to their ends.
            if let Some(found) = hours.value.filter(|found| found.total > offset) {
                let (begin, end) = found.within(Grain::Hour);
                if found.total >= offset + i64::from(limit) {
                    from = begin;
                }
                if found.before > 0 {
                    to = end;
                }
                offset -= found.before;
            }
            place = place.and(hours).map(|(place, _)| place);
        }
        let rows = reader.ask::<SingleVisit>(&rows(visits, from, to, offset, limit)).await?;
        Ok(place.and(rows).map(|(_, rows)| VisitsPage::of(rows, total)))
    }
}

/// Whether it is about all visits that links ever had: then days say first where they lie, since hours lie in as many
/// places as there are months.
pub(super) fn is_of_links_ever(visits: &Visits) -> bool {
    matches!(visits.scope, Scope::Links(_)) && visits.span == Span::default()
}

/// Where the visits lie between these two, counted from the newest, or the newest before a time; their counts are those of
/// [`Visits::counts`] by hour.
pub(super) async fn locate(
    reader: &Reader,
    counts: Sql,
    grain: Grain,
    end: Option<UnixSeconds>,
    offset: i64,
    limit: u32,
) -> Result<Answer<Option<Place>>, StatisticsError> {
    let mut sql = Sql::default();
    sql.push("SELECT sum(c) AS total, toUInt32(maxIf(at, reached > ").number(offset);
    sql.push(")) AS newest, toUInt32(ifNull(maxOrNullIf(at, reached >= ").number(offset + i64::from(limit));
    sql.push("), min(at))) AS oldest, sumIf(c, reached <= ").number(offset);
    sql.push(") AS before FROM (SELECT at, c, sum(c) OVER (ORDER BY at DESC ROWS UNBOUNDED PRECEDING) AS reached FROM (SELECT ");
    sql.push(if grain == Grain::Day { "toStartOfDay(hour)" } else { "hour" });
    sql.push(" AS at, sum(n) AS c FROM (").append(counts).push(")");
    if let Some(end) = end {
        sql.push(" WHERE toUnixTimestamp(hour) < ").number(end);
    }
    sql.push(" GROUP BY at HAVING c > 0))");
    let places = reader.ask::<Place>(&sql).await?;
    Ok(places.map(|places| places.first().copied()))
}

/// The visits from a time on and before another, but for so many of the newest.
pub(super) fn rows(visits: &Visits, from: UnixSeconds, to: UnixSeconds, offset: i64, limit: u32) -> Sql {
    let mut sql = Sql::default();
    sql.push("SELECT toUInt32(ts) AS visit_ts, toString(domain) AS visit_domain, ");
    sql.push(if visits.is_orphans() {
        "path AS visit_asked, toString(kind) AS visit_kind, "
    } else {
        "code AS visit_asked, 'click' AS visit_kind, "
    });
    sql.push(
        "toString(country) AS visit_country, toString(device) AS visit_device, toString(browser) AS visit_browser, \
         toString(os) AS visit_os, toString(referrer_host) AS visit_referrer_host, bot AS visit_bot, ",
    );
    // Not in the projection `by_time`, which answers for everything else.
    let is_of_links = matches!(visits.scope, Scope::Links(_));
    sql.push(if is_of_links {
        "link_version AS visit_version, rule AS visit_rule FROM "
    } else {
        "toUInt32(0) AS visit_version, toUInt8(0) AS visit_rule FROM "
    });
    sql.push(visits.singles()).push(" WHERE ");
    visits.single(&mut sql, from, to);
    // Visits of the same second need an order of their own, or one could be on two pages: which of two comes first that are
    // alike in all that is told nobody sees. For all but links only columns of that projection, or it could not answer.
    sql.push(" ORDER BY ts DESC, ").push(if visits.is_orphans() { "path, kind" } else { "code" });
    sql.push(", domain, referrer_host, browser, os, country, device, bot");
    sql.push(if is_of_links { ", link_version, rule LIMIT " } else { " LIMIT " }).number(i64::from(limit));
    sql.push(" OFFSET ").number(offset.max(0));
    sql
}

#[cfg(test)]
mod tests {
    use warehouse::{Warehouse, WarehouseConfig, migrate};

    use super::*;
    use crate::statistics::scope::HOUR_S;

    /// 2026-05-01, and the days of clicks that there are.
    const BEGIN: UnixSeconds = 1_777_593_600;
    const DAYS: u32 = 10;
    const END: UnixSeconds = BEGIN + DAYS as UnixSeconds * 24 * HOUR_S;
    /// An hour of which pages are asked for.
    const HOUR: UnixSeconds = BEGIN + 100 * HOUR_S;

    /// A hundred thousand clicks on a thousand links: granules enough that it matters where they are read from.
    async fn world(database: &str) -> Warehouse {
        let url = format!("http://{}", testbed::shared_engine_address());
        let warehouse = Warehouse::new(&WarehouseConfig {
            url,
            database: database.to_owned(),
            // Else the clicks below would expire one day.
            clicks_ttl_days: 18_250,
            rollups_ttl_days: 18_250,
            ..WarehouseConfig::default()
        });
        migrate(&warehouse).await.unwrap();
        let click = format!(
            "toDateTime({BEGIN} + cityHash64(number) % {}) AS ts, toString(number % 1000) AS code, \
             if(number % 3, '', 's.example') AS domain, number % 77 AS visitor, number % 5 = 0 AS bot",
            END - BEGIN
        );
        let columns = "ts, code, domain, visitor, bot";
        for sql in [
            format!("INSERT INTO clicks ({columns}) SELECT {click} FROM numbers(100000)"),
            "INSERT INTO visits_by_hour (hour, domain, kind, bot, visits, visitor_list) SELECT toStartOfHour(ts) AS hour, \
             domain, 'click' AS kind, bot, count(), groupArray(visitor) FROM clicks GROUP BY hour, domain, bot"
                .to_owned(),
        ] {
            warehouse.execute(&sql).await.unwrap();
        }
        // Of one second, each unlike the others in one column, and each twice.
        for column in ["code", "domain", "referrer_host", "browser", "os", "country", "device", "bot"] {
            let value = if column == "bot" { "1" } else { "'zz'" };
            let sql = format!(
                "INSERT INTO clicks (ts, visitor, {column}) SELECT toDateTime({}) AS ts, number, {value} FROM numbers(2)",
                HOUR + 5
            );
            warehouse.execute(&sql).await.unwrap();
        }
        warehouse
    }

    /// Pages of an hour, one after the other, of so few visits that a second is on several.
    async fn paged(warehouse: &Warehouse, visits: &Visits, settings: &[(&str, &str)]) -> Vec<SingleVisit> {
        let mut all = Vec::new();
        loop {
            let sql = rows(visits, HOUR, HOUR + HOUR_S, i64::try_from(all.len()).unwrap(), 7);
            let page = sql.query(warehouse, settings).fetch_all::<SingleVisit>().await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    fn everything(domain: Option<&str>, exclude_bots: bool, span: Span) -> Visits {
        let deleted =
            [crate::store::Counted { domain: String::new(), code: "7".to_owned(), from: BEGIN + 9 }];
        let scope = Scope::Clicks { domain: domain.map(str::to_owned), deleted: deleted.into() };
        Visits { scope, span, exclude_bots }
    }

    /// The server refuses what would be read from the rows instead.
    fn from(projection: &str) -> [(&str, &str); 1] {
        [("force_optimize_projection_name", projection)]
    }

    #[tokio::test]
    async fn pages_by_time_are_those_of_the_rows() {
        let warehouse = world("statistics_pages").await;
        let days = Span { from: Some(BEGIN), to: Some(END) };
        let mut found = Vec::new();
        for deleted in [false, true] {
            if deleted {
                // By a column that the projection has not.
                let condition = "WHERE visitor % 7 = 0";
                // After this one the projection would still have what is deleted.
                let refused = warehouse.execute(&format!("DELETE FROM clicks {condition}")).await;
                assert_eq!(refused.unwrap_err().code(), Some(344));
                let delete = format!("ALTER TABLE clicks DELETE {condition} SETTINGS mutations_sync = 2");
                warehouse.execute(&delete).await.unwrap();
            }
            for (domain, exclude_bots) in [(None, false), (Some("s.example"), false), (None, true)] {
                let visits = everything(domain, exclude_bots, days);
                let by_time = paged(&warehouse, &visits, &from("by_time")).await;
                let of_rows = paged(&warehouse, &visits, &[("optimize_use_projections", "0")]).await;
                assert_eq!(by_time, of_rows, "{domain:?}, without bots: {exclude_bots}, deleted: {deleted}");
                assert!(by_time.is_sorted_by(|a, b| a.ts >= b.ts));
                found.push(by_time.len());
            }
        }
        let [before, after] = [&found[..3], &found[3..]];
        assert!(before.iter().zip(after).all(|(before, after)| before > after && *after > 100), "{found:?}");
    }

    #[tokio::test]
    async fn projections_answer_what_they_are_for() {
        let warehouse = world("statistics_projections").await;
        let days = Span { from: Some(BEGIN), to: Some(END) };
        for (domain, exclude_bots) in [(None, false), (Some("s.example"), false), (None, true)] {
            let visits = everything(domain, exclude_bots, days);
            let mut sql = Sql::default();
            visits.visitors(&mut sql);
            let visitors = sql.query(&warehouse, &from("visitors_by_day")).fetch_all::<u64>().await.unwrap();
            assert_eq!(visitors, [77; DAYS as usize]);
        }
        // It does refuse: a projection has not who it was.
        for (table, projection, refused) in [
            ("clicks", "by_time", "max(visitor)"),
            ("visits_by_hour", "visitors_by_day", "uniqMerge(visitors), max(hour)"),
        ] {
            let sql = format!("SELECT ignore({refused}) FROM {table}");
            let error = warehouse.query(&sql, &from(projection)).fetch_all::<u8>().await.unwrap_err();
            assert!(error.to_string().contains(projection), "{error}");
        }
    }
}
