//! Spans of kept events on their way to a backend: handed over by ranges that are stored, which wait for nothing. A trace is
//! handed over whole or not at all; it comes in parts where ranges that saw the same room fill the queue together, or where one of
//! the two requests that it is divided among is dropped.

use std::sync::Arc;

use super::metrics::Reason;
use super::otlp::Made;
use super::queue::Queue;
use crate::traces::row::Span;

/// Where spans of kept events go beside our own table; by default nowhere.
#[derive(Debug, Clone, Default)]
pub struct EventSpans(Option<Arc<Queue>>);

impl EventSpans {
    pub(super) fn to(queue: Option<Arc<Queue>>) -> Self {
        Self(queue)
    }

    /// How many spans would be taken now.
    pub(crate) fn room(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.room())
    }

    /// Takes the spans of a range that is stored. One that is stored again, since its end was not committed, comes again.
    pub(crate) fn offer(&self, exported: Exported) {
        let Some(queue) = &self.0 else { return };
        queue.counts.dropped(Reason::Full, exported.left_out);
        queue.offer(exported.spans.into_iter().map(Made::Event));
    }
}

/// Spans of a range for a backend.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    spans: Vec<Span>,
    /// How many there was no room for.
    left_out: u64,
}

impl Exported {
    /// Adds the spans of an event, unless that would be more than `spans_max`.
    pub(crate) fn add(&mut self, spans: Vec<Span>, spans_max: usize) {
        if self.spans.len() + spans.len() > spans_max {
            self.left_out += spans.len() as u64;
        } else {
            self.spans.extend(spans);
        }
    }
}
