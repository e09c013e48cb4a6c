//! Exports that wait for their insert: bounded by bytes, each known by the hash of its payload, so that one that is sent again
//! waits for the same insert, or is answered as what has been stored. Knows neither OTLP nor ClickHouse.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::metrics::TraceMetrics;
use super::row::Span;

/// What is told apart by it: the first 16 bytes of a payload's BLAKE3. Accidents don't happen at that length.
pub(super) type Hash = [u8; 16];

/// Stored exports that are remembered: as many as ClickHouse remembers tokens; 1 MB.
const REMEMBERED_MAX: u64 = warehouse::DEDUP_WINDOW;

/// From so many spans on an export is inserted alone: it needs no company, and its token is that of its payload, which
/// ClickHouse recognises whoever receives it. Processes send some hundred at a time, collectors some thousand.
const ALONE_SPANS_MIN: usize = 4000;

/// Rows of one insert, bytes: a second's work for ClickHouse at the very most.
const INSERT_BYTES_MAX: usize = 16 << 20;

/// What has become of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not known yet.
    Open,
    /// Stored.
    Stored,
    /// ClickHouse will never take it: its words.
    Refused(String),
}

/// An export that waits.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) hash: Hash,
    pub(super) spans: Vec<Span>,
    bytes: usize,
    fate: watch::Sender<Fate>,
}

/// There is no room.
#[derive(Debug)]
pub(super) struct Full;

/// All exports that are not stored yet, and the names of those that were lately.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    bytes_max: usize,
    metrics: TraceMetrics,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Export>,
    /// Of what waits and of what is being inserted.
    bytes: usize,
    under_way: HashMap<Hash, watch::Receiver<Fate>>,
    remembered: HashSet<Hash>,
    /// The oldest first.
    remembered_order: VecDeque<Hash>,
    /// Set while inserts fail: when the next one is tried.
    retry_at: Option<Instant>,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, metrics: TraceMetrics) -> Self {
        Self { state: Mutex::default(), filled: Notify::new(), bytes_max, metrics }
    }

    /// Takes an export, or finds it: what is returned becomes its fate. The sender of an open fate is gone where it was given
    /// up, at the end of the process.
    pub(super) fn offer(
        &self,
        hash: Hash,
        spans: Vec<Span>,
        bytes: usize,
    ) -> Result<watch::Receiver<Fate>, Full> {
        let mut state = self.state();
        if let Some(fate) = state.under_way.get(&hash) {
            self.metrics.repeated.inc();
            return Ok(fate.clone());
        }
        if state.remembered.contains(&hash) {
            self.metrics.repeated.inc();
            return Ok(watch::channel(Fate::Stored).1);
        }
        if state.bytes + bytes > self.bytes_max {
            return Err(Full);
        }
        let (fate, known) = watch::channel(Fate::Open);
        state.bytes += bytes;
        self.metrics.queue_bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
        state.under_way.insert(hash, known.clone());
        state.waiting.push_back(Export { hash, spans, bytes, fate });
        drop(state);
        self.filled.notify_one();
        Ok(known)
    }

    /// How long inserts have to wait before they are tried again; `None`: they work.
    pub(super) fn away_for(&self) -> Option<Duration> {
        self.state().retry_at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// An insert failed, and is tried again after this long.
    pub(super) fn failed(&self, retry_after: Duration) {
        self.state().retry_at = Some(Instant::now() + retry_after);
    }

    /// Waits until something is there, then for company. Returns what one insert takes.
    pub(super) async fn next(&self, flush_after: Duration) -> Vec<Export> {
        loop {
            // Registered before the look, so that nothing is missed in between.
            let filled = self.filled.notified();
            if !self.state().waiting.is_empty() {
                break;
            }
            filled.await;
        }
        if !self.state().is_enough() {
            tokio::time::sleep(flush_after).await;
        }
        self.state().take()
    }

    /// Says what has become of exports, and makes room.
    pub(super) fn finish(&self, exports: Vec<Export>, fate: &Fate) {
        let mut state = self.state();
        for Export { hash, bytes, fate: sender, .. } in exports {
            state.bytes -= bytes;
            state.under_way.remove(&hash);
            if *fate == Fate::Stored {
                state.remember(hash);
            }
            sender.send_replace(fate.clone());
        }
        state.retry_at = None;
        self.metrics.queue_bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
    }

    /// Holds nothing that a panic could leave half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether more would not fit into the same insert.
    fn is_enough(&self) -> bool {
        let bytes: usize = self.waiting.iter().map(|export| export.bytes).sum();
        bytes >= INSERT_BYTES_MAX || self.waiting.front().is_some_and(Export::is_alone)
    }

    /// The oldest ones, in their order.
    fn take(&mut self) -> Vec<Export> {
        let mut taken: Vec<Export> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.waiting.front() {
            let fits = bytes + next.bytes <= INSERT_BYTES_MAX && !next.is_alone();
            if !(taken.is_empty() || fits) || taken.first().is_some_and(Export::is_alone) {
                break;
            }
            bytes += next.bytes;
            taken.extend(self.waiting.pop_front());
        }
        taken
    }

    fn remember(&mut self, hash: Hash) {
        if self.remembered.insert(hash) {
            self.remembered_order.push_back(hash);
        }
        if self.remembered_order.len() as u64 > REMEMBERED_MAX
            && let Some(oldest) = self.remembered_order.pop_front()
        {
            self.remembered.remove(&oldest);
        }
    }
}

impl Export {
    fn is_alone(&self) -> bool {
        self.spans.len() >= ALONE_SPANS_MIN
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::traces::row::{Resource, Scope};

    fn spans(count: usize) -> Vec<Span> {
        let span = |number: usize| Span {
            start_ns: 0,
            duration_ns: 0,
            trace_id: [1; 16],
            span_id: number.to_le_bytes(),
            parent_span_id: None,
            trace_state: String::new(),
            name: String::new(),
            kind: "Internal",
            resource: Arc::new(Resource::default()),
            scope: Arc::new(Scope::default()),
            attributes: Vec::new(),
            status: "Unset",
            status_message: String::new(),
            events: Vec::new(),
            links: Vec::new(),
        };
        (0..count).map(span).collect()
    }

    fn hashes(exports: &[Export]) -> Vec<u8> {
        exports.iter().map(|export| export.hash[0]).collect()
    }

    #[tokio::test]
    async fn small_exports_share_an_insert_and_large_ones_do_not() {
        let queue = Queue::new(1 << 30, TraceMetrics::default());
        for (number, count, bytes) in
            [(1, 1, 1), (2, 1, 1), (3, ALONE_SPANS_MIN, 1), (4, 1, INSERT_BYTES_MAX), (5, 1, 1), (6, 1, 1)]
        {
            queue.offer([number; 16], spans(count), bytes).unwrap();
        }
        let mut taken = Vec::new();
        for _ in 0..4 {
            let next = queue.next(Duration::ZERO).await;
            taken.push(hashes(&next));
            queue.finish(next, &Fate::Stored);
        }
        assert_eq!(taken, [vec![1, 2], vec![3], vec![4], vec![5, 6]]);
    }

    #[tokio::test]
    async fn what_is_known_takes_no_room_and_what_is_done_makes_some() {
        let queue = Queue::new(10, TraceMetrics::default());
        let first = queue.offer([1; 16], spans(1), 8).unwrap();
        assert!(queue.offer([2; 16], spans(1), 3).is_err());
        let again = queue.offer([1; 16], spans(1), 8).unwrap();
        assert_eq!((first.borrow().clone(), again.borrow().clone()), (Fate::Open, Fate::Open));
        let exports = queue.next(Duration::ZERO).await;
        assert!(queue.offer([2; 16], spans(1), 3).is_err(), "what is being inserted is still held");
        queue.failed(Duration::from_secs(60));
        assert!(queue.away_for().is_some());
        queue.finish(exports, &Fate::Stored);
        assert_eq!((first.borrow().clone(), again.borrow().clone()), (Fate::Stored, Fate::Stored));
        assert!(queue.away_for().is_none());
        assert_eq!(*queue.offer([1; 16], spans(1), 8).unwrap().borrow(), Fate::Stored);
        queue.offer([2; 16], spans(1), 10).unwrap();
        let exports = queue.next(Duration::ZERO).await;
        queue.finish(exports, &Fate::Refused("no".to_owned()));
        // What was refused is no reason not to look at it again.
        assert_eq!(*queue.offer([2; 16], spans(1), 10).unwrap().borrow(), Fate::Open);
    }
}
