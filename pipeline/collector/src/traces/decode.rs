//! OTLP to spans: checks each, and says of those that can't be stored why. A bad span does not hold up its neighbours. Reads
//! messages, knows nothing of how they came, and stores nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::trace::v1 as otlp;

use super::attributes;
use super::privacy::{cut_text, cut_version};
use super::row::{Event, Link, Resource, Scope, Span};

/// How far a span's begin may be ahead of the clock here: as for events, what clocks differ by at the most.
const AHEAD_NS_MAX: i64 = 5 * 60 * 1_000_000_000;
/// How far it may be behind: as for events. What is older would touch ever more partitions in one insert.
const BEHIND_NS_MAX: i64 = 7 * 24 * 3600 * 1_000_000_000;

/// Why a span can't be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reason {
    /// Its trace's id is not 16 bytes, or zero.
    TraceId,
    /// Its own id is not 8 bytes, or zero.
    SpanId,
    /// Its parent's id is there and not 8 bytes.
    ParentSpanId,
    /// A link's id is wrong.
    LinkId,
    /// It began longer ago than spans may be stored late.
    TooOld,
    /// It began in the future.
    FutureDated,
    /// It ended before it began, or at no time that can be written down.
    Times,
}

impl Reason {
    /// The symbol in metrics and answers.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::TraceId => "trace_id",
            Self::SpanId => "span_id",
            Self::ParentSpanId => "parent_span_id",
            Self::LinkId => "link_id",
            Self::TooOld => "too_old",
            Self::FutureDated => "future_dated",
            Self::Times => "times",
        }
    }
}

/// What an export holds.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) spans: Vec<Span>,
    /// What they take while they are held, and as rows.
    pub(super) bytes: usize,
    /// Of the rest, how many by reason.
    pub(super) rejected: BTreeMap<Reason, u64>,
}

impl Decoded {
    /// What is said of spans that are not stored.
    pub(super) fn partial_success(&self) -> Option<ExportTracePartialSuccess> {
        let rejected = self.rejected.values().sum::<u64>();
        if rejected == 0 {
            return None;
        }
        let mut message = "spans can't be stored:".to_owned();
        for (reason, count) in &self.rejected {
            // Writing to a string can't fail.
            let _ = write!(message, " {} {count},", reason.as_str());
        }
        message.pop();
        let rejected_spans = i64::try_from(rejected).unwrap_or(i64::MAX);
        Some(ExportTracePartialSuccess { rejected_spans, error_message: message })
    }
}

/// An export whose spans would take more room as rows than one may.
#[derive(Debug)]
pub(super) struct TooLarge;

/// Reads an export that came at `now_ns`. Ends as soon as its rows are larger than `bytes_max`.
pub(super) fn decode(
    request: ExportTraceServiceRequest,
    now_ns: i64,
    bytes_max: usize,
) -> Result<Decoded, TooLarge> {
    let mut decoded = Decoded::default();
    for of_resource in request.resource_spans {
        let resource = Arc::new(resource(of_resource.resource.unwrap_or_default().attributes));
        decoded.bytes += resource.shared_bytes();
        for of_scope in of_resource.scope_spans {
            let scope = of_scope.scope.unwrap_or_default();
            let scope = Arc::new(Scope { name: cut_text(scope.name), version: cut_version(scope.version) });
            decoded.bytes += size_of::<Scope>();
            for found in of_scope.spans {
                match span(found, &resource, &scope, now_ns) {
                    Ok(span) => {
                        decoded.bytes += span.bytes();
                        if decoded.bytes > bytes_max {
                            return Err(TooLarge);
                        }
                        decoded.spans.push(span);
                    }
                    Err(reason) => *decoded.rejected.entry(reason).or_default() += 1,
                }
            }
        }
    }
    Ok(decoded)
}

fn resource(found: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>) -> Resource {
    let attributes = attributes::of(found);
    let name = attributes.iter().find(|(key, _)| key == "service.name");
    Resource { service: name.map_or_else(String::new, |(_, name)| name.clone()), attributes }
}

fn span(
    found: otlp::Span,
    resource: &Arc<Resource>,
    scope: &Arc<Scope>,
    now_ns: i64,
) -> Result<Span, Reason> {
    let (kind, status) = (kind(found.kind), found.status.unwrap_or_default());
    let trace_id = id(&found.trace_id).ok_or(Reason::TraceId)?;
    let span_id = id(&found.span_id).ok_or(Reason::SpanId)?;
    let parent_span_id = match &found.parent_span_id[..] {
        // Some write a missing id as zeros.
        [] | [0, 0, 0, 0, 0, 0, 0, 0] => None,
        given => Some(id(given).ok_or(Reason::ParentSpanId)?),
    };
    let start_ns = i64::try_from(found.start_time_unix_nano).map_err(|_| Reason::Times)?;
    if start_ns > now_ns.saturating_add(AHEAD_NS_MAX) {
        return Err(Reason::FutureDated);
    }
    if start_ns < now_ns.saturating_sub(BEHIND_NS_MAX) {
        return Err(Reason::TooOld);
    }
    let duration_ns =
        found.end_time_unix_nano.checked_sub(found.start_time_unix_nano).ok_or(Reason::Times)?;
    let events = found.events.into_iter().map(event).collect::<Result<_, _>>()?;
    let links = found.links.into_iter().map(link).collect::<Result<_, _>>()?;
    Ok(Span {
        start_ns,
        duration_ns,
        trace_id,
        span_id,
        parent_span_id,
        trace_state: cut_text(found.trace_state),
        name: cut_text(found.name),
        kind,
        resource: Arc::clone(resource),
        scope: Arc::clone(scope),
        attributes: attributes::of(found.attributes),
        status: status_code(status.code),
        status_message: cut_text(status.message),
        events,
        links,
    })
}

fn event(found: otlp::span::Event) -> Result<Event, Reason> {
    let at_ns = i64::try_from(found.time_unix_nano).map_err(|_| Reason::Times)?;
    Ok(Event { at_ns, name: cut_text(found.name), attributes: attributes::of(found.attributes) })
}

fn link(found: otlp::span::Link) -> Result<Link, Reason> {
    let trace_id = id(&found.trace_id).ok_or(Reason::LinkId)?;
    let span_id = id(&found.span_id).ok_or(Reason::LinkId)?;
    let attributes = attributes::of(found.attributes);
    Ok(Link { trace_id, span_id, trace_state: cut_text(found.trace_state), attributes })
}

/// An id of the right length; zeros are none.
fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok().filter(|id| *id != [0; N])
}

/// As OpenTelemetry's exporter writes it.
fn kind(kind: i32) -> &'static str {
    match otlp::span::SpanKind::try_from(kind) {
        Ok(otlp::span::SpanKind::Internal) => "Internal",
        Ok(otlp::span::SpanKind::Server) => "Server",
        Ok(otlp::span::SpanKind::Client) => "Client",
        Ok(otlp::span::SpanKind::Producer) => "Producer",
        Ok(otlp::span::SpanKind::Consumer) => "Consumer",
        Ok(otlp::span::SpanKind::Unspecified) | Err(_) => "Unspecified",
    }
}

/// As OpenTelemetry's exporter writes it.
fn status_code(code: i32) -> &'static str {
    match otlp::status::StatusCode::try_from(code) {
        Ok(otlp::status::StatusCode::Ok) => "Ok",
        Ok(otlp::status::StatusCode::Error) => "Error",
        Ok(otlp::status::StatusCode::Unset) | Err(_) => "Unset",
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;

    use super::*;

    const NOW_NS: i64 = 1_763_764_620_000_000_000;

    fn good() -> otlp::Span {
        otlp::Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            start_time_unix_nano: NOW_NS as u64,
            end_time_unix_nano: NOW_NS as u64 + 5,
            ..otlp::Span::default()
        }
    }

    fn export(spans: Vec<otlp::Span>, resource: &str) -> ExportTraceServiceRequest {
        let value = Some(AnyValue { value: Some(any_value::Value::StringValue(resource.to_owned())) });
        let attributes = vec![KeyValue { key: "service.name".to_owned(), value, ..KeyValue::default() }];
        let scope_spans = vec![otlp::ScopeSpans { spans, ..otlp::ScopeSpans::default() }];
        let resource = Some(OtlpResource { attributes, ..OtlpResource::default() });
        let resource_spans =
            vec![otlp::ResourceSpans { resource, scope_spans, ..otlp::ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }
    }

    #[test]
    fn bad_spans_are_named_and_good_ones_go_on() {
        let with = |change: fn(&mut otlp::Span)| {
            let mut span = good();
            change(&mut span);
            span
        };
        let cases = vec![
            (with(|_| ()), None),
            (with(|span| span.parent_span_id = vec![0; 8]), None),
            (with(|span| span.parent_span_id = vec![3; 8]), None),
            (with(|span| span.end_time_unix_nano = span.start_time_unix_nano), None),
            (with(|span| span.trace_id = vec![1; 15]), Some(Reason::TraceId)),
            (with(|span| span.trace_id = vec![0; 16]), Some(Reason::TraceId)),
            (with(|span| span.span_id.clear()), Some(Reason::SpanId)),
            (with(|span| span.parent_span_id = vec![3; 7]), Some(Reason::ParentSpanId)),
            (with(|span| span.links.push(otlp::span::Link::default())), Some(Reason::LinkId)),
            (with(|span| span.start_time_unix_nano = 0), Some(Reason::TooOld)),
            (with(|span| span.start_time_unix_nano += 3_600_000_000_000), Some(Reason::FutureDated)),
            (with(|span| span.start_time_unix_nano = u64::MAX), Some(Reason::Times)),
            (with(|span| span.end_time_unix_nano -= 6), Some(Reason::Times)),
        ];
        let mut expected: BTreeMap<Reason, u64> = BTreeMap::new();
        cases
            .iter()
            .filter_map(|(_, reason)| *reason)
            .for_each(|reason| *expected.entry(reason).or_default() += 1);
        let spans: Vec<_> = cases.into_iter().map(|(span, _)| span).collect();
        let decoded = decode(export(spans, "web"), NOW_NS, usize::MAX).unwrap();
        assert_eq!((decoded.spans.len(), &decoded.rejected), (4, &expected));
        assert_eq!(decoded.spans[0].resource.service, "web");
        let said = decoded.partial_success().unwrap();
        assert_eq!(said.rejected_spans, 9);
        assert!(said.error_message.starts_with("spans can't be stored: trace_id 2, span_id 1,"), "{said:?}");
        assert!(decode(export(vec![good()], "web"), NOW_NS, usize::MAX).unwrap().partial_success().is_none());
    }

    #[test]
    fn every_text_that_others_wrote_is_cut() {
        let address = || "a=203.0.113.77".to_owned();
        let link = otlp::span::Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: address(),
            ..otlp::span::Link::default()
        };
        let mut request = export(
            vec![otlp::Span { trace_state: address(), links: vec![link], ..good() }],
            "203.0.113.77:80 x",
        );
        let scope = |version: &str| {
            Some(opentelemetry_proto::tonic::common::v1::InstrumentationScope {
                name: address(),
                version: version.to_owned(),
                ..Default::default()
            })
        };
        request.resource_spans[0].scope_spans[0].scope = scope("https://example.org/?token=1");
        let mut decoded = decode(request.clone(), NOW_NS, usize::MAX).unwrap();
        let span = decoded.spans.pop().unwrap();
        assert_eq!((&*span.trace_state, &*span.links[0].trace_state), ("a=<ip>", "a=<ip>"));
        assert_eq!((&*span.scope.name, &*span.scope.version), ("a=<ip>", "https://example.org/?…"));
        assert!(!format!("{span:?}").contains("203.0.113.77"), "{span:?}");
        // Four numbers are a version, too.
        request.resource_spans[0].scope_spans[0].scope = scope("1.0.0.0");
        let decoded = decode(request, NOW_NS, usize::MAX).unwrap();
        assert_eq!(decoded.spans[0].scope.version, "1.0.0.0");
    }

    #[test]
    fn a_resource_counts_for_each_of_its_spans() {
        let small = export(vec![good(); 100], &"r".repeat(10_000));
        assert!(decode(small.clone(), NOW_NS, 100_000).is_err());
        let bytes = decode(small, NOW_NS, 10_000_000).unwrap().bytes;
        assert!((2_000_000..4_000_000).contains(&bytes), "{bytes}");
    }
}
