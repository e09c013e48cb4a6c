//! Which traces of ranges are kept, decided at their end: those that failed or were late, and of the others one from time to
//! time. Takes what `tracing-opentelemetry` makes of the spans of `range_span`, waits for nothing and sends nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::trace::{SpanId, Status, TraceId};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::metrics::Reason;
use super::otlp::Made;
use super::queue::Queue;
use crate::range_span::TOKEN;

/// From here on a range is late: events are promised within 5 s.
const LATE: Duration = Duration::from_secs(5);

/// Spans of one trace: a range has about fifteen, and some more with each try. What a search by halves in a broken table adds is
/// the same over and over.
const SPANS_MAX: usize = 256;

/// Traces whose range has not ended: one a partition at the most, and this is more than a collector is given.
const OPEN_MAX: usize = 4096;

/// Decides about traces, and hands them on.
#[derive(Debug)]
pub(super) struct Ranges {
    open: Mutex<Open>,
    every: Duration,
    to: Vec<Arc<Queue>>,
}

#[derive(Debug, Default)]
struct Open {
    traces: HashMap<TraceId, Trace>,
    /// When a trace was kept that is like all others.
    kept: Option<Instant>,
}

/// The spans of a range so far.
#[derive(Debug, Default)]
struct Trace {
    spans: Vec<SpanData>,
    /// How many were too many.
    lost: u64,
}

impl Ranges {
    pub(super) fn new(every: Duration, to: Vec<Arc<Queue>>) -> Self {
        Self { open: Mutex::default(), every, to }
    }

    /// The trace that has ended with this span, if it is to be kept.
    fn ended(&self, span: SpanData) -> Option<Trace> {
        // Holds nothing that a panic could leave half done.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let id = span.span_context.trace_id();
        if span.parent_span_id != SpanId::INVALID {
            if open.traces.len() < OPEN_MAX || open.traces.contains_key(&id) {
                open.traces.entry(id).or_default().push(span);
            }
            return None;
        }
        let mut trace = open.traces.remove(&id).unwrap_or_default();
        let remarkable = is_late(&span) || trace.spans.iter().any(has_failed);
        // What gathered and was then another's is no range.
        let is_range = span.attributes.iter().any(|attribute| attribute.key.as_str() == TOKEN);
        let due = open.kept.is_none_or(|kept| kept.elapsed() >= self.every);
        if !is_range || !(remarkable || due) {
            return None;
        }
        if !remarkable {
            open.kept = Some(Instant::now());
        }
        // Without it the others would have no beginning.
        trace.spans.push(span);
        Some(trace)
    }
}

impl Trace {
    fn push(&mut self, span: SpanData) {
        if self.spans.len() < SPANS_MAX {
            self.spans.push(span);
        } else {
            self.lost += 1;
        }
    }
}

fn has_failed(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}

fn is_late(range: &SpanData) -> bool {
    range.end_time.duration_since(range.start_time).is_ok_and(|took| took > LATE)
}

impl SpanProcessor for Ranges {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let Some(trace) = self.ended(span) else { return };
        for queue in &self.to {
            queue.counts.dropped(Reason::Full, trace.lost);
            queue.offer(trace.spans.iter().cloned().map(Made::Own));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::SystemTime;

    use opentelemetry::trace::{SpanContext, SpanKind, TraceFlags, TraceState};
    use opentelemetry::{InstrumentationScope, KeyValue};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;
    use crate::traces::export::metrics::ExportMetrics;

    /// A span of a trace; the one with number 1 is its root.
    fn span(trace: u8, number: u8, took: Duration) -> SpanData {
        let ids = (TraceId::from_bytes([trace; 16]), SpanId::from_bytes([number; 8]));
        let start_time = SystemTime::now();
        SpanData {
            span_context: SpanContext::new(ids.0, ids.1, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: if number == 1 { SpanId::INVALID } else { SpanId::from_bytes([1; 8]) },
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: Cow::Borrowed("a span"),
            start_time,
            end_time: start_time + took,
            attributes: if number == 1 { vec![KeyValue::new(TOKEN, "t:0:1-2")] } else { Vec::new() },
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[test]
    fn what_went_wrong_is_kept_and_of_the_rest_one_from_time_to_time() {
        let queue = Arc::new(Queue::new(10_000, ExportMetrics::default().of("test")));
        let ranges = Ranges::new(Duration::from_secs(3600), vec![Arc::clone(&queue)]);
        let short = Duration::from_millis(1);
        let sent = |spans: Vec<SpanData>| {
            spans.into_iter().for_each(|span| ranges.on_end(span));
            queue.take().len()
        };
        assert_eq!(sent(vec![span(1, 2, short), span(1, 1, short)]), 2, "the first one");
        assert_eq!(sent(vec![span(2, 2, short), span(2, 1, short)]), 0, "one like it");
        assert_eq!(sent(vec![span(3, 2, short), span(3, 1, LATE * 2)]), 2, "a late one");
        let failed = SpanData { status: Status::error("no"), ..span(4, 2, short) };
        assert_eq!(sent(vec![failed, span(4, 3, short), span(4, 1, short)]), 3, "one with a failure");
        let nothing = SpanData { attributes: Vec::new(), ..span(5, 1, LATE * 2) };
        assert_eq!(sent(vec![nothing]), 0, "no range");
        assert!(ranges.open.lock().unwrap().traces.is_empty());
    }

    #[test]
    fn a_trace_is_bounded_and_keeps_its_root() {
        let queue = Arc::new(Queue::new(10_000, ExportMetrics::default().of("test")));
        let ranges = Ranges::new(Duration::ZERO, vec![Arc::clone(&queue)]);
        (0..1000).for_each(|_| ranges.on_end(span(1, 2, Duration::ZERO)));
        ranges.on_end(span(1, 1, Duration::ZERO));
        let sent = queue.take();
        assert_eq!(sent.len(), SPANS_MAX + 1);
        let is_root = |span: &Made| matches!(span, Made::Own(span) if span.parent_span_id == SpanId::INVALID);
        assert!(sent.last().is_some_and(is_root));
    }
}
