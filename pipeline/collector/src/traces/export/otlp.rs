//! Spans as OTLP has them: those of kept events, which are made as rows of our own table, and the collector's own, which
//! OpenTelemetry's SDK made. Sends nothing.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanData;
use wide_event::FIELDS;
use wide_event::registry::Kind;

use crate::traces::row;

/// A span that waits to be sent.
#[derive(Debug)]
pub(super) enum Made {
    /// Of the collector's own work.
    Own(SpanData),
    /// Of a kept event.
    Event(row::Span),
}

/// Attributes that are numbers. Rows have texts only, and a backend is asked for `http.response.status_code >= 500`.
static NUMBERS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let is_number = |kind| matches!(kind, Kind::U64 | Kind::U32 | Kind::U16 | Kind::U8);
    FIELDS.iter().filter(|field| is_number(field.kind)).map(|field| field.otel).collect()
});

/// A request with all of them. `process`: the resource of the collector's own.
pub(super) fn request(spans: Vec<Made>, process: &ResourceAttributesWithSchema) -> ExportTraceServiceRequest {
    let (mut own, mut of_events) = (Vec::new(), Vec::<(Arc<row::Resource>, ScopeSpans)>::new());
    for span in spans {
        match span {
            Made::Own(span) => own.push(span),
            Made::Event(span) => {
                // Neighbours share their resource, and there are few of them.
                let at = of_events.iter().position(|(resource, _)| Arc::ptr_eq(resource, &span.resource));
                let at = at.unwrap_or_else(|| {
                    of_events.push((Arc::clone(&span.resource), scope(&span.scope)));
                    of_events.len() - 1
                });
                of_events[at].1.spans.push(otlp(span));
            }
        }
    }
    let mut resource_spans = Vec::new();
    if !own.is_empty() {
        resource_spans = group_spans_by_resource_and_scope(own, process);
    }
    resource_spans.extend(of_events.into_iter().map(|(resource, spans)| {
        let attributes = resource.attributes.iter().cloned().map(attribute).collect();
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![spans],
            schema_url: String::new(),
        }
    }));
    ExportTraceServiceRequest { resource_spans }
}

/// All spans that we make have the same one.
fn scope(scope: &row::Scope) -> ScopeSpans {
    let scope = InstrumentationScope {
        name: scope.name.clone(),
        version: scope.version.clone(),
        ..InstrumentationScope::default()
    };
    ScopeSpans { scope: Some(scope), ..ScopeSpans::default() }
}

/// Without events and links, of which spans of events have none.
fn otlp(span: row::Span) -> Span {
    let start_time_unix_nano = u64::try_from(span.start_ns).unwrap_or(0);
    Span {
        trace_id: span.trace_id.to_vec(),
        span_id: span.span_id.to_vec(),
        parent_span_id: span.parent_span_id.map_or_else(Vec::new, |id| id.to_vec()),
        trace_state: span.trace_state,
        name: span.name,
        kind: kind(span.kind).into(),
        start_time_unix_nano,
        end_time_unix_nano: start_time_unix_nano.saturating_add(span.duration_ns),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        status: Some(Status { code: status(span.status).into(), message: span.status_message }),
        ..Span::default()
    }
}

fn kind(kind: &str) -> SpanKind {
    match kind {
        "Server" => SpanKind::Server,
        "Client" => SpanKind::Client,
        "Producer" => SpanKind::Producer,
        "Consumer" => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

fn status(status: &str) -> StatusCode {
    match status {
        "Error" => StatusCode::Error,
        "Ok" => StatusCode::Ok,
        _ => StatusCode::Unset,
    }
}

fn attribute((name, text): (Cow<'static, str>, String)) -> KeyValue {
    let number = NUMBERS.contains(&*name).then(|| text.parse().ok()).flatten();
    let value = number.map_or(Value::StringValue(text), Value::IntValue);
    KeyValue { key: name.into_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(number: u8, resource: &Arc<row::Resource>) -> Made {
        Made::Event(row::Span {
            start_ns: 1_000,
            duration_ns: 500,
            trace_id: [1; 16],
            span_id: [number; 8],
            parent_span_id: (number > 1).then_some([1; 8]),
            trace_state: String::new(),
            name: "GET /{code}".to_owned(),
            kind: "Server",
            resource: Arc::clone(resource),
            scope: Arc::new(row::Scope { name: "hoplog".to_owned(), version: String::new() }),
            attributes: vec![
                ("http.response.status_code".into(), "503".to_owned()),
                ("http.route".into(), "404".to_owned()),
            ],
            status: "Error",
            status_message: "away".to_owned(),
            events: Vec::new(),
            links: Vec::new(),
        })
    }

    #[test]
    fn spans_of_events_are_said_as_they_are_and_a_resource_once() {
        let resource = |name: &str| {
            let attributes = vec![("service.name".into(), name.to_owned())];
            Arc::new(row::Resource { service: name.to_owned(), attributes })
        };
        let (web, api) = (resource("web"), resource("api"));
        let spans = vec![span(1, &web), span(2, &api), span(3, &web)];
        let request = request(spans, &ResourceAttributesWithSchema::default());
        let said: Vec<_> = request
            .resource_spans
            .iter()
            .map(|of| (of.resource.clone().unwrap().attributes, of.scope_spans[0].spans.clone()))
            .collect();
        assert_eq!(said.iter().map(|(_, spans)| spans.len()).collect::<Vec<_>>(), [2, 1]);
        let text = |text: &str| Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
        assert_eq!((&*said[0].0[0].key, &said[0].0[0].value), ("service.name", &text("web")));
        let [first, last] = &said[0].1[..] else { panic!("two") };
        assert_eq!((first.parent_span_id.len(), &*last.parent_span_id), (0, &[1; 8][..]));
        assert_eq!((first.start_time_unix_nano, first.end_time_unix_nano), (1_000, 1_500));
        assert_eq!(
            (first.kind(), first.status.clone().unwrap().code()),
            (SpanKind::Server, StatusCode::Error)
        );
        let number = Some(AnyValue { value: Some(Value::IntValue(503)) });
        // Only what is a number by its field, not what looks like one.
        assert_eq!((&first.attributes[0].value, &first.attributes[1].value), (&number, &text("404")));
    }
}
