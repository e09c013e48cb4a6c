//! Visits by day and by what they came from, of each link and of all together: a visit counts once under each dimension.
//! Values are numbers, so counting one costs a look-up in a map of numbers for each dimension.
//!
//! Hosts of referrers are what clients say they are. So that one who says another at each visit can't make the tables as
//! large as the visits, a range has a limit of values: the most frequent stay, the rest is counted together.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;
use warehouse::Column;
use wide_event::Event;

use super::{Columns, Group, Names};
use crate::rollup::symbols;
use crate::symbols::{EMPTY, Symbols};

/// Values of a dimension that a range may have. Visits of a second come from some dozen hosts, those of a large service
/// from some hundred; a thousand rows a range and dimension are less than what the range's other tables get.
const VALUES_MAX: usize = 1000;

/// What the values are called together that would have been too many. No host is called so: a browser sends none with
/// brackets.
const OTHER: &str = "(other)";

pub(super) const DIMENSIONS: [&str; 5] = ["country", "device", "browser", "os", "referrer_host"];

/// Numbers of an event's values.
pub(super) type Values = [u32; DIMENSIONS.len()];

/// Counts of a range by day.
#[derive(Debug)]
pub(super) struct Days {
    is_by_link: bool,
    numbers: FxHashMap<(u16, Group), u32>,
    groups: Vec<(u16, Group)>,
    dimensions: [Dimension; DIMENSIONS.len()],
}

#[derive(Debug, Default)]
struct Dimension {
    values: Symbols,
    /// Value of the event before: neighbours are often alike.
    last: u32,
    counts: Counts,
}

/// Counts by group and value, in the order in which they were first seen.
#[derive(Debug, Default)]
struct Counts {
    numbers: FxHashMap<u64, u32>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    group: u32,
    value: u32,
    visits: u64,
}

impl Counts {
    fn add(&mut self, group: u32, value: u32, visits: u64) {
        let number = *self.numbers.entry(u64::from(group) << 32 | u64::from(value)).or_insert_with(|| {
            self.rows.push(Row { group, value, visits: 0 });
            // A range has at most some hundred thousand events.
            #[allow(clippy::cast_possible_truncation)]
            let number = (self.rows.len() - 1) as u32;
            number
        });
        self.rows[number as usize].visits += visits;
    }
}

impl Days {
    /// `is_by_link`: whether links are counted each, not only all together.
    pub(super) fn new(is_by_link: bool) -> Self {
        let (numbers, groups, dimensions) = Default::default();
        Self { is_by_link, numbers, groups, dimensions }
    }

    /// The number of a group's day.
    pub(super) fn group(&mut self, second: u32, group: Group) -> u32 {
        let code = if self.is_by_link { group.code } else { EMPTY };
        // In 2106, when seconds end, it is day 49,710.
        let day = u16::try_from(second / 86_400).unwrap_or(u16::MAX);
        number(&mut self.numbers, &mut self.groups, (day, Group { code, ..group }))
    }

    /// The numbers of an event's values.
    pub(super) fn values(&mut self, event: &Event<'_>) -> Values {
        let texts = [
            event.country.as_str(),
            event.device.as_str(),
            event.browser.as_str(),
            event.os.as_str(),
            event.referrer_host.as_str(),
        ];
        let mut values = [EMPTY; DIMENSIONS.len()];
        for ((dimension, text), value) in self.dimensions.iter_mut().zip(texts).zip(&mut values) {
            dimension.last = dimension.values.number_like(dimension.last, text);
            *value = dimension.last;
        }
        values
    }

    /// Counts a visit of a group's day.
    pub(super) fn add(&mut self, group: u32, values: Values) {
        for (dimension, value) in self.dimensions.iter_mut().zip(values) {
            dimension.counts.add(group, value, 1);
        }
    }

    /// A column of values by their numbers.
    pub(super) fn column(&self, dimension: usize, values: Vec<u32>) -> Column {
        self.dimensions[dimension].values.column(values)
    }

    /// Counts together what are too many values. Returns how many visits that concerns.
    pub(super) fn fold(&mut self) -> u64 {
        self.dimensions.iter_mut().map(Dimension::fold).sum()
    }

    /// The rows of `clicks_by_day`.
    pub(super) fn clicks(&self, names: &Names) -> Columns {
        let rows = self.click_rows();
        let groups = || rows.iter().map(|(_, row)| self.groups[row.group as usize].1);
        let mut columns = self.columns(&rows, &self.groups, names, "clicks");
        columns.push(("code", names.codes(groups())));
        columns
    }

    /// The rows of `clicks_by_link`: each hour of a link in its year and in its day, and what days say besides, if they are
    /// `by_link`.
    pub(super) fn links(&self, hours: &[(u32, Group, u64)], by_link: bool, names: &Names) -> Columns {
        let rows = if by_link { self.click_rows() } else { Vec::new() };
        let (mut dimensions, mut values, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        let (mut first, mut clicks) = (Vec::new(), Vec::new());
        let (pool, pooled) = self.pool();
        for dimension in ["all", "day"] {
            for (hour, group, visits) in hours {
                dimensions.push(dimension);
                values.push(EMPTY);
                groups.push(*group);
                first.push(*hour);
                clicks.push(*visits);
            }
        }
        for (of, row) in rows {
            let (day, group) = self.groups[row.group as usize];
            dimensions.push(DIMENSIONS[of]);
            values.push(pooled[of][row.value as usize]);
            groups.push(group);
            first.push(u32::from(day) * 86_400);
            clicks.push(row.visits);
        }
        vec![
            ("first", Column::Seconds(first)),
            ("domain", names.domains(groups.iter().copied())),
            ("code", names.codes(groups.iter().copied())),
            ("dimension", symbols(dimensions.into_iter())),
            ("value", pool.column(values)),
            ("bot", Column::Flag(groups.iter().map(|group| group.bot).collect())),
            ("clicks", Column::U64(clicks)),
        ]
    }

    /// Counts of links with the number of their dimension.
    fn click_rows(&self) -> Vec<(usize, Row)> {
        let is_click = |row: &&Row| self.groups[row.group as usize].1.is_click();
        let counts = self.dimensions.iter().map(|dimension| dimension.counts.rows.iter().filter(is_click));
        (0..).zip(counts).flat_map(|(of, rows)| rows.map(move |row| (of, *row))).collect()
    }

    /// All values have one dictionary in a column: each is looked up once and not once a row. With the number there of
    /// each dimension's values.
    fn pool(&self) -> (Symbols, [Vec<u32>; DIMENSIONS.len()]) {
        let mut pool = Symbols::default();
        let of = |it: &Dimension| it.values.names().map(|name| pool.number(name)).collect::<Vec<_>>();
        let pooled = self.dimensions.each_ref().map(of);
        (pool, pooled)
    }

    /// The rows of `visits_by_day`.
    pub(super) fn visits(&self, names: &Names) -> Columns {
        let (mut numbers, mut groups) = (FxHashMap::default(), Vec::new());
        let of_all: Vec<u32> = self
            .groups
            .iter()
            .map(|(day, group)| number(&mut numbers, &mut groups, (*day, Group { code: EMPTY, ..*group })))
            .collect();
        let mut rows = Vec::new();
        for (of, dimension) in (0..).zip(&self.dimensions) {
            let mut counts = Counts::default();
            for row in &dimension.counts.rows {
                counts.add(of_all[row.group as usize], row.value, row.visits);
            }
            rows.extend(counts.rows.into_iter().map(|row| (of, row)));
        }
        let kinds = rows.iter().map(|(_, row)| groups[row.group as usize].1.kind());
        let kinds = symbols(kinds);
        let mut columns = self.columns(&rows, &groups, names, "visits");
        columns.push(("kind", kinds));
        columns
    }

    /// What both tables have, of rows with the number of their dimension.
    fn columns(
        &self,
        rows: &[(usize, Row)],
        groups: &[(u16, Group)],
        names: &Names,
        count: &'static str,
    ) -> Columns {
        let group = |row: &Row| groups[row.group as usize];
        let (pool, pooled) = self.pool();
        let values = rows.iter().map(|(of, row)| pooled[*of][row.value as usize]).collect();
        vec![
            ("day", Column::Day(rows.iter().map(|(_, row)| group(row).0).collect())),
            ("domain", names.domains(rows.iter().map(|(_, row)| group(row).1))),
            ("dimension", symbols(rows.iter().map(|(of, _)| DIMENSIONS[*of]))),
            ("value", pool.column(values)),
            ("bot", Column::Flag(rows.iter().map(|(_, row)| group(row).1.bot).collect())),
            (count, Column::U64(rows.iter().map(|(_, row)| row.visits).collect())),
        ]
    }
}

impl Dimension {
    fn fold(&mut self) -> u64 {
        let values = self.values.names().count();
        if values <= VALUES_MAX {
            return 0;
        }
        let mut visits = vec![0u64; values];
        for row in &self.counts.rows {
            visits[row.value as usize] += row.visits;
        }
        // A stable sort: of equally frequent values the first ones stay, whoever builds the range.
        let mut ranked: Vec<usize> = (0..values).collect();
        ranked.sort_by_key(|value| Reverse(visits[*value]));
        let other = self.values.number(OTHER);
        let rest = &ranked[VALUES_MAX..];
        let mut is_rest = vec![false; values];
        rest.iter().for_each(|value| is_rest[*value] = true);
        let mut counts = Counts::default();
        for Row { group, value, visits } in self.counts.rows.drain(..) {
            counts.add(group, if is_rest[value as usize] { other } else { value }, visits);
        }
        self.counts = counts;
        rest.iter().map(|value| visits[*value]).sum()
    }
}

/// The number of a key: its place among those seen so far.
fn number(
    numbers: &mut FxHashMap<(u16, Group), u32>,
    groups: &mut Vec<(u16, Group)>,
    key: (u16, Group),
) -> u32 {
    *numbers.entry(key).or_insert_with(|| {
        groups.push(key);
        // A range has at most some hundred thousand events.
        #[allow(clippy::cast_possible_truncation)]
        let number = (groups.len() - 1) as u32;
        number
    })
}
