//! Spans as they are held, and the block of columns that an insert into `otel_traces` sends. What is said once for many spans is
//! held once, and counted for each: in the table it is there as often. Decides nothing about what a span may hold.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use warehouse::{ArrayColumn, Block, Column, MapColumn, SymbolColumn, TextColumn, UnevenColumns};

/// The table of spans.
pub(crate) const TABLE: &str = "otel_traces";

/// Names and values. Names that are ours are no copies.
pub(crate) type Attributes = Vec<(Cow<'static, str>, String)>;

/// Who made a span: the process, as it describes itself.
#[derive(Debug, Default)]
pub(crate) struct Resource {
    pub(crate) service: String,
    pub(crate) attributes: Attributes,
}

/// The library that made a span.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// A span, checked and without what must not be stored.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) start_ns: i64,
    pub(crate) duration_ns: u64,
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) parent_span_id: Option<[u8; 8]>,
    pub(crate) trace_state: String,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) resource: Arc<Resource>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) attributes: Attributes,
    pub(crate) status: &'static str,
    pub(crate) status_message: String,
    pub(crate) events: Vec<Event>,
    pub(crate) links: Vec<Link>,
}

/// Something that happened within a span.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) at_ns: i64,
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
}

/// A span of another trace.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) trace_state: String,
    pub(crate) attributes: Attributes,
}

impl Resource {
    /// About what it takes beside its texts, which each of its spans counts.
    pub(crate) fn shared_bytes(&self) -> usize {
        size_of::<Self>() + places(&self.attributes)
    }
}

impl Span {
    /// About what it takes while it is held, and no less than as a row, whose fixed columns are smaller than its struct.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.trace_state, &self.name, &self.resource.service, &self.scope.name];
        let texts = texts.into_iter().chain([&self.scope.version, &self.status_message]);
        let event = |event: &Event| size_of::<Event>() + event.name.len() + bytes_of(&event.attributes);
        let link = |link: &Link| size_of::<Link>() + link.trace_state.len() + bytes_of(&link.attributes);
        let lists = self.events.iter().map(event).chain(self.links.iter().map(link)).sum::<usize>();
        let maps = texts_of(&self.resource.attributes) + bytes_of(&self.attributes);
        size_of::<Self>() + texts.map(String::len).sum::<usize>() + maps + lists
    }
}

fn bytes_of(attributes: &Attributes) -> usize {
    texts_of(attributes) + places(attributes)
}

/// As a row has them, with room for the lengths.
fn texts_of(attributes: &Attributes) -> usize {
    attributes.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
}

/// What they take without their texts.
fn places(attributes: &Attributes) -> usize {
    attributes.len() * size_of::<(Cow<'static, str>, String)>()
}

/// The rows of spans in the making, in their order.
#[derive(Default)]
pub(crate) struct Rows {
    start_ns: Vec<i64>,
    duration_ns: Vec<u64>,
    trace_id: TextColumn,
    span_id: TextColumn,
    parent_span_id: TextColumn,
    trace_state: TextColumn,
    name: SymbolColumn,
    kind: SymbolColumn,
    service: SymbolColumn,
    resource: MapColumn,
    scope_name: TextColumn,
    scope_version: TextColumn,
    attributes: MapColumn,
    status: SymbolColumn,
    status_message: TextColumn,
    lists: Lists,
}

/// Columns of lists in the making.
#[derive(Default)]
struct Lists {
    event_ends: Vec<u64>,
    event_at: Vec<i64>,
    event_name: TextColumn,
    event_attributes: MapColumn,
    link_ends: Vec<u64>,
    link_trace_id: TextColumn,
    link_span_id: TextColumn,
    link_trace_state: TextColumn,
    link_attributes: MapColumn,
}

/// The rows of spans, in their order.
///
/// # Errors
/// A bug here: columns of different lengths.
pub(crate) fn block<'a>(spans: impl Iterator<Item = &'a Span>) -> Result<Block, UnevenColumns> {
    let mut rows = Rows::default();
    spans.for_each(|span| rows.push(span));
    rows.into_block()
}

impl Rows {
    /// Adds a span.
    pub(crate) fn push(&mut self, span: &Span) {
        self.start_ns.push(span.start_ns);
        self.duration_ns.push(span.duration_ns);
        self.trace_id.push(hex(&span.trace_id));
        self.span_id.push(hex(&span.span_id));
        self.parent_span_id.push(span.parent_span_id.map_or_else(String::new, |id| hex(&id)));
        self.trace_state.push(&span.trace_state);
        self.name.push(&span.name);
        self.kind.push(span.kind);
        self.service.push(&span.resource.service);
        self.resource.push(pairs(&span.resource.attributes));
        self.scope_name.push(&span.scope.name);
        self.scope_version.push(&span.scope.version);
        self.attributes.push(pairs(&span.attributes));
        self.status.push(span.status);
        self.status_message.push(&span.status_message);
        self.lists.push(span);
    }

    /// The block that is sent.
    ///
    /// # Errors
    /// A bug here: columns of different lengths.
    pub(crate) fn into_block(self) -> Result<Block, UnevenColumns> {
        let mut columns = vec![
            ("Timestamp", Column::Nanos(self.start_ns)),
            ("TraceId", Column::Text(self.trace_id)),
            ("SpanId", Column::Text(self.span_id)),
            ("ParentSpanId", Column::Text(self.parent_span_id)),
            ("TraceState", Column::Text(self.trace_state)),
            ("SpanName", Column::Symbol(self.name)),
            ("SpanKind", Column::Symbol(self.kind)),
            ("ServiceName", Column::Symbol(self.service)),
            ("ResourceAttributes", Column::Map(self.resource)),
            ("ScopeName", Column::Text(self.scope_name)),
            ("ScopeVersion", Column::Text(self.scope_version)),
            ("SpanAttributes", Column::Map(self.attributes)),
            ("Duration", Column::U64(self.duration_ns)),
            ("StatusCode", Column::Symbol(self.status)),
            ("StatusMessage", Column::Text(self.status_message)),
        ];
        columns.extend(self.lists.into_columns());
        Block::new(columns)
    }
}

impl Lists {
    fn push(&mut self, span: &Span) {
        for event in &span.events {
            self.event_at.push(event.at_ns);
            self.event_name.push(&event.name);
            self.event_attributes.push(pairs(&event.attributes));
        }
        self.event_ends.push(self.event_at.len() as u64);
        for link in &span.links {
            self.link_trace_id.push(hex(&link.trace_id));
            self.link_span_id.push(hex(&link.span_id));
            self.link_trace_state.push(&link.trace_state);
            self.link_attributes.push(pairs(&link.attributes));
        }
        self.link_ends.push(self.link_trace_id.len() as u64);
    }

    fn into_columns(self) -> [(&'static str, Column); 7] {
        let array = |ends: &[u64], items| Column::Array(Box::new(ArrayColumn::new(ends.to_vec(), items)));
        let (events, links) = (self.event_ends, self.link_ends);
        [
            ("Events.Timestamp", array(&events, Column::Nanos(self.event_at))),
            ("Events.Name", array(&events, Column::Text(self.event_name))),
            ("Events.Attributes", array(&events, Column::Map(self.event_attributes))),
            ("Links.TraceId", array(&links, Column::Text(self.link_trace_id))),
            ("Links.SpanId", array(&links, Column::Text(self.link_span_id))),
            ("Links.TraceState", array(&links, Column::Text(self.link_trace_state))),
            ("Links.Attributes", array(&links, Column::Map(self.link_attributes))),
        ]
    }
}

fn pairs(attributes: &Attributes) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().map(|(name, value)| (&**name, &**value))
}

/// Lower-case hex digits, as the layout has ids.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_counts_its_structs_and_not_its_texts_alone() {
        let attributes = |count: usize| vec![(Cow::default(), String::new()); count];
        let event = || Event { at_ns: 0, name: String::new(), attributes: attributes(1) };
        let link = || Link {
            trace_id: [1; 16],
            span_id: [1; 8],
            trace_state: String::new(),
            attributes: attributes(1),
        };
        let span = |count: usize| Span {
            start_ns: 0,
            duration_ns: 0,
            trace_id: [1; 16],
            span_id: [1; 8],
            parent_span_id: None,
            trace_state: String::new(),
            name: String::new(),
            kind: "Internal",
            resource: Arc::new(Resource::default()),
            scope: Arc::new(Scope::default()),
            attributes: attributes(count),
            status: "Unset",
            status_message: String::new(),
            events: (0..count).map(|_| event()).collect(),
            links: (0..count).map(|_| link()).collect(),
        };
        let pair = size_of::<(String, String)>();
        assert!(span(0).bytes() >= size_of::<Span>() && size_of::<Span>() >= 200);
        let each = size_of::<Event>() + size_of::<Link>() + 3 * pair;
        assert!(span(10).bytes() >= size_of::<Span>() + 10 * each);
        let resource = Resource { attributes: attributes(10), ..Resource::default() };
        assert!(resource.shared_bytes() >= 10 * pair);
    }
}
