//! A range to blocks: counts everything, decides what is kept, and builds a block for each table. A pure function of the
//! range: built again, the blocks are the same to the byte.

use event_log::Record;
use warehouse::{Block, Column, TextColumn, UnevenColumns};
use wide_event::{BootEnd, Event, codec};

use crate::dead_letter::{self, DeadLetters, Letter};
use crate::decode::{Line, Seen, Sink, decode};
use crate::freshness::Ages;
use crate::intent::Place;
use crate::policy::Rules;
use crate::range::Range;
use crate::requests::Requests;
use crate::rollup::{Rollup, symbols};
use crate::sample::{Candidate, Reason, Strata};
use crate::sequences::Sequences;
use crate::spans::Maker;
use crate::traces::Exported;
use crate::traces::row::Rows;
use crate::visits::{Totals, Visits};

/// Blocks of a range, with what they add up to.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) requests: Block,
    /// Where each row of `requests` is from.
    pub(crate) places: Vec<Place>,
    /// The other tables, in any order; the ledger comes after them.
    pub(crate) others: Vec<(&'static str, Block)>,
    /// Those of kept events; nothing is counted by them.
    pub(crate) spans: Block,
    /// Whether the table of spans took them, as far as that is known.
    pub(crate) spans_stored: Option<bool>,
    /// Spans that were too many.
    pub(crate) spans_omitted: u64,
    /// The same for a backend, as far as there is one.
    pub(crate) exported: Exported,
    pub(crate) ledger: Ledger,
    pub(crate) kept: Vec<(Reason, u64)>,
    pub(crate) dead_letters: Vec<(&'static str, u64)>,
    /// The dead letters themselves.
    pub(crate) letters: Vec<Letter>,
    /// Events that the rollup counts under `other`.
    pub(crate) collapsed: u64,
    /// Visits that a dimension counts under `(other)`.
    pub(crate) folded: u64,
    /// How old all events that could be read were when the range was begun.
    pub(crate) ages: Ages,
}

/// The sums of a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) seen: Seen,
    pub(crate) kept: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) visits: Totals,
    pub(crate) boots: u64,
}

/// A line that may be kept.
struct Waiting<'r> {
    line: Line<'r>,
    candidate: Candidate,
}

/// Events that are kept.
#[derive(Default)]
struct Kept {
    requests: Requests,
    reasons: Vec<(Reason, u64)>,
    spans: Rows,
    spans_omitted: u64,
    exported: Exported,
}

/// What counts while a range is read.
struct Counters<'r, 'p> {
    rules: &'p Rules,
    rollup: Rollup,
    strata: Strata,
    visits: Visits,
    sequences: Sequences,
    waiting: Vec<Waiting<'r>>,
    boots: Boots,
    ages: Ages,
}

#[derive(Default)]
struct Boots {
    ts: Vec<i64>,
    service: Vec<String>,
    instance: Vec<String>,
    boot_id: Vec<String>,
    issued: Vec<u64>,
    clean: Vec<bool>,
    offset: Vec<u64>,
}

impl<'r> Sink<'r> for Counters<'r, '_> {
    fn arrived(&mut self, event: &Event<'r>) {
        self.sequences.add(event);
    }

    fn event(&mut self, line: Line<'r>, event: &Event<'r>) {
        self.ages.add(event.ts.0);
        let number = self.rollup.add(event);
        let key = self.rollup.series(number);
        let route = self.rollup.symbols.name(key.route);
        let candidate = self.strata.add(self.rules, event, number, key, route);
        self.visits.add(event);
        self.waiting.push(Waiting { line, candidate });
    }

    fn boot(&mut self, record: &Record, boot: &BootEnd<'r>) {
        self.boots.ts.push(boot.ts.0);
        self.boots.service.push(boot.service.as_str().to_owned());
        self.boots.instance.push(boot.instance.as_str().to_owned());
        self.boots.boot_id.push(boot.boot_id.as_str().to_owned());
        self.boots.issued.push(boot.issued);
        self.boots.clean.push(boot.clean);
        self.boots.offset.push(record.offset);
    }
}

/// Builds the blocks of a range. Events at the places `refused`, which are sorted, are dead letters. Up to `exported_max` spans
/// are held for a backend as well.
pub(crate) fn build(range: &Range, refused: &[Place], exported_max: usize) -> Result<Batch, UnevenColumns> {
    let rules = &range.policy.rules;
    let mut counters = Counters {
        rules,
        rollup: Rollup::default(),
        strata: Strata::default(),
        visits: Visits::new(&range.intent),
        sequences: Sequences::default(),
        waiting: Vec::new(),
        boots: Boots::default(),
        ages: Ages::at(range.intent.at),
    };
    let mut letters = DeadLetters::default();
    let seen = decode(&range.records, refused, range.intent.at, &mut letters, &mut counters);
    let Kept { requests, reasons: kept, spans, spans_omitted, exported } =
        keep(range, &counters, exported_max);
    let Counters { rollup, visits, sequences, boots, mut ages, .. } = counters;
    ages.shrink();

    let ledger = Ledger {
        seen,
        kept: requests.places.len() as u64,
        dead_lettered: letters.events,
        visits: visits.totals,
        boots: boots.ts.len() as u64,
    };
    let (requests, places) = requests.into_columns();
    let (mut others, folded) = visits.into_tables();
    others.extend([
        ("requests_by_minute", rollup.columns()),
        (
            "dead_letters",
            with_origin(
                dead_letter::columns(&letters.letters),
                range,
                &["topic", "log_partition", "collected_at"],
            ),
        ),
        (
            "producer_sequences",
            with_origin(sequences.into_columns(), range, &["log_partition", "range_offset", "collected_at"]),
        ),
        ("producer_boots", with_origin(boots.into_columns(), range, &["log_partition", "collected_at"])),
    ]);
    let blocks = others.into_iter().map(|(table, columns)| Ok((table, Block::new(columns)?)));
    Ok(Batch {
        requests: Block::new(with_origin(requests, range, &["log_partition", "collected_at"]))?,
        places,
        others: blocks.collect::<Result<_, _>>()?,
        spans: spans.into_block()?,
        spans_stored: None,
        spans_omitted,
        exported,
        ledger,
        kept,
        dead_letters: letters.reasons,
        letters: letters.letters,
        collapsed: rollup.collapsed,
        folded,
        ages,
    })
}

/// Reads the lines that are kept a second time: they are few, and holding all events until it is clear which ones would
/// take ten times the memory of their messages. Those that the intent says ClickHouse refused have no spans: they get some when
/// they are sent once more.
fn keep(range: &Range, counters: &Counters<'_, '_>, exported_max: usize) -> Kept {
    let decisions = counters.strata.decide(counters.rules);
    let refused = range.intent.refused.as_deref().unwrap_or_default();
    let mut kept = Kept::default();
    let mut maker = range.intent.spans.then(|| Maker::new(range));
    for Waiting { line, candidate } in &counters.waiting {
        let Some((weight, reason)) = decisions.fate(*candidate) else { continue };
        // It could be read before, so it can be now.
        let Ok(event) = codec::decode(line.bytes) else { continue };
        let record = &range.records[line.record as usize];
        let place = (record.offset, line.line);
        kept.requests.push(&event, weight, reason.as_str(), place);
        if let Some(maker) = maker.as_mut().filter(|_| refused.binary_search(&place).is_err()) {
            let spans = maker.of(&event, record);
            spans.iter().for_each(|span| kept.spans.push(span));
            kept.exported.add(spans, exported_max);
        }
        match kept.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => kept.reasons.push((reason, 1)),
        }
    }
    kept.spans_omitted = maker.map_or(0, |maker| maker.omitted);
    kept
}

/// Adds columns that are the same in every row.
fn with_origin(
    mut columns: Vec<(&'static str, Column)>,
    range: &Range,
    names: &[&'static str],
) -> Vec<(&'static str, Column)> {
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    for name in names {
        let column = match *name {
            "topic" => symbols(std::iter::repeat_n(&*range.topic, rows)),
            "log_partition" => Column::U32(vec![range.partition; rows]),
            "range_offset" => Column::U64(vec![range.first; rows]),
            _ => Column::Time(vec![range.intent.at; rows]),
        };
        columns.push((name, column));
    }
    columns
}

impl Boots {
    fn into_columns(self) -> Vec<(&'static str, Column)> {
        let named = |names: &[String]| symbols(names.iter().map(String::as_str));
        vec![
            ("ts", Column::Time(self.ts)),
            ("service", named(&self.service)),
            ("instance", named(&self.instance)),
            ("boot_id", named(&self.boot_id)),
            ("issued", Column::U64(self.issued)),
            ("clean", Column::Flag(self.clean)),
            ("log_offset", Column::U64(self.offset)),
        ]
    }
}

impl Ledger {
    pub(crate) fn sampled_out(&self) -> u64 {
        // Kept and dead letters are parts of the events, by construction.
        self.seen.events.saturating_sub(self.kept).saturating_sub(self.dead_lettered)
    }

    /// The row of `ingest_ledger`.
    pub(crate) fn block(&self, range: &Range) -> Result<Block, UnevenColumns> {
        let number = |number: u64| Column::U64(vec![number]);
        let columns = vec![
            ("first_offset", number(range.first)),
            ("last_offset", number(range.intent.last)),
            ("messages", number(self.seen.messages)),
            ("events", number(self.seen.events)),
            ("events_announced", number(self.seen.announced)),
            ("kept", number(self.kept)),
            ("sampled_out", number(self.sampled_out())),
            ("dead_lettered", number(self.dead_lettered)),
            ("replayed", number(self.seen.replayed)),
            ("clicks", number(self.visits.clicks)),
            ("click_rows", number(self.visits.click_rows)),
            ("visits", number(self.visits.visits)),
            ("orphan_rows", number(self.visits.orphan_rows)),
            ("day_clicks", number(self.visits.day_clicks)),
            ("link_clicks", number(self.visits.link_clicks)),
            ("boot_records", number(self.boots)),
            ("policy_version", symbols(std::iter::once(range.policy.version()))),
        ];
        Block::new(with_origin(columns, range, &["topic", "log_partition", "collected_at"]))
    }
}

/// The row of `sampling_policies`.
pub(crate) fn policy_block(version: &str, text: &str) -> Result<Block, UnevenColumns> {
    let column = |text: &str| {
        let mut column = TextColumn::default();
        column.push(text);
        Column::Text(column)
    };
    Block::new(vec![("version", column(version)), ("text", column(text))])
}

#[cfg(test)]
mod tests;
