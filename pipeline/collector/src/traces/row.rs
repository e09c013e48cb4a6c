//! Spans as they are held, and the block of columns that an insert into `otel_traces` sends. What is said once for many spans is
//! held once, and counted for each: in the table it is there as often. Decides nothing about what a span may hold.

use std::fmt::Write as _;
use std::sync::Arc;

use warehouse::{ArrayColumn, Block, Column, MapColumn, SymbolColumn, TextColumn, UnevenColumns};

/// The table of spans.
pub(super) const TABLE: &str = "otel_traces";

/// Names and values.
pub(super) type Attributes = Vec<(String, String)>;

/// Who made a span: the process, as it describes itself.
#[derive(Debug, Default)]
pub(super) struct Resource {
    pub(super) service: String,
    pub(super) attributes: Attributes,
}

/// The library that made a span.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) name: String,
    pub(super) version: String,
}

/// A span, checked and without what must not be stored.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) start_ns: i64,
    pub(super) duration_ns: u64,
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) parent_span_id: Option<[u8; 8]>,
    pub(super) trace_state: String,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) resource: Arc<Resource>,
    pub(super) scope: Arc<Scope>,
    pub(super) attributes: Attributes,
    pub(super) status: &'static str,
    pub(super) status_message: String,
    pub(super) events: Vec<Event>,
    pub(super) links: Vec<Link>,
}

/// Something that happened within a span.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) at_ns: i64,
    pub(super) name: String,
    pub(super) attributes: Attributes,
}

/// A span of another trace.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) trace_state: String,
    pub(super) attributes: Attributes,
}

impl Resource {
    /// About what it takes beside its texts, which each of its spans counts.
    pub(super) fn shared_bytes(&self) -> usize {
        size_of::<Self>() + places(&self.attributes)
    }
}

impl Span {
    /// About what it takes while it is held, and no less than as a row, whose fixed columns are smaller than its struct.
    pub(super) fn bytes(&self) -> usize {
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
    attributes.len() * size_of::<(String, String)>()
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
pub(super) fn block<'a>(spans: impl Iterator<Item = &'a Span> + Clone) -> Result<Block, UnevenColumns> {
    let text = |of: fn(&Span) -> &str| {
        let mut column = TextColumn::default();
        spans.clone().for_each(|span| column.push(of(span)));
        Column::Text(column)
    };
    let symbol = |of: fn(&Span) -> &str| {
        let mut column = SymbolColumn::default();
        spans.clone().for_each(|span| column.push(of(span)));
        Column::Symbol(column)
    };
    let map = |of: fn(&Span) -> &Attributes| {
        let mut column = MapColumn::default();
        spans.clone().for_each(|span| column.push(pairs(of(span))));
        Column::Map(column)
    };
    let mut ids = [TextColumn::default(), TextColumn::default(), TextColumn::default()];
    let mut lists = Lists::default();
    for span in spans.clone() {
        ids[0].push(hex(&span.trace_id));
        ids[1].push(hex(&span.span_id));
        ids[2].push(span.parent_span_id.map_or_else(String::new, |id| hex(&id)));
        lists.push(span);
    }
    let [trace_id, span_id, parent_span_id] = ids.map(Column::Text);
    let mut columns = vec![
        ("Timestamp", Column::Nanos(spans.clone().map(|span| span.start_ns).collect())),
        ("TraceId", trace_id),
        ("SpanId", span_id),
        ("ParentSpanId", parent_span_id),
        ("TraceState", text(|span| &span.trace_state)),
        ("SpanName", symbol(|span| &span.name)),
        ("SpanKind", symbol(|span| span.kind)),
        ("ServiceName", symbol(|span| &span.resource.service)),
        ("ResourceAttributes", map(|span| &span.resource.attributes)),
        ("ScopeName", text(|span| &span.scope.name)),
        ("ScopeVersion", text(|span| &span.scope.version)),
        ("SpanAttributes", map(|span| &span.attributes)),
        ("Duration", Column::U64(spans.clone().map(|span| span.duration_ns).collect())),
        ("StatusCode", symbol(|span| span.status)),
        ("StatusMessage", text(|span| &span.status_message)),
    ];
    columns.extend(lists.into_columns());
    Block::new(columns)
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
pub(super) fn hex(bytes: &[u8]) -> String {
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
        let attributes = |count: usize| vec![(String::new(), String::new()); count];
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
