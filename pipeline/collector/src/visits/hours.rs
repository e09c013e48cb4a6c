//! Visits by hour: exact counts, and who the visitors were, of each link and of all together.

use rustc_hash::FxHashMap;
use warehouse::{Column, ListColumn};

use super::{Columns, Group, Names};
use crate::rollup::symbols;
use crate::symbols::EMPTY;

/// Counts of a range by hour.
#[derive(Debug, Default)]
pub(super) struct Hours {
    numbers: FxHashMap<(u32, Group), u32>,
    hours: Vec<Hour>,
    /// Visitors with the number of their hour, once a visit.
    visitors: Vec<(u32, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Hour {
    hour: u32,
    group: Group,
    visits: u64,
    /// Number of the group's day, so that it need not be looked up at each visit.
    day: u32,
}

impl Hours {
    /// Counts a visit. Returns the number of its group's day, which is asked for once an hour.
    pub(super) fn add(&mut self, second: u32, group: Group, visitor: u64, day: impl FnOnce() -> u32) -> u32 {
        let key = (second / 3600 * 3600, group);
        let number = *self.numbers.entry(key).or_insert_with(|| {
            self.hours.push(Hour { hour: key.0, group, visits: 0, day: day() });
            // A range has at most some hundred thousand events.
            #[allow(clippy::cast_possible_truncation)]
            let number = (self.hours.len() - 1) as u32;
            number
        });
        let hour = &mut self.hours[number as usize];
        hour.visits += 1;
        if visitor != 0 {
            self.visitors.push((number, visitor));
        }
        hour.day
    }

    /// Clicks of links: the hour, the link, how many.
    pub(super) fn clicks(&self) -> Vec<(u32, Group, u64)> {
        let clicks = self.hours.iter().filter(|hour| hour.group.is_click());
        clicks.map(|hour| (hour.hour, hour.group, hour.visits)).collect()
    }

    /// The rows of `clicks_by_hour` and `visits_by_hour`.
    pub(super) fn into_columns(mut self, names: &Names) -> [Columns; 2] {
        self.visitors.sort_unstable();
        self.visitors.dedup();
        let mut lists = ListColumn::default();
        let mut all = FxHashMap::default();
        let (mut sums, mut visitors): (Vec<Hour>, Vec<Vec<u64>>) = (Vec::new(), Vec::new());
        let mut rest = self.visitors.as_slice();
        for (number, hour) in (0u32..).zip(&self.hours) {
            let (own, others) = rest.split_at(rest.partition_point(|(of, _)| *of == number));
            rest = others;
            let own = own.iter().map(|(_, visitor)| *visitor);
            let group = Group { code: EMPTY, ..hour.group };
            let sum = *all.entry((hour.hour, group)).or_insert_with(|| {
                sums.push(Hour { visits: 0, group, ..*hour });
                visitors.push(Vec::new());
                sums.len() - 1
            });
            sums[sum].visits += hour.visits;
            visitors[sum].extend(own.clone());
            if hour.group.is_click() {
                lists.push(own);
            }
        }
        let mut of_all = ListColumn::default();
        for visitors in &mut visitors {
            visitors.sort_unstable();
            visitors.dedup();
            of_all.push(visitors.iter().copied());
        }
        let clicks: Vec<Hour> = self.hours.into_iter().filter(|hour| hour.group.is_click()).collect();
        let mut by_link = columns(&clicks, names, "clicks", lists);
        by_link.push(("code", names.codes(clicks.iter().map(|hour| hour.group))));
        let mut by_kind = columns(&sums, names, "visits", of_all);
        by_kind.push(("kind", symbols(sums.iter().map(|hour| hour.group.kind()))));
        [by_link, by_kind]
    }
}

/// What both tables have.
fn columns(hours: &[Hour], names: &Names, count: &'static str, visitors: ListColumn) -> Columns {
    vec![
        ("hour", Column::Seconds(hours.iter().map(|hour| hour.hour).collect())),
        ("domain", names.domains(hours.iter().map(|hour| hour.group))),
        ("bot", Column::Flag(hours.iter().map(|hour| hour.group.bot).collect())),
        (count, Column::U64(hours.iter().map(|hour| hour.visits).collect())),
        ("visitor_list", Column::List(visitors)),
    ]
}
