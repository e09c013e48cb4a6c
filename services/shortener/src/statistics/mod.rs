//! Counts and visits, exact, out of the click tables in ClickHouse. Redirects never come here.
//!
//! Without ClickHouse there are no statistics ([`StatisticsError::Absent`]), which is something else than zero. While it
//! is away, the last known answer is given and marked ([`Answer::stale_since`]).

mod after;
mod by_link;
mod complete;
mod dimensions;
mod page;
mod reader;
mod scope;
mod series;
mod sql;
mod totals;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use emitter::Emitter;
use warehouse::Warehouse;

use self::by_link::Kept;
use self::complete::Completeness;
use self::reader::Reader;
use self::scope::By;
use self::sql::Sql;
use crate::config::StatisticsConfig;
use crate::link::UnixSeconds;
use crate::metrics::Metrics;

pub use after::Given;
pub use dimensions::{Dimension, Tally};
pub use page::{Begin, SingleVisit, VisitsPage, VisitsQuery};
pub use reader::{Answer, StatisticsError};
pub use scope::{OrphanKind, Scope, Span, Visits};
pub use series::{ALL_VISITORS_DAYS_MAX, Interval, Point, SERIES_POINTS_MAX, Series, VISITORS_DAYS_MAX};

/// Visits, told apart by whether a rule says that a bot made them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Made by people, as far as is known.
    pub non_bots: u64,
    /// Made by bots.
    pub bots: u64,
}

impl Counts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.non_bots + self.bots
    }

    /// Counts these, too.
    pub fn add(&mut self, more: Self) {
        self.non_bots += more.non_bots;
        self.bots += more.bots;
    }

    /// Sums rows that may be below zero one by one.
    fn sum(rows: impl Iterator<Item = (bool, i64)>) -> Self {
        let (mut non_bots, mut bots) = (0_i64, 0_i64);
        for (bot, n) in rows {
            *(if bot { &mut bots } else { &mut non_bots }) += n;
        }
        let positive = |n: i64| u64::try_from(n).unwrap_or(0);
        Self { non_bots: positive(non_bots), bots: positive(bots) }
    }
}

/// Counts of links by domain and code; what has none is not there.
pub type LinkCounts = HashMap<(String, String), Counts>;

/// Counts and visits. Clones share everything.
#[derive(Clone)]
pub struct Statistics {
    parts: Option<Arc<Parts>>,
}

struct Parts {
    reader: Reader,
    complete: Completeness,
    kept: Kept,
}

impl Statistics {
    /// Starts to follow what this process has counted, where there is a warehouse.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(config: &StatisticsConfig, warehouse: Option<Warehouse>, metrics: &Metrics) -> Self {
        let parts = warehouse.map(|warehouse| {
            let complete = Completeness::new(config.hold_back_s, config.silence_s);
            let reader = Reader::new(config, warehouse, metrics.clone());
            Arc::new(Parts { reader, complete, kept: Kept::default() })
        });
        if let Some(parts) = &parts {
            tokio::spawn(note_moments(Arc::downgrade(parts)));
        }
        Self { parts }
    }

    /// Whether there are any.
    pub fn is_there(&self) -> bool {
        self.parts.is_some()
    }

    /// The emitter of this process, without which nobody knows up to when counts are final.
    pub fn follow(&self, emitter: Emitter) {
        if let Some(parts) = &self.parts {
            parts.complete.follow(emitter);
        }
    }

    /// Up to when counts are final that are read after this call; the module `complete` says what is promised. None
    /// where it is not known.
    pub async fn complete_through(&self) -> Option<UnixSeconds> {
        let parts = self.parts.as_ref()?;
        parts.complete.through(&parts.reader).await
    }

    /// How many visits there are.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub async fn counts(&self, visits: &Visits) -> Result<Answer<Counts>, StatisticsError> {
        if visits.are_none() {
            return Ok(Answer::default());
        }
        if let Scope::Links(links) = &visits.scope
            && visits.span == Span::default()
        {
            let counts = self.of_links(links.clone()).await?;
            return Ok(counts.map(|counts| {
                let mut sum = Counts::default();
                counts.values().for_each(|counts| sum.add(*counts));
                if visits.exclude_bots { Counts { bots: 0, ..sum } } else { sum }
            }));
        }
        let mut sql = Sql::default();
        sql.push("SELECT bot, sum(n) FROM (");
        visits.counts(&mut sql, By::Nothing);
        sql.push(") GROUP BY bot");
        let rows = self.reader()?.ask::<(bool, i64)>(&sql).await?;
        Ok(rows.map(|rows| Counts::sum(rows.iter().copied())))
    }

    fn reader(&self) -> Result<&Reader, StatisticsError> {
        self.parts.as_ref().map(|parts| &parts.reader).ok_or(StatisticsError::Absent)
    }
}

/// Notes every second what has been counted, for as long as somebody asks.
async fn note_moments(parts: Weak<Parts>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        let Some(parts) = parts.upgrade() else { return };
        parts.complete.tick();
    }
}
