use super::*;
use bytes::Bytes;
use event_log::{ContentType, Schema};
use std::collections::HashSet;
use wide_event::{Network, Text, Timestamp, TraceId, Visitor};

use crate::intent::Intent;
use crate::policy::Policy;

const NOW_US: i64 = 1_763_764_620_000_000;

fn range() -> Range {
    let policy = Arc::new(Policy::load(None).unwrap());
    Range {
        system: "kafka",
        topic: "t".into(),
        partition: 3,
        first: 10,
        records: Arc::new([]),
        intent: Intent::new(12, policy.version().to_owned(), NOW_US + 900_000, true),
        policy,
        replay: false,
    }
}

fn record(appended_at_us: i64) -> Record {
    Record {
        offset: 11,
        appended_at_us,
        payload: Bytes::new(),
        events: Some(1),
        schema: Schema::Events,
        content_type: ContentType::Ndjson,
    }
}

fn event() -> Event<'static> {
    Event {
        ts: Timestamp(NOW_US),
        duration_us: 5000,
        trace_id: TraceId(7),
        span_id: SpanId(8),
        parent_span_id: SpanId(9),
        service: Text::new("shortener"),
        instance: Text::new("web-1"),
        method: Text::new("GET"),
        route: Text::new("/{code}"),
        status: 503,
        outcome: Outcome::ServerError,
        error_type: Text::new("store"),
        error_message: Text::new("link store: away"),
        code: Text::new("abc"),
        client_net: Network::V4([203, 0, 113]),
        visitor: Visitor(77),
        country: Text::new("DE"),
        stages: Text::new("redis.get@12+340 postgresql.find@360+2100! later.thing@2500+1"),
        ..Event::default()
    }
}

fn attribute<'s>(span: &'s Span, name: &str) -> Option<&'s str> {
    span.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_hop_its_stages_and_its_way_through_the_log_are_one_tree() {
    let range = range();
    let spans = Maker::new(&range).of(&event(), &record(NOW_US + 300_000));
    let said: Vec<_> = spans
        .iter()
        .map(|span| {
            (&*span.name, span.kind, span.start_ns / 1000 - NOW_US, span.duration_ns / 1000, span.status)
        })
        .collect();
    assert_eq!(
        said,
        [
            ("GET /{code}", "Server", 0, 5000, "Error"),
            ("redis.get", "Client", 12, 340, "Unset"),
            ("postgresql.find", "Client", 360, 2100, "Error"),
            ("later.thing", "Client", 2500, 1, "Unset"),
            ("publish", "Producer", 5000, 295_000, "Unset"),
            ("collect", "Consumer", 300_000, 600_000, "Unset"),
        ]
    );
    let id = |id: u64| Some(id.to_be_bytes());
    let parents: Vec<_> = spans.iter().map(|span| span.parent_span_id).collect();
    assert_eq!(parents, [id(9), id(8), id(8), id(8), id(8), Some(spans[4].span_id)]);
    assert_eq!(spans[0].span_id, 8u64.to_be_bytes());
    let ids: HashSet<_> = spans.iter().map(|span| (span.trace_id, span.span_id)).collect();
    assert!(ids.len() == 6 && spans.iter().all(|span| span.trace_id == 7u128.to_be_bytes()));
    let systems: Vec<_> = spans[1..4].iter().map(|span| attribute(span, "db.system.name")).collect();
    assert_eq!(systems, [Some("redis"), Some("postgresql"), Some("other")]);
    let services: Vec<_> = spans.iter().map(|span| &*span.resource.service).collect();
    assert_eq!(
        services,
        ["shortener", "shortener", "shortener", "shortener", "shortener", "hoplog-collector"]
    );
}

#[test]
fn a_hop_says_what_its_event_says_but_not_where_somebody_came_from() {
    let range = range();
    let spans = Maker::new(&range).of(&event(), &record(NOW_US));
    let hop = &spans[0];
    assert_eq!(hop.status_message, "link store: away");
    for (name, value) in [
        ("http.response.status_code", "503"),
        ("http.route", "/{code}"),
        ("error.type", "store"),
        ("hoplog.link.code", "abc"),
        ("hoplog.outcome", "server_error"),
    ] {
        assert_eq!(attribute(hop, name), Some(value), "{name}");
    }
    let all = format!("{spans:?}");
    assert!(!["203.0.113", "\"77\"", "\"DE\""].iter().any(|private| all.contains(private)), "{all}");
    let resource = hop.resource.attributes.iter().map(|(name, value)| (&**name, &**value));
    assert_eq!(
        resource.collect::<Vec<_>>()[..3],
        [("service.name", "shortener"), ("service.version", ""), ("service.instance.id", "web-1")]
    );
    assert_eq!(attribute(&spans[5], "hoplog.range"), Some("t:3:10-12"));
    assert_eq!(attribute(&spans[4], "hoplog.log_offset"), Some("11"));
    let fine = Event { outcome: Outcome::ClientError, ..event() };
    let hop = &Maker::new(&range).of(&fine, &record(NOW_US))[0];
    assert_eq!((hop.status, &*hop.status_message), ("Unset", ""));
}

#[test]
fn neighbours_of_different_processes_are_told_apart() {
    let range = range();
    let mut maker = Maker::new(&range);
    let other = Event { instance: Text::new("web-2"), ..event() };
    let instances = [event(), event(), other, event()].map(|event| {
        let spans = maker.of(&event, &record(NOW_US));
        spans[0].resource.attributes[2].1.clone()
    });
    assert_eq!(instances, ["web-1", "web-1", "web-2", "web-1"]);
}

#[test]
fn nothing_ends_before_it_begins_whatever_clocks_say() {
    let range = range();
    let mut maker = Maker::new(&range);
    for (event, appended_us) in [
        (event(), 0),
        (event(), NOW_US - 1),
        (event(), i64::MAX),
        (Event { duration_us: u64::MAX, ..event() }, NOW_US),
        (Event { ts: Timestamp(i64::MAX), ..event() }, NOW_US),
        (Event { ts: Timestamp(i64::MIN), ..event() }, NOW_US),
    ] {
        let spans = maker.of(&event, &record(appended_us));
        let [.., publish, collect] = &spans[..] else { panic!("{spans:?}") };
        assert!(spans[0].start_ns <= publish.start_ns && publish.start_ns <= collect.start_ns);
    }
    let long = maker.of(&Event { duration_us: u64::MAX, ..event() }, &record(NOW_US));
    assert_eq!(long[4].start_ns / 1000 - NOW_US, HOP_US_MAX);
}

#[test]
fn an_endless_range_of_failures_has_an_end_of_spans_which_is_counted() {
    let range = range();
    let mut maker = Maker::new(&range);
    maker.events = EVENTS_MAX - 1;
    let made = [(); 3].map(|()| maker.of(&event(), &record(NOW_US)).len());
    assert_eq!((made, maker.omitted), ([6, 0, 0], 12));
}

#[test]
fn an_event_of_no_trace_has_no_spans() {
    let range = range();
    for event in [Event { trace_id: TraceId(0), ..event() }, Event { span_id: SpanId(0), ..event() }] {
        assert!(Maker::new(&range).of(&event, &record(NOW_US)).is_empty());
    }
}
