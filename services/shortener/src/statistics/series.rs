//! Visits by hour, day or month, in a time zone that is whole hours from UTC, and how many visitors there were.

use super::scope::By;
use super::sql::Sql;
use super::{Answer, Counts, Scope, Statistics, StatisticsError, Visits};
use crate::link::UnixSeconds;

/// Points of a series at most: a month of hours, two years of days.
pub const SERIES_POINTS_MAX: usize = 750;

/// Days over which the visitors of links are told apart at most: of each hour a list of hashes has to be read, tens of
/// kilobytes for a busy link.
pub const VISITORS_DAYS_MAX: i64 = 31;

/// The same for everything and for domains: hundreds of kilobytes a day, and for an hour as well where it begins or ends
/// within a day.
pub const ALL_VISITORS_DAYS_MAX: i64 = 7;

/// How long a point of a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// An hour.
    Hour,
    /// A day of the time zone.
    Day,
    /// A month of the time zone.
    Month,
}

/// A point of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Its first second.
    pub from: UnixSeconds,
    /// What was counted.
    pub counts: Counts,
}

/// A series; points without visits are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// The oldest first.
    pub points: Vec<Point>,
    /// Whether older points were left out, being too many.
    pub cut: bool,
}

impl Statistics {
    /// Visits by time. `offset_h`: how far the time zone is ahead of UTC.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub async fn series(
        &self,
        visits: &Visits,
        interval: Interval,
        offset_h: i8,
    ) -> Result<Answer<Series>, StatisticsError> {
        if visits.are_none() {
            return Ok(Answer::default());
        }
        let mut sql = Sql::default();
        sql.push("SELECT toInt64(toUnixTimestamp(toDateTime(");
        sql.push(match interval {
            Interval::Hour => "toStartOfHour",
            Interval::Day => "toStartOfDay",
            Interval::Month => "toStartOfMonth",
        });
        let offset_s = i64::from(offset_h) * 3_600;
        sql.push("(hour + ").number(offset_s).push("), 'UTC'))) - ").number(offset_s).push(" AS point, ");
        sql.push("sumIf(n, NOT bot) AS people, sumIf(n, bot) AS robots FROM (");
        if interval == Interval::Hour || offset_h != 0 {
            visits.counts(&mut sql, By::Hour);
        } else {
            sql.append(self.counts_of(visits, By::Hour).await?);
        }
        sql.push(") GROUP BY point HAVING people + robots > 0 ORDER BY point DESC LIMIT ");
        sql.number(SERIES_POINTS_MAX as i64 + 1);
        let rows = self.reader()?.ask::<(i64, i64, i64)>(&sql).await?;
        Ok(rows.map(|rows| {
            let point = |&(from, people, robots): &(i64, i64, i64)| Point {
                from,
                counts: Counts::sum([(false, people), (true, robots)].into_iter()),
            };
            let cut = rows.len() > SERIES_POINTS_MAX;
            let points = rows.iter().take(SERIES_POINTS_MAX).rev().map(point).collect();
            Series { points, cut }
        }))
    }

    /// How many visitors there were, estimated to about a percent; one who comes on two days counts twice, since
    /// their hash is another. Of whole hours. None where the span is open or longer than [`VISITORS_DAYS_MAX`] days, or
    /// [`ALL_VISITORS_DAYS_MAX`] where it is not about links.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub async fn visitors(&self, visits: &Visits) -> Result<Answer<Option<u64>>, StatisticsError> {
        let days = visits.span.from.zip(visits.span.to).map(|(from, to)| (to - from) / 86_400);
        let of_links = matches!(visits.scope, Scope::Links(_));
        let days_max = if of_links { VISITORS_DAYS_MAX } else { ALL_VISITORS_DAYS_MAX };
        if days.is_none_or(|days| days > days_max) || visits.are_none() {
            return Ok(Answer { value: None, stale_since: None });
        }
        let mut sql = Sql::default();
        sql.push("SELECT sum(n) FROM (");
        visits.visitors(&mut sql);
        sql.push(")");
        let rows = self.reader()?.ask::<u64>(&sql).await?;
        Ok(rows.map(|rows| rows.first().copied()))
    }
}
