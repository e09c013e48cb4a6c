//! Which event numbers arrived, by boot of a producer, as runs: from all events of a range that can be read. What is
//! missing between runs was lost before the log; what is in two runs came twice. Numbers that came twice in one range
//! are in two runs as well, so the runs hold every event once.

use rustc_hash::FxHashMap;
use warehouse::Column;
use wide_event::Event;

use crate::rollup::symbols;
use crate::symbols::{EMPTY, Symbols};

/// The runs of a range.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    symbols: Symbols,
    numbers: FxHashMap<[u32; 3], usize>,
    boots: Vec<Boot>,
    last: usize,
}

#[derive(Debug)]
struct Boot {
    /// Service, instance, boot.
    names: [u32; 3],
    runs: Vec<(u64, u64)>,
}

impl Sequences {
    /// Notes the event's number.
    pub(crate) fn add(&mut self, event: &Event<'_>) {
        let guess = self.boots.get(self.last).map_or([EMPTY; 3], |boot| boot.names);
        let texts = [event.service.as_str(), event.instance.as_str(), event.boot_id.as_str()];
        let mut names = guess;
        for (name, text) in names.iter_mut().zip(texts) {
            *name = self.symbols.number_like(*name, text);
        }
        if names != guess || self.boots.is_empty() {
            self.last = *self.numbers.entry(names).or_insert_with(|| {
                self.boots.push(Boot { names, runs: Vec::new() });
                self.boots.len() - 1
            });
        }
        let runs = &mut self.boots[self.last].runs;
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(event.seq) => *last = event.seq,
            _ => runs.push((event.seq, event.seq)),
        }
    }

    /// The rows of `producer_sequences`, without origin.
    pub(crate) fn into_columns(mut self) -> Vec<(&'static str, Column)> {
        let (mut names, mut first, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for boot in &mut self.boots {
            for (from, to) in join(&mut boot.runs) {
                names.push(boot.names);
                first.push(from);
                last.push(to);
            }
        }
        let column = |part: usize| symbols(names.iter().map(|names| self.symbols.name(names[part])));
        vec![
            ("service", column(0)),
            ("instance", column(1)),
            ("boot_id", column(2)),
            ("first_seq", Column::U64(first)),
            ("last_seq", Column::U64(last)),
        ]
    }
}

/// Sorts the runs and joins those that follow on each other. Runs that overlap stay apart.
fn join(runs: &mut [(u64, u64)]) -> Vec<(u64, u64)> {
    runs.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(run.0) => *last = run.1,
            _ => joined.push(*run),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wide_event::Text;

    proptest! {
        #[test]
        fn runs_hold_every_number_as_often_as_it_came(numbers in prop::collection::vec((0..3u8, 1..60u64), 0..200)) {
            let mut sequences = Sequences::default();
            let names = ["a", "b", "c"];
            for (boot, seq) in &numbers {
                let event = Event { boot_id: Text::new(names[*boot as usize]), seq: *seq, ..Event::default() };
                sequences.add(&event);
            }
            let mut expected: Vec<_> = numbers.iter().map(|(boot, seq)| (names[*boot as usize], *seq)).collect();
            let mut found = Vec::new();
            for boot in &mut sequences.boots {
                let name = sequences.symbols.name(boot.names[2]).to_owned();
                for (from, to) in join(&mut boot.runs) {
                    found.extend((from..=to).map(|seq| (name.clone(), seq)));
                }
            }
            found.sort();
            expected.sort_unstable();
            prop_assert!(found.iter().map(|(name, seq)| (name.as_str(), *seq)).eq(expected));
        }
    }
}
