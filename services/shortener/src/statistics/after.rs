//! Single visits after a place in their list, which what comes in meanwhile does not move.
//!
//! Rollups only say how far back to read. Where a page ends, and whether it is the last, is said by the visits themselves:
//! both are stored beside each other, and single visits may be deleted, or not kept, where they are counted.

use super::page::{SingleVisit, VisitsPage, is_of_links_ever, locate, rows};
use super::reader::Reader;
use super::scope::{By, Grain};
use super::sql::Sql;
use super::{Answer, Span, Statistics, StatisticsError, Visits};
use crate::link::UnixSeconds;

/// The last second of ClickHouse's `DateTime`.
const END: UnixSeconds = u32::MAX as UnixSeconds;

/// How many times as many as are wanted are counted to know how far back to read, one after the other while too few of them
/// are there; at last everything is read.
const COUNTED: [Option<u32>; 4] = [Some(1), Some(16), Some(256), None];

/// A place in a list of visits, the newest first: after all that are newer than a second, and some of that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// In seconds since the Unix epoch.
    pub second: u32,
    /// Visits of that second that were given.
    pub of_it: u32,
}

/// How far back to read.
struct Reach {
    from: UnixSeconds,
    /// Whether there is more before that, as far as is counted.
    is_cut: bool,
}

impl Statistics {
    /// The visits after a place, or else the newest.
    pub(super) async fn after(
        &self,
        visits: &Visits,
        given: Option<Given>,
        limit: u32,
    ) -> Result<Answer<VisitsPage>, StatisticsError> {
        let reader = self.reader()?;
        let span_end = visits.span.to.unwrap_or(END);
        // What is outside of the span was not given of it.
        let given = given.filter(|given| UnixSeconds::from(given.second) < span_end);
        let end = given.map_or(span_end, |given| UnixSeconds::from(given.second) + 1).min(END);
        let skipped = given.map_or(0, |given| given.of_it.into());
        // One more says that there are more.
        let wanted = limit.saturating_add(1);
        let mut read = Answer::default();
        for counted in COUNTED {
            let reach = match counted {
                Some(times) => self.reach(reader, visits, given, wanted.saturating_mul(times)).await?,
                None => Reach { from: visits.span.from.unwrap_or(0), is_cut: false },
            };
            read = reader.ask::<SingleVisit>(&rows(visits, reach.from, end, skipped, wanted)).await?;
            // Else some are counted that are not there, and may never be; older ones are.
            if read.value.len() >= wanted as usize || !reach.is_cut {
                break;
            }
        }
        Ok(read.map(|rows| {
            let shown = rows.len().min(limit as usize);
            let next = if rows.len() > shown { Given::after(given, &rows[..shown]) } else { None };
            VisitsPage { rows, shown, total: None, next }
        }))
    }

    /// From when on so many visits are counted before the hour of a place. That hour itself is not: of what comes in
    /// meanwhile the rollup may have more than is there, or less.
    async fn reach(
        &self,
        reader: &Reader,
        visits: &Visits,
        given: Option<Given>,
        wanted: u32,
    ) -> Result<Reach, StatisticsError> {
        let hour = given.map(|given| Grain::Hour.floor(given.second.into()));
        let mut span = Span { to: hour.or(visits.span.to), ..visits.span };
        let mut is_cut = false;
        // Without any, there is nothing before that hour.
        let mut from = hour.unwrap_or(END);
        if is_of_links_ever(visits) {
            from = Grain::Day.floor(from);
            let counts = self.counts_of(visits, By::Hour).await?;
            let days = locate(reader, counts, Grain::Day, hour.map(|_| from), 0, wanted).await?;
            if let Some(days) = days.value.filter(|days| days.total > 0) {
                (from, is_cut) = (days.oldest.into(), days.total >= i64::from(wanted));
            }
            span.from = Some(from);
        }
        let mut counts = Sql::default();
        Visits { span, ..visits.clone() }.counts(&mut counts, By::Hour);
        let hours = locate(reader, counts, Grain::Hour, None, 0, wanted).await?;
        // Tables are filled beside each other: where the hours have fewer visits than the days, the days hold.
        Ok(match hours.value.filter(|hours| hours.total > 0) {
            Some(hours) if hours.total >= i64::from(wanted) => {
                Reach { from: hours.oldest.into(), is_cut: true }
            }
            Some(hours) => Reach { from: from.min(hours.oldest.into()), is_cut },
            None => Reach { from, is_cut },
        })
    }
}

impl Given {
    /// The place after these, which come after another.
    fn after(before: Option<Self>, visits: &[SingleVisit]) -> Option<Self> {
        let second = visits.last()?.ts;
        let new = visits.iter().rev().take_while(|visit| visit.ts == second).count();
        let known = before.filter(|before| before.second == second).map_or(0, |before| before.of_it);
        Some(Self { second, of_it: known.saturating_add(u32::try_from(new).unwrap_or(u32::MAX)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_how_much_of_its_second_was_given() {
        let after = |before, seconds: &[u32]| {
            let visit = |ts: &u32| SingleVisit { ts: *ts, ..SingleVisit::default() };
            let before = Option::map(before, |(second, of_it)| Given { second, of_it });
            Given::after(before, &seconds.iter().map(visit).collect::<Vec<_>>())
                .map(|given| (given.second, given.of_it))
        };
        assert_eq!(after(None, &[9, 8, 8]), Some((8, 2)));
        assert_eq!(after(None, &[9, 8, 7]), Some((7, 1)));
        assert_eq!(after(Some((8, 2)), &[8, 8, 8]), Some((8, 5)));
        assert_eq!(after(Some((8, 2)), &[8, 7, 7]), Some((7, 2)));
        assert_eq!(after(Some((8, 2)), &[7]), Some((7, 1)));
        assert_eq!(after(Some((8, 2)), &[]), None);
    }
}
