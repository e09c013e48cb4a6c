//! Spans of kept events: the hop, each stage that it waited for, its way into the log and out of it. A pure function of range
//! and event, made where an event is kept and nowhere else, so that what is kept has its trace and a replay makes the same.
//!
//! What happens when they can't be stored is `insert`'s. Spans that others made come in through [`crate::traces`], and share
//! no more than the table.

mod insert;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use event_log::Record;
use wide_event::registry::{Kind, Privacy};
use wide_event::{Event, FIELDS, Outcome, SpanId, Value, span_ids, stages};

use crate::range::Range;
pub(crate) use crate::traces::row::Span;
use crate::traces::row::{Attributes, Resource, Scope};

/// Longest time from a hop's begin to that of the next span. No request takes a day; a number that says so must not choose a
/// partition of its own.
const HOP_US_MAX: i64 = 86_400 * 1_000_000;

/// Events of a range that get spans. Theirs are about 1.5 kB an event, so that this is 75 MB: more events than anybody looks at
/// one by one fail in a range, and only where all fail are so many kept.
const EVENTS_MAX: usize = 50_000;

/// Systems that a stage may have waited for, by OpenTelemetry's names. What a later version knows is `other`.
const SYSTEMS: [&str; 3] = ["redis", "postgresql", "sqlite"];

/// Fields that a span says elsewhere: in its resource, its duration, its status, its children.
const SAID_ELSEWHERE: [&str; 7] =
    ["duration_us", "service", "version", "instance", "environment", "error_message", "stages"];

/// The attribute's name of each field, in their order; `None` for what is no attribute. Where somebody came from stays in
/// `requests`: no trace needs it, and traces go on to other stores.
static NAMES: LazyLock<Vec<Option<&'static str>>> = LazyLock::new(|| {
    let is_attribute = |field: &&wide_event::registry::Field| {
        matches!(field.privacy, Privacy::Public | Privacy::Free)
            && !matches!(field.kind, Kind::Time | Kind::Trace | Kind::Span)
            && !SAID_ELSEWHERE.contains(&field.name)
    };
    FIELDS.iter().map(|field| Some(field).filter(is_attribute).map(|field| field.otel)).collect()
});

/// Makes the spans of a range's events.
pub(crate) struct Maker<'r> {
    range: &'r Range,
    token: String,
    scope: Arc<Scope>,
    collector: Arc<Resource>,
    /// Of the last event: neighbours are mostly from the same process.
    process: Arc<Resource>,
    /// Events that have spans.
    events: usize,
    /// Spans that are not made, of events beyond those.
    pub(crate) omitted: u64,
}

impl<'r> Maker<'r> {
    pub(crate) fn new(range: &'r Range) -> Self {
        Self {
            range,
            token: range.token(),
            scope: Arc::new(Scope { name: "hoplog".to_owned(), version: String::new() }),
            // Whoever builds the range says the same: no instance.
            collector: Arc::new(resource([
                ("service.name", "hoplog-collector"),
                ("service.version", env!("CARGO_PKG_VERSION")),
            ])),
            process: Arc::default(),
            events: 0,
            omitted: 0,
        }
    }

    /// The spans of an event of that message, the hop first; none where the event belongs to no trace, or comes after too many.
    pub(crate) fn of(&mut self, event: &Event<'_>, record: &Record) -> Vec<Span> {
        if event.trace_id.0 == 0 || event.span_id.0 == 0 {
            return Vec::new();
        }
        if self.events == EVENTS_MAX {
            self.omitted += 3 + stages::parse(event.stages.as_str()).count() as u64;
            return Vec::new();
        }
        self.events += 1;
        self.set_process(event);
        let begun_us = event.ts.0;
        let took_us = i64::try_from(event.duration_us).unwrap_or(i64::MAX).min(HOP_US_MAX);
        let ended_us = begun_us.saturating_add(took_us);
        // Clocks differ, and Kafka's has milliseconds: nothing ends before it begins.
        let appended_us = record.appended_at_us.max(ended_us);
        let collected_us = self.range.intent.at.max(appended_us);
        let mut spans = vec![self.hop(event)];
        spans.extend(
            (0..).zip(stages::parse(event.stages.as_str())).map(|(n, stage)| self.stage(event, n, &stage)),
        );
        let publish = span_ids::publish(event.trace_id, event.span_id);
        spans.push(Span {
            attributes: self.message(record, "send"),
            ..self.span(event, publish, event.span_id, "publish", "Producer", (ended_us, appended_us))
        });
        let collect = span_ids::collect(event.trace_id, event.span_id);
        let mut attributes = self.message(record, "process");
        attributes.push((Cow::Borrowed("hoplog.range"), self.token.clone()));
        spans.push(Span {
            attributes,
            resource: Arc::clone(&self.collector),
            ..self.span(event, collect, publish, "collect", "Consumer", (appended_us, collected_us))
        });
        spans
    }

    fn set_process(&mut self, event: &Event<'_>) {
        let said = [
            ("service.name", event.service.as_str()),
            ("service.version", event.version.as_str()),
            ("service.instance.id", event.instance.as_str()),
            ("deployment.environment.name", event.environment.as_str()),
        ];
        let known = self.process.attributes.iter().map(|(_, value)| &**value);
        if !known.eq(said.iter().map(|(_, value)| *value)) {
            self.process = Arc::new(resource(said));
        }
    }

    fn hop(&self, event: &Event<'_>) -> Span {
        let name = match (event.method.as_str(), event.route.as_str()) {
            ("", "") => Cow::Borrowed("hop"),
            (only, "") | ("", only) => Cow::Borrowed(only),
            (method, route) => Cow::Owned(format!("{method} {route}")),
        };
        let failed = matches!(event.outcome, Outcome::ServerError | Outcome::Panic | Outcome::Shed);
        Span {
            duration_ns: event.duration_us.saturating_mul(1000),
            attributes: attributes(event),
            status: if failed { "Error" } else { "Unset" },
            status_message: if failed { event.error_message.as_str().to_owned() } else { String::new() },
            ..self.span(event, event.span_id, event.parent_span_id, &name, "Server", (event.ts.0, event.ts.0))
        }
    }

    fn stage(&self, event: &Event<'_>, number: u32, stage: &stages::Stage<'_>) -> Span {
        let begun_us = event.ts.0.saturating_add(stage.start_us.into());
        let times_us = (begun_us, begun_us.saturating_add(stage.duration_us.into()));
        let system = SYSTEMS.into_iter().find(|system| *system == stage.system()).unwrap_or("other");
        let id = span_ids::stage(event.trace_id, event.span_id, number);
        Span {
            attributes: vec![(Cow::Borrowed("db.system.name"), system.to_owned())],
            status: if stage.failed { "Error" } else { "Unset" },
            ..self.span(event, id, event.span_id, stage.name, "Client", times_us)
        }
    }

    /// What is said of the message, `requests` has its offset under the same name.
    fn message(&self, record: &Record, operation: &str) -> Attributes {
        let said = [
            ("messaging.system", self.range.system.to_owned()),
            ("messaging.operation.type", operation.to_owned()),
            ("messaging.destination.name", (*self.range.topic).to_owned()),
            ("messaging.destination.partition.id", self.range.partition.to_string()),
            ("hoplog.log_offset", record.offset.to_string()),
        ];
        said.map(|(name, value)| (Cow::Borrowed(name), value)).into()
    }

    /// A span of the event's trace and process, without attributes.
    fn span(
        &self,
        event: &Event<'_>,
        id: SpanId,
        parent: SpanId,
        name: &str,
        kind: &'static str,
        (begun_us, ended_us): (i64, i64),
    ) -> Span {
        Span {
            start_ns: begun_us.saturating_mul(1000),
            duration_ns: ended_us.abs_diff(begun_us).saturating_mul(1000),
            trace_id: event.trace_id.0.to_be_bytes(),
            span_id: id.0.to_be_bytes(),
            parent_span_id: Some(parent.0.to_be_bytes()).filter(|_| parent.0 != 0),
            trace_state: String::new(),
            name: name.to_owned(),
            kind,
            resource: Arc::clone(&self.process),
            scope: Arc::clone(&self.scope),
            attributes: Vec::new(),
            status: "Unset",
            status_message: String::new(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }
}

fn resource<const N: usize>(said: [(&'static str, &str); N]) -> Resource {
    let attributes = said.map(|(name, value)| (Cow::Borrowed(name), value.to_owned()));
    Resource {
        service: said.first().map_or_else(String::new, |(_, name)| (*name).to_owned()),
        attributes: attributes.into(),
    }
}

/// The fields that say something.
fn attributes(event: &Event<'_>) -> Attributes {
    let named = NAMES.iter().zip(event.values());
    named.filter_map(|(name, value)| Some((Cow::Borrowed((*name)?), text(value)?))).collect()
}

/// `None` for what is not there. Kinds that no attribute has are said by nobody.
fn text(value: Value<'_>) -> Option<String> {
    let number = match value {
        Value::Text(text) => return Some(text.to_owned()).filter(|text| !text.is_empty()),
        Value::Flag(flag) => return flag.then(|| "true".to_owned()),
        Value::U64(number) => number,
        Value::U32(number) => number.into(),
        Value::U16(number) => number.into(),
        Value::U8(number) => number.into(),
        Value::Time(_) | Value::Trace(_) | Value::Span(_) | Value::Network(_) => return None,
    };
    (number != 0).then(|| number.to_string())
}

#[cfg(test)]
mod tests;
