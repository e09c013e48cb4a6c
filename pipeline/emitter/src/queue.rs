//! Between requests and the publisher: bounded by events and bytes, with room that only failures may use.
//!
//! Admission is counted here, so the channel behind it needs no bound of its own; pushing takes no lock and never
//! waits. The publisher is woken once a batch, not once an event: between batches it looks by itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;

use tokio::sync::Notify;

use crate::config::EmitterConfig;

/// Why an event did not get into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No room left, or only room reserved for failures.
    Full,
    /// The publisher is shutting down, or gone.
    Closed,
}

/// Bits of [`Waiting`] that count bytes; those above count events. Far more of both than a configuration may allow.
const BYTES_BITS: u32 = 40;

/// The sending end, shared by all requests.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    sender: mpsc::Sender<T>,
    /// Events that wait, and their bytes, in one: so each request changes one thing that all of them share, once.
    waiting: Waiting,
    closed: AtomicBool,
    wake: Notify,
    wake_events: usize,
    all: Amount,
    successes: Amount,
}

/// In a cache line of its own: it is written by every request, and what would lie beside it is only read.
#[derive(Debug)]
#[repr(align(64))]
struct Waiting(AtomicU64);

/// How many events of how many bytes.
#[derive(Debug, Clone, Copy)]
struct Amount {
    events: usize,
    bytes: usize,
}

impl Amount {
    fn of(word: u64) -> Self {
        // 64 bits only: `usize` is as long on all that this is built for.
        Self { events: (word >> BYTES_BITS) as usize, bytes: (word & ((1 << BYTES_BITS) - 1)) as usize }
    }

    fn word(self) -> u64 {
        (self.events as u64) << BYTES_BITS | self.bytes as u64
    }
}

impl<T> Queue<T> {
    pub(crate) fn new(config: &EmitterConfig) -> (Self, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel();
        let all = Amount { events: config.queue_events_max, bytes: config.queue_bytes_max };
        let percent = usize::from(config.queue_reserved_percent.min(100));
        let less = |limit: usize| limit - limit.saturating_mul(percent) / 100;
        let queue = Self {
            sender,
            waiting: Waiting(AtomicU64::new(0)),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
            wake_events: config.batch_events_max,
            all,
            successes: Amount { events: less(all.events), bytes: less(all.bytes) },
        };
        (queue, receiver)
    }

    /// Takes an item that counts for `bytes`, or refuses it at once.
    pub(crate) fn push(&self, item: T, bytes: usize, failure: bool) -> Result<(), Refused> {
        let limit = if failure { self.all } else { self.successes };
        let admitted = self.waiting.0.try_update(SeqCst, SeqCst, |now| {
            let now = Amount::of(now);
            let sum = Amount { events: now.events + 1, bytes: now.bytes.checked_add(bytes)? };
            (sum.events <= limit.events && sum.bytes <= limit.bytes).then(|| sum.word())
        });
        let before = Amount::of(admitted.map_err(|_| Refused::Full)?).events;
        // Only after having been counted: whoever closes waits until the count is zero, so an item is either
        // refused here or taken out there.
        if self.closed.load(SeqCst) || self.sender.send(item).is_err() {
            self.forget(1, bytes);
            return Err(Refused::Closed);
        }
        if before + 1 == self.wake_events {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// So many items were taken out, that count for `bytes` together.
    pub(crate) fn forget(&self, events: usize, bytes: usize) {
        self.waiting.0.fetch_sub(Amount { events, bytes }.word(), SeqCst);
    }

    /// Refuses everything from here on.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Whether there are enough items for a batch.
    pub(crate) fn is_filled(&self) -> bool {
        self.events() >= self.wake_events
    }

    /// Returns when there are about enough items for a batch.
    pub(crate) async fn filled(&self) {
        self.wake.notified().await;
    }

    /// Items that wait.
    pub(crate) fn events(&self) -> usize {
        Amount::of(self.waiting.0.load(SeqCst)).events
    }

    /// What they count for.
    pub(crate) fn bytes(&self) -> usize {
        Amount::of(self.waiting.0.load(SeqCst)).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(events: usize, percent: u8) -> EmitterConfig {
        EmitterConfig {
            queue_events_max: events,
            queue_bytes_max: 1000,
            queue_reserved_percent: percent,
            ..EmitterConfig::default()
        }
    }

    proptest! {
        /// Whatever comes in whatever order, with a publisher that takes nothing out or something now and then: a
        /// failure is refused only when the whole queue is full, a success when its share is.
        #[test]
        fn failures_have_room_that_successes_can_not_take(
            steps in prop::collection::vec((any::<bool>(), 1usize..60, prop::bool::weighted(0.1)), 1..400),
            percent in 0u8..=90,
        ) {
            let (queue, receiver) = Queue::new(&config(50, percent));
            let reserved = 50 * usize::from(percent) / 100;
            let (mut events, mut bytes) = (0, 0);
            for (failure, size, pop) in steps {
                let free = if failure { 0 } else { reserved };
                let reserved_bytes = if failure { 0 } else { 10 * usize::from(percent) };
                let room = events + 1 + free <= 50 && bytes + size + reserved_bytes <= 1000;
                prop_assert_eq!(queue.push(size, size, failure).is_ok(), room);
                if room {
                    events += 1;
                    bytes += size;
                }
                if pop && let Ok(size) = receiver.try_recv() {
                    queue.forget(1, size);
                    events -= 1;
                    bytes -= size;
                }
                prop_assert_eq!((queue.events(), queue.bytes()), (events, bytes));
            }
        }
    }

    #[test]
    fn what_is_refused_after_closing_leaves_no_trace() {
        let (queue, receiver) = Queue::new(&config(50, 25));
        assert_eq!(queue.push(1, 10, false), Ok(()));
        queue.close();
        assert_eq!(queue.push(2, 10, true), Err(Refused::Closed));
        assert_eq!((queue.events(), queue.bytes()), (1, 10));
        assert_eq!(receiver.try_recv(), Ok(1));
    }

    #[tokio::test]
    async fn a_batch_wakes_the_publisher() {
        let (queue, _receiver) = Queue::new(&EmitterConfig { batch_events_max: 3, ..config(50, 25) });
        for item in 0..3 {
            queue.push(item, 1, false).unwrap();
        }
        queue.filled().await;
    }
}
