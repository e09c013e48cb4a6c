//! What visits came from: the most frequent countries, devices, browsers, operating systems and referrers.

use super::scope::By;
use super::sql::Sql;
use super::{Answer, Counts, Statistics, StatisticsError, Visits};

/// What a value is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// ISO 3166-1 alpha-2.
    Country,
    /// `desktop`, `mobile`, `appliance`.
    Device,
    /// Family of the browser.
    Browser,
    /// Family of the operating system.
    Os,
    /// Host of the page that led here.
    Referrer,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Country, Self::Device, Self::Browser, Self::Os, Self::Referrer];

    /// Its name in the tables.
    fn column(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Device => "device",
            Self::Browser => "browser",
            Self::Os => "os",
            Self::Referrer => "referrer_host",
        }
    }
}

/// A value and how often it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// What it is of.
    pub dimension: Dimension,
    /// The value; empty where it is not known.
    pub value: String,
    /// How often it came.
    pub counts: Counts,
}

impl Statistics {
    /// The `limit` most frequent values of each dimension, over whole days (UTC): a day in which the span begins or ends
    /// counts whole.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub async fn tallies(&self, visits: &Visits, limit: u32) -> Result<Answer<Vec<Tally>>, StatisticsError> {
        if visits.are_none() {
            return Ok(Answer::default());
        }
        let mut sql = Sql::default();
        sql.push("SELECT toString(dimension), toString(value), sumIf(n, NOT bot) AS people, sumIf(n, bot) AS robots FROM (");
        sql.append(self.counts_of(visits, By::Dimension).await?);
        sql.push(") GROUP BY dimension, value HAVING people + robots > 0 ORDER BY people + robots DESC, value LIMIT ");
        sql.number(i64::from(limit)).push(" BY dimension");
        let rows = self.reader()?.ask::<(String, String, i64, i64)>(&sql).await?;
        Ok(rows.map(|rows| {
            let tally = |(name, value, people, robots): &(String, String, i64, i64)| {
                let dimension = Dimension::ALL.into_iter().find(|dimension| dimension.column() == name)?;
                let counts = Counts::sum([(false, *people), (true, *robots)].into_iter());
                Some(Tally { dimension, value: value.clone(), counts })
            };
            rows.iter().filter_map(tally).collect()
        }))
    }
}
