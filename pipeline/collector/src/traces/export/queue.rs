//! Spans that wait for a destination: bounded, and never waited for. What does not fit is dropped and counted. Knows no network.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::metrics::{Counts, Reason};
use super::otlp::Made;

/// Spans of one request: what OpenTelemetry's own exporters send at once.
pub(super) const BATCH_SPANS_MAX: usize = 512;

/// How long spans wait for company: a request a second is nothing to a backend, and people wait for no span longer.
const COMPANY_MAX: Duration = Duration::from_secs(1);

/// What waits for one destination.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Made>>,
    filled: Notify,
    spans_max: usize,
    pub(super) counts: Counts,
}

impl Queue {
    pub(super) fn new(spans_max: usize, counts: Counts) -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), spans_max, counts }
    }

    /// Takes what there is room for; the rest is lost, in the middle of a trace if need be.
    pub(super) fn offer(&self, spans: impl IntoIterator<Item = Made>) {
        let mut waiting = self.waiting();
        let mut spans = spans.into_iter();
        let room = self.spans_max.saturating_sub(waiting.len());
        waiting.extend(spans.by_ref().take(room));
        self.counts.waiting(waiting.len());
        drop(waiting);
        self.counts.dropped(Reason::Full, spans.count() as u64);
        self.filled.notify_one();
    }

    /// How many more there is room for.
    pub(super) fn room(&self) -> usize {
        self.spans_max.saturating_sub(self.waiting().len())
    }

    /// Waits until something is there, then for company.
    pub(super) async fn next(&self) -> Vec<Made> {
        loop {
            // Registered before the look, so that nothing is missed in between.
            let filled = self.filled.notified();
            if !self.waiting().is_empty() {
                break;
            }
            filled.await;
        }
        if self.waiting().len() < BATCH_SPANS_MAX {
            tokio::time::sleep(COMPANY_MAX).await;
        }
        self.take()
    }

    /// The oldest ones; empty where nothing waits.
    pub(super) fn take(&self) -> Vec<Made> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(BATCH_SPANS_MAX);
        let taken = waiting.drain(..count).collect();
        self.counts.waiting(waiting.len());
        taken
    }

    /// Holds nothing that a panic could leave half done.
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Made>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
