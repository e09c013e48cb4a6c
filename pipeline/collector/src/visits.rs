//! Visits, from all events of a range, before sampling: clicks, and orphan visits, which reached no link. What is one, the
//! producer has decided. Each is counted by hour and by day, and gets a narrow row where that is wanted; how ranges decide
//! that stands in their intent.

mod days;
mod hours;
mod rows;

use warehouse::Column;
use wide_event::{Event, Orphan};

use crate::intent::Intent;
use crate::rollup::seconds;
use crate::symbols::{EMPTY, Symbols};
use days::Days;
use hours::Hours;
use rows::Rows;

/// A table's columns.
type Columns = Vec<(&'static str, Column)>;

/// The visits of a range.
#[derive(Debug)]
pub(crate) struct Visits {
    names: Names,
    hours: Hours,
    days: Days,
    rows: Option<Rows>,
    /// Whether anything but clicks by hour is counted.
    is_all: bool,
    is_by_link: bool,
    is_side_by_side: bool,
    pub(crate) totals: Totals,
}

/// What the visits add up to, as the ledger says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) clicks: u64,
    pub(crate) click_rows: u64,
    pub(crate) visits: u64,
    pub(crate) orphan_rows: u64,
    pub(crate) day_clicks: u64,
    pub(crate) link_clicks: u64,
}

/// The strings that groups are made of.
#[derive(Debug, Default)]
struct Names {
    domains: Symbols,
    last_domain: u32,
    codes: Symbols,
}

/// What visits have in common that are counted together. Orphan visits have no code: anybody can think of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Group {
    /// None for a click.
    kind: Orphan,
    bot: bool,
    domain: u32,
    code: u32,
}

impl Group {
    fn kind(&self) -> &'static str {
        if self.is_click() { "click" } else { self.kind.as_str() }
    }

    fn is_click(&self) -> bool {
        self.kind == Orphan::None
    }
}

impl Visits {
    pub(crate) fn new(intent: &Intent) -> Self {
        Self {
            names: Names::default(),
            hours: Hours::default(),
            days: Days::new(intent.link_days),
            rows: intent.clicks.then(Rows::default),
            is_all: intent.visits,
            is_by_link: intent.visits && intent.link_days,
            is_side_by_side: intent.links,
            totals: Totals::default(),
        }
    }

    /// Counts what is a visit.
    pub(crate) fn add(&mut self, event: &Event<'_>) {
        if event.click {
            self.totals.clicks += 1;
            self.totals.click_rows += u64::from(self.rows.is_some());
            self.totals.day_clicks += u64::from(self.is_by_link);
            self.totals.link_clicks += u64::from(self.is_side_by_side);
            self.count(event, Orphan::None);
        }
        if self.is_all && event.orphan != Orphan::None {
            self.totals.orphan_rows += u64::from(self.rows.is_some());
            self.count(event, event.orphan);
        }
    }

    fn count(&mut self, event: &Event<'_>, kind: Orphan) {
        let Self { names, hours, days, .. } = self;
        let second = seconds(event.ts.seconds());
        names.last_domain = names.domains.number_like(names.last_domain, event.domain.as_str());
        let code = if kind == Orphan::None { names.codes.number(event.code.as_str()) } else { EMPTY };
        let group = Group { kind, bot: event.bot, domain: names.last_domain, code };
        let day = hours.add(second, group, event.visitor.0, || days.group(second, group));
        let values = days.values(event);
        if self.is_all {
            self.totals.visits += 1;
            days.add(day, values);
        }
        if let Some(rows) = &mut self.rows {
            rows.push(event, second, group, values);
        }
    }

    /// The tables with their rows, and how many visits are counted under `(other)`.
    pub(crate) fn into_tables(self) -> (Vec<(&'static str, Columns)>, u64) {
        let Self { names, hours, mut days, rows, is_all, is_by_link, is_side_by_side, .. } = self;
        let mut tables = Vec::new();
        if let Some(rows) = rows {
            let [clicks, orphans] = rows.into_columns(&names, &days);
            tables.extend([("clicks", clicks), ("orphan_visits", orphans)]);
        }
        let mut folded = 0;
        if is_all {
            folded = days.fold();
        }
        if is_side_by_side {
            tables.push(("clicks_by_link", days.links(&hours.clicks(), is_by_link, &names)));
        }
        let [clicks, visits] = hours.into_columns(&names);
        tables.push(("clicks_by_hour", clicks));
        if is_all {
            tables.extend([("visits_by_hour", visits), ("visits_by_day", days.visits(&names))]);
        }
        if is_by_link {
            tables.push(("clicks_by_day", days.clicks(&names)));
        }
        (tables, folded)
    }
}

impl Names {
    /// A column of domains.
    fn domains(&self, groups: impl Iterator<Item = Group>) -> Column {
        self.domains.column(groups.map(|group| group.domain).collect())
    }

    /// A column of codes.
    fn codes(&self, groups: impl Iterator<Item = Group>) -> Column {
        let mut column = warehouse::TextColumn::default();
        groups.for_each(|group| column.push(self.codes.name(group.code)));
        Column::Text(column)
    }
}

#[cfg(test)]
mod tests;
