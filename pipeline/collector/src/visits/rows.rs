//! A narrow row for each visit: of clicks with their code, of orphan visits with the path that was asked for.

use warehouse::{Column, SymbolColumn, TextColumn};
use wide_event::Event;

use super::days::{DIMENSIONS, Days, Values};
use super::{Columns, Group, Names};
use crate::rollup::symbols;

/// The single visits of a range.
#[derive(Debug, Default)]
pub(super) struct Rows {
    clicks: Common,
    code: TextColumn,
    link_version: Vec<u32>,
    rule: Vec<u8>,
    orphans: Common,
    path: TextColumn,
}

/// What both tables have.
#[derive(Debug, Default)]
struct Common {
    ts: Vec<u32>,
    group: Vec<Group>,
    visitor: Vec<u64>,
    values: [Vec<u32>; DIMENSIONS.len()],
    bot_reason: SymbolColumn,
}

impl Rows {
    /// Adds a visit.
    pub(super) fn push(&mut self, event: &Event<'_>, second: u32, group: Group, values: Values) {
        let common = if group.is_click() {
            self.code.push(event.code.as_str());
            self.link_version.push(event.link_version);
            self.rule.push(event.rule);
            &mut self.clicks
        } else {
            self.path.push(event.orphan_path.as_str());
            &mut self.orphans
        };
        common.ts.push(second);
        common.group.push(group);
        common.visitor.push(event.visitor.0);
        common.values.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        common.bot_reason.push(event.bot_reason.as_str());
    }

    /// The rows of `clicks` and `orphan_visits`.
    pub(super) fn into_columns(self, names: &Names, days: &Days) -> [Columns; 2] {
        let kinds = symbols(self.orphans.group.iter().map(Group::kind));
        let mut clicks = self.clicks.into_columns(names, days);
        clicks.push(("code", Column::Text(self.code)));
        clicks.push(("link_version", Column::U32(self.link_version)));
        clicks.push(("rule", Column::U8(self.rule)));
        let mut orphans = self.orphans.into_columns(names, days);
        orphans.push(("kind", kinds));
        orphans.push(("path", Column::Text(self.path)));
        [clicks, orphans]
    }
}

impl Common {
    fn into_columns(self, names: &Names, days: &Days) -> Columns {
        let mut columns = vec![
            ("ts", Column::Seconds(self.ts)),
            ("domain", names.domains(self.group.iter().copied())),
            ("visitor", Column::U64(self.visitor)),
            ("bot", Column::Flag(self.group.iter().map(|group| group.bot).collect())),
            ("bot_reason", Column::Symbol(self.bot_reason)),
        ];
        let values = (0..).zip(DIMENSIONS).zip(self.values);
        columns.extend(values.map(|((number, name), values)| (name, days.column(number, values))));
        columns
    }
}
