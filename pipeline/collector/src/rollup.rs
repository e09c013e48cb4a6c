//! Exact counts by minute, from all events of a range, before sampling. Keys are numbers, so counting an event costs one
//! look-up. Rows come out in the order in which their keys were first seen, which is that of the log.

use rustc_hash::FxHashMap;
use warehouse::{Column, CountsColumn, SymbolColumn};
use wide_event::{Cache, Event, Outcome};

use crate::histogram::Histogram;
use crate::symbols::{EMPTY, Symbols};

/// Series that a range may have before new ones are counted under `other`. A healthy service has some hundred; what has
/// more is a label with too many values, which would make the table as large as the events.
const SERIES_MAX: usize = 10_000;

/// What a label is called that would have been one too many.
const OTHER: &str = "other";

/// What tells series apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    minute: u32,
    pub(crate) service: u32,
    instance: u32,
    pub(crate) version: u32,
    method: u32,
    pub(crate) route: u32,
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
    cache: Cache,
    synthetic: bool,
}

#[derive(Debug, Default)]
struct Sums {
    requests: u64,
    duration_us: u64,
    latency: Histogram,
}

/// The counts of a range.
#[derive(Debug)]
pub(crate) struct Rollup {
    pub(crate) symbols: Symbols,
    numbers: FxHashMap<Key, u32>,
    series: Vec<(Key, Sums)>,
    /// Key of the event before, and its series: neighbours are alike.
    last: (Key, u32),
    /// Events that were counted under `other`.
    pub(crate) collapsed: u64,
}

impl Default for Rollup {
    fn default() -> Self {
        let nothing = Key {
            minute: 0,
            service: EMPTY,
            instance: EMPTY,
            version: EMPTY,
            method: EMPTY,
            route: EMPTY,
            status: 0,
            outcome: Outcome::Ok,
            cache: Cache::None,
            synthetic: false,
        };
        Self {
            symbols: Symbols::default(),
            numbers: FxHashMap::default(),
            series: Vec::new(),
            // Status 0 is in no event, so no event has this key.
            last: (nothing, u32::MAX),
            collapsed: 0,
        }
    }
}

impl Rollup {
    /// Counts an event. Returns its series, a small number; each series is as in the event, unless it was one too many.
    pub(crate) fn add(&mut self, event: &Event<'_>) -> u32 {
        let key = self.key(event);
        let number = if key == self.last.0 { self.last.1 } else { self.number(key) };
        self.last = (key, number);
        let sums = &mut self.series[number as usize].1;
        sums.requests += 1;
        sums.duration_us = sums.duration_us.saturating_add(event.duration_us);
        sums.latency.add(event.duration_us);
        number
    }

    /// What tells a series apart.
    pub(crate) fn series(&self, number: u32) -> &Key {
        &self.series[number as usize].0
    }

    fn key(&mut self, event: &Event<'_>) -> Key {
        let (symbols, last) = (&mut self.symbols, &self.last.0);
        Key {
            minute: seconds(event.ts.seconds()) / 60 * 60,
            service: symbols.number_like(last.service, event.service.as_str()),
            instance: symbols.number_like(last.instance, event.instance.as_str()),
            version: symbols.number_like(last.version, event.version.as_str()),
            method: symbols.number_like(last.method, event.method.as_str()),
            route: symbols.number_like(last.route, event.route.as_str()),
            status: event.status,
            outcome: event.outcome,
            cache: event.cache,
            synthetic: event.synthetic,
        }
    }

    fn number(&mut self, key: Key) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let mut stored = key;
        if self.series.len() >= SERIES_MAX {
            self.collapsed += 1;
            let other = self.symbols.number(OTHER);
            stored = Key { instance: other, version: other, method: other, route: other, ..key };
            if let Some(number) = self.numbers.get(&stored) {
                return *number;
            }
        }
        // A range has at most some hundred thousand events.
        #[allow(clippy::cast_possible_truncation)]
        let number = self.series.len() as u32;
        self.series.push((stored, Sums::default()));
        self.numbers.insert(stored, number);
        number
    }

    /// The rows of `requests_by_minute`.
    pub(crate) fn columns(&self) -> Vec<(&'static str, Column)> {
        let keys = || self.series.iter().map(|(key, _)| key);
        let sums = || self.series.iter().map(|(_, sums)| sums);
        let named = |number: fn(&Key) -> u32| symbols(keys().map(|key| self.symbols.name(number(key))));
        let mut latency = CountsColumn::default();
        sums().for_each(|sums| latency.push(sums.latency.counts()));
        vec![
            ("minute", Column::Seconds(keys().map(|key| key.minute).collect())),
            ("service", named(|key| key.service)),
            ("instance", named(|key| key.instance)),
            ("version", named(|key| key.version)),
            ("method", named(|key| key.method)),
            ("route", named(|key| key.route)),
            ("status", Column::U16(keys().map(|key| key.status).collect())),
            ("outcome", symbols(keys().map(|key| key.outcome.as_str()))),
            ("cache", symbols(keys().map(|key| key.cache.as_str()))),
            ("synthetic", Column::Flag(keys().map(|key| key.synthetic).collect())),
            ("requests", Column::U64(sums().map(|sums| sums.requests).collect())),
            ("duration_us_sum", Column::U64(sums().map(|sums| sums.duration_us).collect())),
            ("latency_us", Column::Counts(latency)),
        ]
    }
}

/// A column of symbols.
pub(crate) fn symbols<'a>(names: impl Iterator<Item = &'a str>) -> Column {
    let mut column = SymbolColumn::default();
    names.for_each(|name| column.push(name));
    Column::Symbol(column)
}

/// Seconds as ClickHouse's `DateTime` holds them, until 2106.
pub(crate) fn seconds(seconds: i64) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wide_event::{Text, Timestamp};

    fn event(route: &str, second: i64) -> Event<'_> {
        Event {
            ts: Timestamp(second * 1_000_000),
            route: Text::new(route),
            status: 200,
            duration_us: 100,
            ..Event::default()
        }
    }

    #[test]
    fn minutes_and_labels_tell_series_apart() {
        let mut rollup = Rollup::default();
        let numbers = [("/a", 0), ("/a", 59), ("/a", 60), ("/b", 0), ("/a", 1)]
            .map(|(route, second)| rollup.add(&event(route, second)));
        assert_eq!(numbers, [0, 0, 1, 2, 0]);
        let requests = rollup.columns().into_iter().find(|(name, _)| *name == "requests");
        assert_eq!(requests, Some(("requests", Column::U64(vec![3, 1, 1]))));
    }

    #[test]
    fn too_many_series_become_other_and_no_event_is_lost() {
        let mut rollup = Rollup::default();
        let routes: Vec<_> = (0..SERIES_MAX + 50).map(|number| format!("/{number}")).collect();
        for route in routes.iter().chain(&routes) {
            rollup.add(&event(route, 0));
        }
        assert_eq!((rollup.series.len(), rollup.collapsed), (SERIES_MAX + 1, 100));
        let last = rollup.series(u32::try_from(SERIES_MAX).unwrap());
        assert_eq!(rollup.symbols.name(last.route), OTHER);
        let requests: u64 = rollup.series.iter().map(|(_, sums)| sums.requests).sum();
        assert_eq!(requests, 2 * routes.len() as u64);
    }
}
