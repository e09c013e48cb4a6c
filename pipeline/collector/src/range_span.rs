//! What the collector says of its own work: a trace of each range, with a span for each step. They are spans of `tracing`, so
//! they cost next to nothing where no subscriber wants them; which are kept, and where they go, is `traces::export`'s.
//!
//! A span never has anything of an event in it: tokens of ranges, names of tables, numbers, and classes of failures.

use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use crate::failure::{Class, Failure};
use crate::range::Range;

/// The target of these spans, by which a subscriber tells them from all others. Nothing else has it.
pub const RANGE_SPANS: &str = "hoplog::range";

/// The field that every range has, and a trace without a range has not.
pub(crate) const TOKEN: &str = "hoplog.range";

/// The spans of a range that gathers: its own, and that of waiting for its messages.
#[derive(Debug)]
pub(crate) struct Gathering {
    range: Span,
    _consume: Span,
}

impl Gathering {
    /// The first message is there.
    pub(crate) fn begin() -> Self {
        let range = info_span!(
            target: RANGE_SPANS, parent: None, "range", "otel.kind" = "consumer", "otel.status_code" = Empty,
            "hoplog.range" = Empty, "hoplog.replay" = Empty, "hoplog.events" = Empty, "hoplog.kept" = Empty,
            "messaging.destination.name" = Empty, "messaging.destination.partition.id" = Empty,
            "messaging.batch.message_count" = Empty,
        );
        let consume = info_span!(target: RANGE_SPANS, parent: &range, "consume");
        Self { range, _consume: consume }
    }

    /// The range is cut, and on its way from now on. What is returned ends with it.
    pub(crate) fn cut(self, range: &Range) -> Span {
        let span = self.range;
        if !span.is_disabled() {
            span.record(TOKEN, range.token());
            span.record("messaging.destination.name", &*range.topic);
            span.record("messaging.destination.partition.id", range.partition.to_string());
            span.record("messaging.batch.message_count", number(range.records.len() as u64));
            span.record("hoplog.replay", range.replay);
        }
        span
    }
}

/// A step that is known by its name.
pub(crate) fn step(name: &'static str) -> Span {
    info_span!(
        target: RANGE_SPANS, "step", "otel.name" = name, "otel.status_code" = Empty, "error.type" = Empty,
    )
}

/// An insert.
pub(crate) fn insert(table: &'static str, rows: usize) -> Span {
    info_span!(
        target: RANGE_SPANS, "insert", "otel.name" = format!("insert {table}"), "otel.kind" = "client",
        "otel.status_code" = Empty, "error.type" = Empty, "db.system.name" = "clickhouse",
        "db.collection.name" = table, "hoplog.rows" = number(rows as u64),
    )
}

/// What a range added up to.
pub(crate) fn stored(events: u64, kept: u64) {
    let range = Span::current();
    range.record("hoplog.events", number(events));
    range.record("hoplog.kept", number(kept));
}

/// Does something within a span, and says there whether it failed.
pub(crate) async fn within<T, E: Into<Failure>>(
    span: Span,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    let done = work.instrument(span.clone()).await.map_err(Into::into);
    if let Err(failure) = &done {
        failed(&span, failure.class());
    }
    done
}

/// Only what kind of failure: its words may have anything in them.
pub(crate) fn failed(span: &Span, class: Class) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", class.as_str());
}

/// As OpenTelemetry has numbers.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
