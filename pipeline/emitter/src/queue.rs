//! Between requests and the publisher: bounded by events and bytes, with room that only failures may use.
//!
//! Admission is counted here, so the channel behind it needs no bound of its own; pushing takes no lock and never
//! waits. The publisher is woken once a batch, not once an event: between batches it looks by itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
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

/// The sending end, shared by all requests.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    sender: mpsc::Sender<T>,
    events: AtomicUsize,
    bytes: AtomicUsize,
    closed: AtomicBool,
    wake: Notify,
    wake_events: usize,
    all: Limit,
    successes: Limit,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    events: usize,
    bytes: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new(config: &EmitterConfig) -> (Self, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel();
        let all = Limit { events: config.queue_events_max, bytes: config.queue_bytes_max };
        let percent = usize::from(config.queue_reserved_percent.min(100));
        let less = |limit: usize| limit - limit.saturating_mul(percent) / 100;
        let queue = Self {
            sender,
            events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
            wake_events: config.batch_events_max,
            all,
            successes: Limit { events: less(all.events), bytes: less(all.bytes) },
        };
        (queue, receiver)
    }

    /// Takes an item that counts for `bytes`, or refuses it at once.
    pub(crate) fn push(&self, item: T, bytes: usize, failure: bool) -> Result<(), Refused> {
        let limit = if failure { self.all } else { self.successes };
        let admitted = |counter: &AtomicUsize, by: usize, max: usize| {
            counter.try_update(SeqCst, SeqCst, |now| now.checked_add(by).filter(|&sum| sum <= max))
        };
        let before = admitted(&self.events, 1, limit.events).map_err(|_| Refused::Full)?;
        if admitted(&self.bytes, bytes, limit.bytes).is_err() {
            self.events.fetch_sub(1, SeqCst);
            return Err(Refused::Full);
        }
        // Only after having been counted: whoever closes waits until the count is zero, so an item is either
        // refused here or taken out there.
        if self.closed.load(SeqCst) || self.sender.send(item).is_err() {
            self.forget(bytes);
            return Err(Refused::Closed);
        }
        if before + 1 == self.wake_events {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// An item that counts for `bytes` was taken out.
    pub(crate) fn forget(&self, bytes: usize) {
        self.events.fetch_sub(1, SeqCst);
        self.bytes.fetch_sub(bytes, SeqCst);
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
        self.events.load(SeqCst)
    }

    /// What they count for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(SeqCst)
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
                    queue.forget(size);
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
