//! What is held of a partition: gathers its messages, says when a range is due and where it ends, and knows which one is
//! open. Talks to nobody; time comes in from outside.

use std::collections::VecDeque;
use std::time::Instant;

use event_log::{Position, Record};
use tokio::task::AbortHandle;

use crate::CollectorConfig;
use crate::intent::Intent;
use crate::range_span::Gathering;

/// Longest time between the first and the last message of a range: with events up to a week older, a range never
/// touches more than nine daily partitions.
const SPAN_US_MAX: i64 = 86_400 * 1_000_000;

/// What is held of a partition.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Next offset to commit: where the next range begins.
    pub(crate) next: u64,
    /// The range that an earlier life began and that has to be stored first.
    pub(crate) found: Option<Intent>,
    /// The range that is being stored: one at most.
    pub(crate) open: Option<Open>,
    /// Whether delivery is stopped.
    pub(crate) paused: bool,
    /// When the partition is given away at the latest, where the group wants it.
    pub(crate) leave_by: Option<Instant>,
    records: VecDeque<Record>,
    bytes: u64,
    events: u64,
    since: Option<Instant>,
    /// What is said of the range that gathers, from the same time on.
    span: Option<Gathering>,
}

/// A range that is being stored.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) task: AbortHandle,
    bytes: u64,
}

/// The messages of the next range.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) records: Vec<Record>,
    pub(crate) last: u64,
    pub(crate) span: Gathering,
}

impl Partition {
    pub(crate) fn new(position: &Position) -> Result<Self, String> {
        Ok(Self {
            next: position.offset,
            found: Intent::from_metadata(&position.metadata)?,
            open: None,
            paused: false,
            leave_by: None,
            records: VecDeque::new(),
            bytes: 0,
            events: 0,
            since: None,
            span: None,
        })
    }

    /// Takes messages in. Returns their bytes.
    pub(crate) fn push(&mut self, records: Vec<Record>, now: Instant) -> u64 {
        let before = self.bytes;
        self.since.get_or_insert(now);
        self.span.get_or_insert_with(Gathering::begin);
        for record in records {
            self.bytes += record.payload.len() as u64;
            self.events += events_of(&record);
            self.records.push_back(record);
        }
        self.bytes - before
    }

    /// Drops the messages that wait, for good: what comes after them would not follow on what is held.
    pub(crate) fn leave(&mut self, by: Instant) {
        self.leave_by = Some(by);
        self.found = None;
        self.records.clear();
        (self.bytes, self.events, self.since, self.span) = (0, 0, None, None);
    }

    /// The range that was cut is being stored.
    pub(crate) fn begun(&mut self, task: AbortHandle, bytes: u64) {
        self.open = Some(Open { task, bytes });
    }

    /// The open range is stored and committed.
    pub(crate) fn ended(&mut self, next: u64) {
        self.next = next;
        self.open = None;
    }

    /// Bytes that wait or are being stored.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// Whether the range that was found still needs messages before it can be stored.
    pub(crate) fn wants_its_rest(&self) -> bool {
        let ends = |found: &Intent| self.records.back().is_none_or(|record| record.offset < found.last);
        self.open.is_none() && self.found.as_ref().is_some_and(ends)
    }

    /// Whether a whole range waits, so more should not come.
    pub(crate) fn is_full(&self, config: &CollectorConfig) -> bool {
        // A range that was begun needs all of its messages, however large they are.
        self.found.is_none()
            && (self.events >= config.range_events_max || self.bytes >= config.range_bytes_max)
    }

    /// When a range is due, if messages wait and none is being stored. `hurry`: at once.
    pub(crate) fn due(&self, config: &CollectorConfig, hurry: bool) -> Option<Instant> {
        let since = self.since.filter(|_| self.open.is_none() && !self.records.is_empty())?;
        match &self.found {
            Some(_) => (!self.wants_its_rest()).then_some(since),
            None if hurry || self.is_full(config) => Some(since),
            None => Some(since + config.flush_after()),
        }
    }

    /// Takes the messages of the next range out: those of the intent, or as many as fit.
    pub(crate) fn cut(&mut self, config: &CollectorConfig, now: Instant) -> Result<Option<Cut>, String> {
        let count = match &self.found {
            Some(found) => self.count_until(found.last)?,
            None => self.count_fitting(config),
        };
        let records: Vec<Record> = self.records.drain(..count).collect();
        for record in &records {
            self.bytes -= record.payload.len() as u64;
            self.events -= events_of(record);
        }
        // What is left came in later; its time starts now, which is late by less than one range.
        self.since = (!self.records.is_empty()).then_some(now);
        let span = self.span.take().unwrap_or_else(Gathering::begin);
        self.span = self.since.map(|_| Gathering::begin());
        Ok(records.last().map(|record| record.offset).map(|last| Cut { records, last, span }))
    }

    fn count_until(&self, last: u64) -> Result<usize, String> {
        let count = self.records.partition_point(|record| record.offset <= last);
        match count.checked_sub(1).and_then(|index| self.records.get(index)) {
            Some(record) if record.offset == last => Ok(count),
            _ => Err(format!("message {last}, which ends it, is no longer in the log")),
        }
    }

    fn count_fitting(&self, config: &CollectorConfig) -> usize {
        let (mut events, mut bytes) = (0, 0);
        let first_us = self.records.front().map_or(0, |record| record.appended_at_us);
        let fits = |record: &&Record| {
            let open = events < config.range_events_max && bytes < config.range_bytes_max;
            events += events_of(record);
            bytes += record.payload.len() as u64;
            open && record.appended_at_us.abs_diff(first_us) <= SPAN_US_MAX.unsigned_abs()
        };
        self.records.iter().take_while(fits).count().max(1).min(self.records.len())
    }
}

/// About how many events a message has: what its producer says, or its lines.
fn events_of(record: &Record) -> u64 {
    match record.events {
        Some(events) => u64::from(events).max(1),
        // 128 bytes is less than any event has: an estimate from above that costs nothing.
        None => record.payload.len() as u64 / 128 + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use event_log::{ContentType, Schema};
    use proptest::prelude::*;
    use std::time::Duration;

    fn record(offset: u64, events: u32, bytes: usize) -> Record {
        Record {
            offset,
            appended_at_us: 0,
            payload: Bytes::from(vec![b'x'; bytes]),
            events: Some(events),
            schema: Schema::Events,
            content_type: ContentType::Ndjson,
        }
    }

    fn config() -> CollectorConfig {
        CollectorConfig { range_events_max: 100, range_bytes_max: 1000, ..CollectorConfig::default() }
    }

    fn fresh() -> Partition {
        Partition::new(&Position { offset: 0, metadata: String::new() }).unwrap()
    }

    proptest! {
        #[test]
        fn ranges_cover_the_log_in_order_and_within_their_limits(messages in prop::collection::vec((1u32..60, 1usize..600), 1..100)) {
            let (config, now) = (config(), Instant::now());
            let mut partition = fresh();
            let records: Vec<_> = (0u64..).zip(&messages).map(|(offset, (events, bytes))| record(offset, *events, *bytes)).collect();
            partition.push(records, now);
            let mut next = 0;
            while let Some(cut) = partition.cut(&config, now).unwrap().filter(|cut| !cut.records.is_empty()) {
                let offsets: Vec<_> = cut.records.iter().map(|record| record.offset).collect();
                prop_assert_eq!(&offsets, &(next..=cut.last).collect::<Vec<_>>());
                // Without its last message a range is below both limits: it ends as soon as one is reached.
                let before = &cut.records[..cut.records.len() - 1];
                prop_assert!(before.iter().map(|record| u64::from(record.events.unwrap())).sum::<u64>() < 100);
                prop_assert!(before.iter().map(|record| record.payload.len()).sum::<usize>() < 1000);
                next = cut.last + 1;
            }
            prop_assert_eq!(next, messages.len() as u64);
            prop_assert_eq!((partition.bytes, partition.events, partition.since), (0, 0, None));
        }
    }

    #[test]
    fn due_by_time_by_size_or_in_a_hurry() {
        let (config, now) = (config(), Instant::now());
        let mut partition = fresh();
        assert_eq!(partition.due(&config, true), None);
        partition.push(vec![record(0, 1, 1)], now);
        assert_eq!(partition.due(&config, false), Some(now + Duration::from_secs(1)));
        assert_eq!(partition.due(&config, true), Some(now));
        partition.push(vec![record(1, 99, 1)], now);
        assert_eq!(partition.due(&config, false), Some(now));
        let task =
            tokio::runtime::Builder::new_current_thread().build().unwrap().spawn(async {}).abort_handle();
        partition.begun(task, 7);
        assert_eq!((partition.due(&config, true), partition.bytes()), (None, 9));
    }

    #[test]
    fn a_range_that_was_begun_gets_its_messages_whatever_the_limits() {
        let (config, now) = (config(), Instant::now());
        let metadata = Intent::new(3, "p".to_owned(), 0, true).to_metadata();
        let mut partition = Partition::new(&Position { offset: 0, metadata }).unwrap();
        partition.push(vec![record(0, 500, 1), record(1, 500, 1)], now);
        assert!(!partition.is_full(&config));
        assert_eq!(partition.due(&config, true), None);
        partition.push(vec![record(2, 500, 1), record(3, 500, 1), record(4, 1, 1)], now);
        assert_eq!(partition.due(&config, false), Some(now));
        assert_eq!(
            partition.cut(&config, now).unwrap().map(|cut| (cut.records.len(), cut.last)),
            Some((4, 3))
        );
    }

    #[test]
    fn a_range_whose_end_is_gone_is_an_error() {
        let now = Instant::now();
        let metadata = Intent::new(3, "p".to_owned(), 0, true).to_metadata();
        let mut partition = Partition::new(&Position { offset: 0, metadata }).unwrap();
        partition.push(vec![record(7, 1, 1)], now);
        assert!(partition.cut(&config(), now).is_err());
    }

    #[test]
    fn a_range_ends_where_a_day_has_passed() {
        let now = Instant::now();
        let mut partition = fresh();
        let late = Record { appended_at_us: SPAN_US_MAX + 1, ..record(1, 1, 1) };
        partition.push(vec![record(0, 1, 1), late], now);
        assert_eq!(partition.cut(&config(), now).unwrap().map(|cut| cut.last), Some(0));
    }
}
