//! Clicks, from all events of a range, before sampling: a narrow row each where that is wanted, and exact counts with
//! visitors by hour in any case. What a click is, the producer has decided.

use rustc_hash::FxHashMap;
use warehouse::{Column, ListColumn, SymbolColumn, TextColumn};
use wide_event::Event;

use crate::rollup::seconds;
use crate::symbols::Symbols;

/// The clicks of a range.
#[derive(Debug, Default)]
pub(crate) struct Clicks {
    pub(crate) total: u64,
    rows: Option<Rows>,
    codes: Symbols,
    numbers: FxHashMap<(u32, u32, bool), u32>,
    hours: Vec<Hour>,
    /// Visitors with the number of their hour, once a click.
    visitors: Vec<(u32, u64)>,
}

#[derive(Debug)]
struct Hour {
    hour: u32,
    code: u32,
    bot: bool,
    clicks: u64,
}

#[derive(Debug, Default)]
struct Rows {
    ts: Vec<u32>,
    code: TextColumn,
    link_version: Vec<u32>,
    visitor: Vec<u64>,
    country: SymbolColumn,
    device: SymbolColumn,
    browser: SymbolColumn,
    os: SymbolColumn,
    referrer_host: SymbolColumn,
    bot: Vec<bool>,
    bot_reason: SymbolColumn,
}

impl Clicks {
    /// `rows`: whether each click gets a row.
    pub(crate) fn new(rows: bool) -> Self {
        Self { rows: rows.then(Rows::default), ..Self::default() }
    }

    /// Counts an event that is a click.
    pub(crate) fn add(&mut self, event: &Event<'_>) {
        self.total += 1;
        let second = seconds(event.ts.seconds());
        let key = (second / 3600 * 3600, self.codes.number(event.code.as_str()), event.bot);
        let number = *self.numbers.entry(key).or_insert_with(|| {
            self.hours.push(Hour { hour: key.0, code: key.1, bot: key.2, clicks: 0 });
            // A range has at most some hundred thousand events.
            #[allow(clippy::cast_possible_truncation)]
            let number = (self.hours.len() - 1) as u32;
            number
        });
        self.hours[number as usize].clicks += 1;
        if event.visitor.0 != 0 {
            self.visitors.push((number, event.visitor.0));
        }
        let Some(rows) = &mut self.rows else { return };
        rows.ts.push(second);
        rows.code.push(event.code.as_str());
        rows.link_version.push(event.link_version);
        rows.visitor.push(event.visitor.0);
        rows.country.push(event.country.as_str());
        rows.device.push(event.device.as_str());
        rows.browser.push(event.browser.as_str());
        rows.os.push(event.os.as_str());
        rows.referrer_host.push(event.referrer_host.as_str());
        rows.bot.push(event.bot);
        rows.bot_reason.push(event.bot_reason.as_str());
    }

    /// How many rows `clicks` gets.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.as_ref().map_or(0, |rows| rows.ts.len() as u64)
    }

    /// The rows of `clicks_by_hour` and of `clicks`.
    pub(crate) fn into_columns(mut self) -> [Vec<(&'static str, Column)>; 2] {
        self.visitors.sort_unstable();
        self.visitors.dedup();
        let mut lists = ListColumn::default();
        let mut rest = self.visitors.as_slice();
        for number in 0u32.. {
            if number as usize == self.hours.len() {
                break;
            }
            let (own, others) = rest.split_at(rest.partition_point(|(of, _)| *of == number));
            lists.push(own.iter().map(|(_, visitor)| *visitor));
            rest = others;
        }
        let mut codes = TextColumn::default();
        self.hours.iter().for_each(|hour| codes.push(self.codes.name(hour.code)));
        let hours = vec![
            ("hour", Column::Seconds(self.hours.iter().map(|hour| hour.hour).collect())),
            ("code", Column::Text(codes)),
            ("bot", Column::Flag(self.hours.iter().map(|hour| hour.bot).collect())),
            ("clicks", Column::U64(self.hours.iter().map(|hour| hour.clicks).collect())),
            ("visitor_list", Column::List(lists)),
        ];
        [hours, self.rows.map_or_else(Vec::new, Rows::into_columns)]
    }
}

impl Rows {
    fn into_columns(self) -> Vec<(&'static str, Column)> {
        vec![
            ("ts", Column::Seconds(self.ts)),
            ("code", Column::Text(self.code)),
            ("link_version", Column::U32(self.link_version)),
            ("visitor", Column::U64(self.visitor)),
            ("country", Column::Symbol(self.country)),
            ("device", Column::Symbol(self.device)),
            ("browser", Column::Symbol(self.browser)),
            ("os", Column::Symbol(self.os)),
            ("referrer_host", Column::Symbol(self.referrer_host)),
            ("bot", Column::Flag(self.bot)),
            ("bot_reason", Column::Symbol(self.bot_reason)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wide_event::{Text, Timestamp, Visitor};

    #[test]
    fn hours_codes_and_bots_are_told_apart_and_visitors_counted_once() {
        let mut clicks = Clicks::new(true);
        for (hour, code, bot, visitor) in [
            (1, "a", false, 7),
            (1, "a", false, 7),
            (1, "b", false, 7),
            (1, "a", false, 3),
            (2, "a", false, 7),
            (1, "a", true, 0),
        ] {
            clicks.add(&Event {
                ts: Timestamp(hour * 3_600_000_000 + 5),
                code: Text::new(code),
                bot,
                visitor: Visitor(visitor),
                ..Event::default()
            });
        }
        assert_eq!((clicks.total, clicks.rows()), (6, 6));
        let [hours, rows] = clicks.into_columns();
        let mut lists = ListColumn::default();
        for list in [vec![3, 7], vec![7], vec![7], vec![]] {
            lists.push(list);
        }
        assert_eq!(hours[3].1, Column::U64(vec![3, 1, 1, 1]));
        assert_eq!(hours[4].1, Column::List(lists));
        assert_eq!(rows.len(), 11);
    }

    #[test]
    fn rows_can_be_switched_off() {
        let mut clicks = Clicks::new(false);
        clicks.add(&Event { code: Text::new("a"), ..Event::default() });
        assert_eq!((clicks.total, clicks.rows()), (1, 0));
        let [hours, rows] = clicks.into_columns();
        assert_eq!((hours[3].1.clone(), rows.len()), (Column::U64(vec![1]), 0));
    }
}
