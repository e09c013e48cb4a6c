//! How far partitions are behind, in messages and in time, from what was delivered and from ends that are asked for in
//! the background. Never makes anybody wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::Offset;
use tokio::task::spawn_blocking;

use super::session::{self, Client};
use crate::Record;

/// How old the known ends may be: as often as they are likely to be scraped.
const ENDS_EVERY: Duration = Duration::from_secs(1);
/// Times kept of a partition: at one a batch more batches than are ever open; 16 bytes each.
const MARKS_MAX: usize = 256;

/// When the uncommitted records of a partition were appended.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Offset and time of some records, ascending.
    marks: VecDeque<(u64, i64)>,
    /// Batches that were delivered since the last mark.
    unmarked: usize,
    /// Batches that are not marked between two that are: none, until there are too many.
    between: usize,
    /// Offset that has been there, undelivered, since when we know of it.
    waiting: Option<(u64, i64)>,
}

impl Marks {
    /// Notes a batch that was delivered.
    pub(super) fn delivered(&mut self, records: &[Record]) {
        let Some(first) = records.first() else { return };
        self.waiting = None;
        if self.marks.is_empty() {
            self.between = 0;
        } else if self.unmarked < self.between {
            self.unmarked += 1;
            return;
        }
        self.unmarked = 0;
        if self.marks.len() >= MARKS_MAX {
            // Every second one, from here on as well: thinned unevenly, the first would stay alone in the end.
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
            self.between = 2 * self.between + 1;
        }
        self.marks.push_back((first.offset, first.appended_at_us));
    }

    /// When the record at `committed` was appended, or a little earlier: at most by a batch, or by as many as lie between
    /// marks. Not delivered yet: when
    /// we first knew of it, which may be later than the truth, and is all that can be said without reading it.
    pub(super) fn oldest(&mut self, committed: u64, next: u64, end: u64, now_us: i64) -> Option<i64> {
        while self.marks.get(1).is_some_and(|(offset, _)| *offset <= committed) {
            self.marks.pop_front();
        }
        if committed >= end.max(next) {
            self.waiting = None;
            // All is done: the next batch is marked again.
            self.marks.clear();
            return None;
        }
        if committed < next
            && let Some((_, at_us)) = self.marks.front()
        {
            return Some(*at_us);
        }
        match self.waiting {
            Some((offset, since_us)) if offset == committed => Some(since_us),
            _ => {
                self.waiting = Some((committed, now_us));
                Some(now_us)
            }
        }
    }
}

/// Where partitions end, as last heard.
#[derive(Debug, Default)]
pub(super) struct Ends {
    heard: Mutex<Heard>,
    asking: AtomicBool,
}

#[derive(Debug, Default)]
struct Heard {
    ends: BTreeMap<u32, u64>,
    /// How far we have read, marks of transactions included, which are no messages.
    read: BTreeMap<u32, u64>,
    /// Counts assignments, since what was asked before one says nothing about it.
    assignments: u64,
    asked: Option<Instant>,
    answered: Option<Instant>,
}

impl Ends {
    pub(super) fn end(&self, partition: u32) -> u64 {
        self.heard().ends.get(&partition).copied().unwrap_or(0)
    }

    /// Something that was seen says so.
    pub(super) fn at_least(&self, partition: u32, end: u64) {
        let mut heard = self.heard();
        let known = heard.ends.entry(partition).or_default();
        *known = end.max(*known);
    }

    /// A partition is assigned: what was known before may be of another log.
    pub(super) fn set(&self, partition: u32, end: u64) {
        let mut heard = self.heard();
        heard.ends.insert(partition, end);
        heard.read.remove(&partition);
        heard.assignments += 1;
    }

    /// Where the next message is, if all below `next` are done: behind marks of transactions.
    pub(super) fn behind_marks(&self, partition: u32, next: u64) -> u64 {
        self.heard().read.get(&partition).map_or(next, |read| next.max(*read))
    }

    /// When the brokers answered last.
    pub(super) fn answered(&self) -> Option<Instant> {
        self.heard().answered
    }

    /// Asks in the background, unless it was asked a moment ago.
    pub(super) fn refresh(self: &Arc<Self>, client: &Arc<Client>, topic: &str, partitions: Vec<u32>) {
        let fresh = self.heard().asked.is_some_and(|asked| asked.elapsed() < ENDS_EVERY);
        if fresh || partitions.is_empty() || self.asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (ends, client, topic) = (Arc::clone(self), Arc::clone(client), topic.to_owned());
        let assignments = self.heard().assignments;
        spawn_blocking(move || {
            let answer = session::edges(&*client, &topic, &partitions, Offset::End)
                .and_then(|edges| Ok((edges, session::positions(&client)?)));
            drop(client);
            let mut heard = ends.heard();
            match answer {
                Ok((edges, read)) => {
                    heard.ends.extend(edges);
                    if heard.assignments == assignments {
                        heard.read = read;
                    }
                    heard.answered = Some(Instant::now());
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "no ends of partitions");
                }
            }
            heard.asked = Some(Instant::now());
            drop(heard);
            ends.asking.store(false, Ordering::Release);
        });
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // Guards plain values only, so a panic elsewhere leaves nothing half done.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds since the Unix epoch.
pub(super) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentType, Schema};

    fn batch(offset: u64, at_us: i64) -> Vec<Record> {
        vec![Record {
            offset,
            appended_at_us: at_us,
            payload: bytes::Bytes::new(),
            events: None,
            schema: Schema::Events,
            content_type: ContentType::Ndjson,
        }]
    }

    #[test]
    fn the_oldest_uncommitted_record_tells_the_age() {
        let mut marks = Marks::default();
        assert_eq!(marks.oldest(5, 5, 5, 100), None);
        for (offset, at_us) in [(5, 50), (8, 80), (12, 120)] {
            marks.delivered(&batch(offset, at_us));
        }
        for (committed, oldest) in [(5, Some(50)), (7, Some(50)), (8, Some(80)), (13, Some(120)), (14, None)]
        {
            assert_eq!(marks.oldest(committed, 14, 14, 999), oldest, "{committed}");
        }
    }

    #[test]
    fn what_is_there_and_was_not_delivered_ages_from_when_it_was_known() {
        let mut marks = Marks::default();
        assert_eq!(marks.oldest(5, 5, 9, 100), Some(100));
        assert_eq!(marks.oldest(5, 5, 10, 200), Some(100));
        marks.delivered(&batch(5, 40));
        assert_eq!(marks.oldest(5, 6, 10, 300), Some(40));
        assert_eq!(marks.oldest(6, 6, 10, 400), Some(400));
        assert_eq!(marks.oldest(10, 10, 10, 500), None);
        assert_eq!(marks.oldest(10, 10, 11, 600), Some(600));
    }

    #[test]
    fn few_times_are_kept_however_many_batches_are_open() {
        let mut marks = Marks::default();
        for offset in 0..10_000 {
            marks.delivered(&batch(offset, offset as i64));
        }
        assert!(marks.marks.len() <= MARKS_MAX);
        assert_eq!(marks.oldest(0, 10_000, 10_000, 0), Some(0));
        let oldest = marks.oldest(9_000, 10_000, 10_000, 0).unwrap();
        assert!((8_000..=9_000).contains(&oldest), "{oldest}");
    }
}
