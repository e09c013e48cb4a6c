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

/// A place in a list of visits, the newest first: after all that are newer than a second, and some of that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// In seconds since the Unix epoch.
    pub second: u32,
    /// Visits of that second that were given.
    pub of_it: u32,
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
        let begin = visits.span.from.unwrap_or(0);
        let counted = self.hour_with(reader, visits, given, wanted).await?;
        let from = counted.value.unwrap_or(begin);
        let mut found = reader.ask::<SingleVisit>(&rows(visits, from, end, skipped, wanted)).await?;
        if found.value.len() < wanted as usize && from > begin {
            // Some are counted that are not there, and may never be; older ones are.
            found = reader.ask::<SingleVisit>(&rows(visits, begin, end, skipped, wanted)).await?;
        }
        Ok(counted.and(found).map(|(_, rows)| {
            let shown = rows.len().min(limit as usize);
            let next = if rows.len() > shown { Given::after(given, &rows[..shown]) } else { None };
            VisitsPage { rows, shown, total: None, next }
        }))
    }

    /// The hour, or day, from which on so many visits are counted before the hour of a place. That hour itself is not: of what
    /// comes in meanwhile the rollup may have more than is there, or less. None where so many are not counted.
    async fn hour_with(
        &self,
        reader: &Reader,
        visits: &Visits,
        given: Option<Given>,
        wanted: u32,
    ) -> Result<Answer<Option<UnixSeconds>>, StatisticsError> {
        let hour = given.map(|given| Grain::Hour.floor(given.second.into()));
        let mut span = Span { to: hour.or(visits.span.to), ..visits.span };
        let mut day = Answer::default();
        if is_of_links_ever(visits) {
            let counts = self.counts_of(visits, By::Hour).await?;
            let before = hour.map(|hour| Grain::Day.floor(hour));
            let place = locate(reader, counts, Grain::Day, before, 0, wanted).await?;
            day = place.map(|place| {
                place.filter(|place| place.total >= i64::from(wanted)).map(|place| place.oldest.into())
            });
            if day.value.is_none() {
                return Ok(day);
            }
            span.from = day.value;
        }
        let mut counts = Sql::default();
        Visits { span, ..visits.clone() }.counts(&mut counts, By::Hour);
        let place = locate(reader, counts, Grain::Hour, None, 0, wanted).await?;
        Ok(day.and(place).map(|(day, place)| {
            place.filter(|place| place.total >= i64::from(wanted)).map(|place| place.oldest.into()).or(day)
        }))
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
