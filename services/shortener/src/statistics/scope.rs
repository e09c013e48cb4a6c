//! Which visits a question is about, and the SQL that counts them exactly.
//!
//! Rollups are by hour. Where a count begins or ends within an hour, the single visits of that hour that lie outside are
//! taken off again. Where single clicks are not kept, such an hour counts whole.

use std::sync::Arc;

use super::sql::Sql;
use crate::link::UnixSeconds;
use crate::store::Counted;

pub(super) const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// The last day of ClickHouse's `DateTime`, which has 32 bits.
const TIME_MAX: i64 = u32::MAX as i64 - 2 * DAY_S;

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Visits of all links, also of those that were deleted meanwhile.
    Clicks {
        /// Only of this domain, see [`crate::domain::Domain::authority`].
        domain: Option<String>,
        /// Links whose visits before a time are not counted.
        deleted: Arc<[Counted]>,
    },
    /// Those of some links, each since its time.
    Links(Arc<[Counted]>),
    /// Visits that reached no link.
    Orphans {
        /// Only of this domain.
        domain: Option<String>,
        /// Only of this kind.
        kind: Option<OrphanKind>,
    },
}

/// Why a visit reached no link, by Shlink's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanKind {
    /// `/`.
    BaseUrl,
    /// A code that is unknown, expired or exhausted.
    InvalidShortUrl,
    /// A path that can't be a code.
    Regular404,
}

impl OrphanKind {
    /// The one with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::BaseUrl, Self::InvalidShortUrl, Self::Regular404]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// Its name in the tables and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BaseUrl => "base_url",
            Self::InvalidShortUrl => "invalid_short_url",
            Self::Regular404 => "regular_404",
        }
    }
}

/// From a time on, up to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first second.
    pub from: Option<UnixSeconds>,
    /// The first second after it.
    pub to: Option<UnixSeconds>,
}

impl Span {
    /// The whole days in it: the begin of the first, and the end of the last. `None` where there are none, or it is open.
    fn whole_days(self) -> Option<(UnixSeconds, UnixSeconds)> {
        let (from, to) = self.from.zip(self.to)?;
        let (first, last) = (from + (-from).rem_euclid(DAY_S), Grain::Day.floor(to));
        (0 <= first && first < last && last <= TIME_MAX).then_some((first, last))
    }
}

/// A question: what, when, and whether with bots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visits {
    /// What.
    pub scope: Scope,
    /// When.
    pub span: Span,
    /// Whether only visits count that no rule says a bot made.
    pub exclude_bots: bool,
}

/// What counts are told apart by, beside bots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Nothing,
    Link,
    Hour,
    Dimension,
}

impl By {
    /// Columns of a rollup.
    pub(super) fn columns(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Link => "domain, code, ",
            Self::Hour => "hour, ",
            Self::Dimension => "dimension, value, ",
        }
    }

    /// The same of single visits.
    fn of_single(self) -> &'static str {
        match self {
            Self::Hour => "toStartOfHour(ts) AS hour, ",
            Self::Dimension => "d.1 AS dimension, d.2 AS value, ",
            same => same.columns(),
        }
    }
}

/// The last day that ClickHouse's dates have, in days since the Unix epoch.
const DAYS_MAX: i64 = 65_535;

/// The time of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    Second,
    Hour,
    Day,
}

impl Grain {
    pub(super) fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Hour => HOUR_S,
            Self::Day => DAY_S,
        }
    }

    /// In seconds since the Unix epoch.
    fn column(self) -> &'static str {
        match self {
            Self::Second => "toUnixTimestamp(ts)",
            Self::Hour => "toUnixTimestamp(hour)",
            Self::Day => "toUnixTimestamp(toDateTime(day, 'UTC'))",
        }
    }

    /// And: a row's time is so to this time. Days are compared as days, since of what is made of them ClickHouse does not see
    /// that it grows with them, and would read every month there is.
    fn bound(self, sql: &mut Sql, comparison: &'static str, time: UnixSeconds) {
        if self == Self::Day {
            // A row is at its day's begin: those before a time within a day are those before the next begin.
            let days = time.div_euclid(DAY_S) + i64::from(time.rem_euclid(DAY_S) > 0);
            sql.push(" AND day").push(comparison).push("toDate(").number(days.clamp(0, DAYS_MAX)).push(")");
        } else {
            sql.push(" AND ").push(self.column()).push(comparison).number(time);
        }
    }

    /// Where the hour, or the day, of a single visit starts.
    fn start(self) -> &'static str {
        if self == Self::Day { "toStartOfDay(ts)" } else { "toStartOfHour(ts)" }
    }

    /// Where the hour, or the day, of a time begins.
    pub(super) fn floor(self, time: UnixSeconds) -> UnixSeconds {
        time - time.rem_euclid(self.seconds())
    }
}

/// Names and times of links as ClickHouse gets them.
struct Keys {
    domains: Vec<String>,
    codes: Vec<String>,
    from: Vec<i64>,
}

impl Keys {
    /// Links from their own times on.
    fn of(links: &[Counted]) -> Self {
        Self {
            domains: links.iter().map(|link| link.domain.clone()).collect(),
            codes: links.iter().map(|link| link.code.clone()).collect(),
            from: links.iter().map(|link| link.from.clamp(0, TIME_MAX)).collect(),
        }
    }
}

impl Visits {
    /// `SELECT [what,] bot, n`, where counts of the same may come in several rows and below zero: they are to be summed.
    ///
    /// By dimension, a day in which the span begins or ends counts whole, but for what lies before the time since when
    /// a link counts.
    pub(super) fn counts(&self, sql: &mut Sql, by: By) {
        let grain = if by == By::Dimension { Grain::Day } else { Grain::Hour };
        sql.push("SELECT ").push(by.columns()).push("bot, toInt64(sum(");
        sql.push(if self.is_links() { "clicks" } else { "visits" }).push(")) AS n FROM ");
        sql.push(match (self.is_links(), grain) {
            (true, Grain::Day) => "clicks_by_day",
            (true, _) => "clicks_by_hour",
            (false, Grain::Day) => "visits_by_day",
            (false, _) => "visits_by_hour",
        });
        sql.push(" WHERE ");
        self.filter(sql, grain);
        if let Some(to) = self.span.to {
            grain.bound(sql, " < ", to);
        }
        self.only_people(sql);
        sql.push(" GROUP BY ").push(by.columns()).push("bot");
        self.take_off_before(sql, by, grain);
        self.take_off_after(sql, by, grain);
        self.take_off_deleted(sql, by);
    }

    /// What was deleted of links: all that they ever had in the span, less what they have of it since.
    fn take_off_deleted(&self, sql: &mut Sql, by: By) {
        let Scope::Clicks { deleted, .. } = &self.scope else { return };
        if deleted.is_empty() {
            return;
        }
        let ever = deleted.iter().map(|link| Counted { from: 0, ..link.clone() }).collect();
        for (sign, links) in [("-n AS n FROM (", ever), ("n FROM (", deleted.clone())] {
            sql.push(" UNION ALL SELECT ").push(by.columns()).push("bot, ").push(sign);
            Self { scope: Scope::Links(links), ..self.clone() }.counts(sql, by);
            sql.push(")");
        }
    }

    /// `SELECT link, bot, n, first`: of each link by its name (see [`link_name`]) all clicks that were ever counted under
    /// it, and the hour of the first. Nothing where it is not about links. Rows are read a link and month, not an hour.
    pub(super) fn totals(&self, sql: &mut Sql) {
        let Scope::Links(links) = &self.scope else { return };
        sql.is_projected = true;
        // To the letter the expressions of the projection.
        sql.push(
            "SELECT concat(toString(domain), '/', code) AS link, bot, toInt64(sum(clicks)), \
             toInt64(toUnixTimestamp(min(hour))) FROM clicks_by_hour WHERE concat(toString(domain), '/', code) IN ",
        );
        sql.texts(links.iter().map(|link| link_name(&link.domain, &link.code)).collect());
        sql.push(" GROUP BY concat(toString(domain), '/', code), bot");
    }

    /// `SELECT link, bot, n` of links: the single clicks of the hour in which each begins to count, before it does.
    pub(super) fn before(&self, sql: &mut Sql) {
        let Scope::Links(links) = &self.scope else { return };
        let keys = self.keys(links, Some);
        let starts = keys.codes.iter().cloned().zip(keys.from.iter().map(|from| Grain::Hour.floor(*from)));
        sql.push("SELECT concat(toString(domain), '/', code) AS link, bot, toInt64(count()) FROM clicks WHERE (code, ");
        sql.push(Grain::Hour.start()).push(") IN ").pairs(starts.collect());
        sql.push(" AND toUnixTimestamp(ts) < ");
        since(sql, keys, "0");
        sql.push(" GROUP BY link, bot");
    }

    /// Whether it is about no link at all.
    pub(super) fn are_none(&self) -> bool {
        matches!(&self.scope, Scope::Links(links) if links.is_empty())
    }

    /// `SELECT n`, in rows that are to be summed: the visitors of whole hours. Where it is not about links, those of each
    /// whole day come out of a projection: a hash means another visitor on another day, so days add up.
    pub(super) fn visitors(&self, sql: &mut Sql) {
        let Some((first_day, last_day)) = self.span.whole_days().filter(|_| !self.is_links()) else {
            return self.visitors_by_hour(sql);
        };
        for (from, to) in [(self.span.from, Some(first_day)), (Some(last_day), self.span.to)] {
            if from < to {
                Self { span: Span { from, to }, ..self.clone() }.visitors_by_hour(sql);
                sql.push(" UNION ALL ");
            }
        }
        // To the letter the expressions of the projection.
        sql.push("SELECT uniqMerge(visitors) AS n FROM visits_by_hour WHERE ");
        Self { span: Span::default(), ..self.clone() }.filter(sql, Grain::Hour);
        sql.push(" AND toDate(hour) >= toDate(").number(first_day / DAY_S);
        sql.push(") AND toDate(hour) < toDate(").number(last_day / DAY_S).push(")");
        self.only_people(sql);
        sql.push(" GROUP BY toDate(hour)");
    }

    fn visitors_by_hour(&self, sql: &mut Sql) {
        sql.push("SELECT uniqMerge(visitors) AS n FROM ");
        sql.push(if self.is_links() { "clicks_by_hour" } else { "visits_by_hour" }).push(" WHERE ");
        self.filter(sql, Grain::Hour);
        if let Some(to) = self.span.to {
            Grain::Hour.bound(sql, " < ", to);
        }
        self.only_people(sql);
    }

    /// Condition on single visits, from a time on and before another besides.
    pub(super) fn single(&self, sql: &mut Sql, from: UnixSeconds, to: UnixSeconds) {
        self.filter(sql, Grain::Second);
        sql.push(" AND ts >= toDateTime(").number(from);
        sql.push(") AND ts < toDateTime(").number(self.span.to.map_or(to, |end| end.min(to))).push(")");
        self.only_people(sql);
    }

    /// The table of single visits.
    pub(super) fn singles(&self) -> &'static str {
        if self.is_orphans() { "orphan_visits" } else { "clicks" }
    }

    /// Whether it is about visits that reached no link.
    pub(super) fn is_orphans(&self) -> bool {
        matches!(self.scope, Scope::Orphans { .. })
    }

    fn is_links(&self) -> bool {
        matches!(self.scope, Scope::Links(_))
    }

    pub(super) fn only_people(&self, sql: &mut Sql) {
        if self.exclude_bots {
            sql.push(" AND NOT bot");
        }
    }

    /// Condition on what, and since when.
    fn filter(&self, sql: &mut Sql, grain: Grain) {
        let rolled_up = grain != Grain::Second;
        match &self.scope {
            Scope::Links(links) => return self.filter_links(sql, links, grain),
            Scope::Clicks { domain, deleted } => {
                sql.push(if rolled_up { "kind = 'click'" } else { "1" });
                if let Some(domain) = domain {
                    sql.push(" AND domain = ").text(domain);
                }
                if !rolled_up && !deleted.is_empty() {
                    sql.push(" AND toUnixTimestamp(ts) >= ");
                    since(sql, Keys::of(deleted), "0");
                }
            }
            Scope::Orphans { domain, kind } => {
                match kind {
                    Some(kind) => sql.push("kind = ").text(kind.as_str()),
                    None => sql.push("kind != 'click'"),
                };
                if let Some(domain) = domain {
                    sql.push(" AND domain = ").text(domain);
                }
            }
        }
        if let Some(from) = self.span.from {
            grain.bound(sql, " >= ", grain.floor(from));
        }
    }

    fn filter_links(&self, sql: &mut Sql, links: &[Counted], grain: Grain) {
        let keys = self.keys(links, |from| Some(grain.floor(from)));
        // Once for all, for the index; then each for itself.
        let earliest = keys.from.iter().copied().min().unwrap_or_default();
        sql.push("code IN ").texts(keys.codes.clone());
        grain.bound(sql, " >= ", earliest);
        sql.push(" AND ").push(grain.column()).push(" >= ");
        since(sql, keys, "4294967295");
    }

    /// What a rollup has of the hours (or days) in which counting begins, and happened before.
    pub(super) fn take_off_before(&self, sql: &mut Sql, by: By, grain: Grain) {
        let within = |from: i64| from != grain.floor(from);
        match &self.scope {
            Scope::Links(links) => {
                // A link that begins to count after the span has nothing in it that could be taken off.
                let is_in = |from: i64| self.span.to.is_none_or(|to| grain.floor(from) < to);
                let keys = self.keys(links, |from| (within(from) && is_in(from)).then_some(from));
                if keys.codes.is_empty() {
                    return;
                }
                let starts = keys.codes.iter().cloned().zip(keys.from.iter().map(|from| grain.floor(*from)));
                self.take_off(sql, by);
                sql.push("(code, ").push(grain.start()).push(") IN ").pairs(starts.collect());
                sql.push(" AND toUnixTimestamp(ts) < ");
                since(sql, keys, "0");
                self.only_people(sql);
            }
            // Of everything else there are days only; what is said of them says so.
            _ if grain == Grain::Day => return,
            _ => {
                let Some(from) = self.span.from.filter(|from| within(*from)) else { return };
                self.take_off(sql, by);
                let before = Span { from: Some(grain.floor(from)), to: Some(from) };
                self.with_deleted(before).single(sql, grain.floor(from), from);
            }
        }
        sql.push(" GROUP BY ").push(by.columns()).push("bot");
    }

    /// What a rollup has of the hour in which counting ends, and happened afterwards.
    fn take_off_after(&self, sql: &mut Sql, by: By, grain: Grain) {
        let Some(to) = self.span.to.filter(|to| grain == Grain::Hour && grain.floor(*to) != *to) else {
            return;
        };
        let end = grain.floor(to) + HOUR_S;
        self.take_off(sql, by);
        self.with_deleted(Span { to: Some(end), ..self.span }).single(sql, to, end);
        sql.push(" GROUP BY ").push(by.columns()).push("bot");
    }

    /// The same in another span, with what was deleted of links: rollups have that, too.
    fn with_deleted(&self, span: Span) -> Self {
        let mut all = Self { span, ..self.clone() };
        if let Scope::Clicks { deleted, .. } = &mut all.scope {
            *deleted = [].into();
        }
        all
    }

    fn take_off(&self, sql: &mut Sql, by: By) {
        sql.push(" UNION ALL SELECT ").push(by.of_single());
        sql.push("bot, -toInt64(count()) AS n FROM ").push(self.singles());
        if by == By::Dimension {
            sql.push(
                " ARRAY JOIN [('country', toString(country)), ('device', toString(device)), \
                 ('browser', toString(browser)), ('os', toString(os)), \
                 ('referrer_host', toString(referrer_host))] AS d",
            );
        }
        sql.push(" WHERE ");
    }

    /// The links, each from its own time or that of the span, whichever is later; `None` leaves one out.
    fn keys(&self, links: &[Counted], from: impl Fn(i64) -> Option<i64>) -> Keys {
        let mut keys = Keys { domains: Vec::new(), codes: Vec::new(), from: Vec::new() };
        for link in links {
            let begins = self.span.from.map_or(link.from, |from| from.max(link.from));
            // A time outside of ClickHouse's is its first or last.
            if let Some(begins) = from(begins.clamp(0, TIME_MAX)) {
                keys.domains.push(link.domain.clone());
                keys.codes.push(link.code.clone());
                keys.from.push(begins);
            }
        }
        keys
    }
}

/// A link's name in [`Visits::totals`]: domains have no slash.
pub(super) fn link_name(domain: &str, code: &str) -> String {
    format!("{domain}/{code}")
}

/// When a row's link begins to count, in seconds; `otherwise` where it is none of them.
fn since(sql: &mut Sql, keys: Keys, otherwise: &'static str) {
    sql.push("transform(cityHash64(toString(domain), code), arrayMap((d, c) -> cityHash64(d, c), ");
    sql.texts(keys.domains).push(", ").texts(keys.codes).push("), ").numbers(keys.from).push(", ");
    sql.push(otherwise).push(")");
}
