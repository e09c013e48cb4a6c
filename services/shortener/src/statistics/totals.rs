//! How many visits each of some links has, of its whole time: what lists of links show and are ordered by.
//!
//! ClickHouse keeps totals of each link with the hour of the first click: by year (`clicks_by_link`), or for links older
//! than that table by month (the projection `totals_by_link`). They are the answer for every link that nobody clicked before
//! it began to count. Of the others what was before is taken off: single clicks, where it was within the hour of the
//! beginning; else the rows by hour are read, as they are where no projection answers.

use std::collections::HashMap;
use std::sync::Arc;

use super::scope::{By, HOUR_S, link_name};
use super::sql::Sql;
use super::{Answer, Counts, LinkCounts, Scope, Span, Statistics, StatisticsError, Visits};
use crate::store::Counted;

/// Clicks of a link that were ever counted under its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Total {
    people: i64,
    robots: i64,
    /// The hour of the first.
    pub(super) first: i64,
}

/// Of each link by its name.
type Totals = HashMap<String, Total>;

impl Default for Total {
    fn default() -> Self {
        Self { people: 0, robots: 0, first: i64::MAX }
    }
}

impl Total {
    fn add(&mut self, bot: bool, n: i64) {
        *(if bot { &mut self.robots } else { &mut self.people }) += n;
    }

    fn counts(self) -> Counts {
        Counts::sum([(false, self.people), (true, self.robots)].into_iter())
    }
}

impl Statistics {
    /// How many visits each of some links has.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub async fn of_links(&self, links: Arc<[Counted]>) -> Result<Answer<LinkCounts>, StatisticsError> {
        if links.is_empty() {
            return Ok(Answer { value: LinkCounts::new(), stale_since: None });
        }
        let (young, old) = self.by_age(&links).await?;
        let (mut earlier, mut within) = (Vec::new(), Vec::new());
        let by_month = match self.totals_by_month(old.clone()).await {
            Err(
                StatisticsError::NotProjected | StatisticsError::Unavailable(_) | StatisticsError::LeftAlone,
            ) => {
                earlier.extend(old.iter().cloned());
                Answer::default()
            }
            totals => totals?,
        };
        let totals = self.totals_by_link(young).await?.and(by_month).map(|(mut totals, by_month)| {
            totals.extend(by_month);
            totals
        });
        for link in links.iter() {
            let first =
                totals.value.get(&link_name(&link.domain, &link.code)).map_or(i64::MAX, |total| total.first);
            if first <= link.from - HOUR_S {
                earlier.push(link.clone());
            } else if first < link.from {
                within.push(link.clone());
            }
        }
        let before = self.before(within.into()).await?;
        let exact = self.by_hours(earlier.into()).await?;
        Ok(totals.and(before).and(exact).map(|((totals, before), exact)| {
            let counts = links.iter().filter_map(|link| {
                let name = link_name(&link.domain, &link.code);
                let mut total = *totals.get(&name).filter(|total| total.first > link.from - HOUR_S)?;
                for (bot, n) in before.get(&name).into_iter().flatten() {
                    total.add(*bot, -n);
                }
                Some(((link.domain.clone(), link.code.clone()), total.counts()))
            });
            let mut counts: LinkCounts = counts.collect();
            counts.extend(exact);
            counts
        }))
    }

    /// All that was ever counted under the names of links, which are in the table whole.
    pub(super) async fn totals_by_link(
        &self,
        links: Arc<[Counted]>,
    ) -> Result<Answer<Totals>, StatisticsError> {
        let mut sql = Sql::default();
        of(links.clone()).totals_by_link(&mut sql);
        self.ask_totals(&links, &sql).await
    }

    /// The same of others.
    async fn totals_by_month(&self, links: Arc<[Counted]>) -> Result<Answer<Totals>, StatisticsError> {
        let mut sql = Sql::default();
        of(links.clone()).totals(&mut sql);
        self.ask_totals(&links, &sql).await
    }

    async fn ask_totals(&self, links: &[Counted], sql: &Sql) -> Result<Answer<Totals>, StatisticsError> {
        if links.is_empty() {
            return Ok(Answer::default());
        }
        let rows = self.reader()?.ask::<(String, bool, i64, i64)>(sql).await?;
        Ok(rows.map(|rows| {
            let mut totals = Totals::new();
            for (link, bot, n, first) in rows.iter() {
                let total = totals.entry(link.clone()).or_default();
                total.add(*bot, *n);
                total.first = total.first.min(*first);
            }
            totals
        }))
    }

    /// Clicks before links began to count, in the hour in which they did.
    async fn before(
        &self,
        links: Arc<[Counted]>,
    ) -> Result<Answer<HashMap<String, Vec<(bool, i64)>>>, StatisticsError> {
        if links.is_empty() {
            return Ok(Answer::default());
        }
        let mut sql = Sql::default();
        of(links).before(&mut sql);
        let rows = self.reader()?.ask::<(String, bool, i64)>(&sql).await?;
        Ok(rows.map(|rows| {
            let mut before: HashMap<String, Vec<(bool, i64)>> = HashMap::new();
            for (link, bot, n) in rows.iter() {
                before.entry(link.clone()).or_default().push((*bot, *n));
            }
            before
        }))
    }

    /// The same from the rows by hour.
    async fn by_hours(&self, links: Arc<[Counted]>) -> Result<Answer<LinkCounts>, StatisticsError> {
        if links.is_empty() {
            return Ok(Answer { value: LinkCounts::new(), stale_since: None });
        }
        let mut sql = Sql::default();
        sql.push("SELECT toString(domain), code, bot, sum(n) FROM (");
        of(links).counts(&mut sql, By::Link);
        sql.push(") GROUP BY domain, code, bot");
        let rows = self.reader()?.ask::<(String, String, bool, i64)>(&sql).await?;
        Ok(rows.map(|rows| {
            let mut counts = LinkCounts::new();
            for (domain, code, bot, n) in rows.iter() {
                let counts = counts.entry((domain.clone(), code.clone())).or_default();
                let n = u64::try_from(*n).unwrap_or(0);
                *(if *bot { &mut counts.bots } else { &mut counts.non_bots }) += n;
            }
            counts
        }))
    }
}

/// All visits of links.
fn of(links: Arc<[Counted]>) -> Visits {
    Visits { scope: Scope::Links(links), span: Span::default(), exclude_bots: false }
}
