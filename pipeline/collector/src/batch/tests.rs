use super::*;
use bytes::Bytes;
use event_log::{ContentType, Schema};
use proptest::prelude::*;
use std::sync::Arc;
use wide_event::{Orphan, Outcome, SpanId, Text, Timestamp, TraceId};

use crate::intent::Intent;
use crate::policy::Policy;

const NOW_US: i64 = 1_763_764_620_000_000;

/// A range of messages, a list of events each; `None` is a line that can't be read.
fn range(messages: &[Vec<Option<Event<'static>>>], clicks: bool) -> Range {
    let policy = Arc::new(Policy::load(None).unwrap());
    let records = (10u64..).zip(messages).map(|(offset, events)| {
        let mut payload = Vec::new();
        for event in events {
            match event {
                Some(event) => codec::encode(event, &mut payload),
                None => payload.extend_from_slice(b"{oops\n"),
            }
        }
        Record {
            offset,
            appended_at_us: NOW_US,
            payload: Bytes::from(payload),
            events: Some(u32::try_from(events.len()).unwrap()),
            schema: Schema::Events,
            content_type: ContentType::Ndjson,
        }
    });
    let records: Vec<_> = records.collect();
    let last = records.last().map_or(10, |record| record.offset);
    Range {
        system: "kafka",
        topic: "t".into(),
        partition: 3,
        first: 10,
        records: records.into(),
        intent: Intent::new(last, policy.version().to_owned(), NOW_US, clicks),
        policy,
        replay: false,
    }
}

fn event(seq: u64, outcome: Outcome, click: bool) -> Event<'static> {
    Event {
        ts: Timestamp(NOW_US - 1000),
        instance: Text::new("i"),
        boot_id: Text::new("b"),
        seq,
        status: if outcome == Outcome::Ok { 302 } else { 500 },
        outcome,
        code: Text::new("c"),
        click,
        orphan: if click { Orphan::None } else { Orphan::ALL[(seq % 4) as usize] },
        trace_id: TraceId(u128::from(seq) << 70 | 1),
        span_id: SpanId(seq),
        ..Event::default()
    }
}

#[test]
fn token_names_topic_partition_and_offsets() {
    assert_eq!(range(&[vec![], vec![]], true).token(), "t:3:10-11");
}

#[test]
fn refused_events_are_counted_nowhere_else() {
    let range = range(&[(1..=5).map(|seq| Some(event(seq, Outcome::ServerError, true))).collect()], true);
    let all = build(&range, &[], 0).unwrap();
    assert_eq!((all.ledger.kept, all.ledger.visits.clicks, all.ledger.dead_lettered), (5, 5, 0));
    assert_eq!(all.places, [(10, 1), (10, 2), (10, 3), (10, 4), (10, 5)]);
    let without = build(&range, &[(10, 2), (10, 4)], 0).unwrap();
    assert_eq!((without.ledger.kept, without.ledger.visits.clicks, without.ledger.dead_lettered), (3, 3, 2));
    assert_eq!(without.ledger.seen, all.ledger.seen);
    assert_eq!(without.dead_letters, [("insert_refused", 2)]);
}

#[test]
fn spans_are_those_of_kept_events_that_are_stored_and_of_none_where_the_intent_says_so() {
    let mut range = range(&[(1..=5).map(|seq| Some(event(seq, Outcome::Panic, false))).collect()], true);
    let kept = build(&range, &[], 0).unwrap();
    assert_eq!((kept.ledger.kept, kept.spans.rows()), (5, 15));
    range.intent.refused = Some(vec![(10, 2), (10, 4)]);
    let with_refused = build(&range, &[], 0).unwrap();
    assert_eq!((with_refused.ledger.kept, with_refused.spans.rows()), (5, 9));
    range.intent.spans = false;
    assert_eq!(build(&range, &[], 0).unwrap().spans.rows(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everything_is_accounted_for_and_built_the_same_twice(
        messages in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.9, (any::<bool>(), any::<bool>())), 0..30), 1..30),
        clicks in any::<bool>(),
    ) {
        let mut seq = 0;
        let messages: Vec<Vec<_>> = messages.into_iter().map(|events| events.into_iter().map(|kind| {
            seq += 1;
            kind.map(|(ok, click)| event(seq, if ok { Outcome::Ok } else { Outcome::Panic }, click))
        }).collect()).collect();
        let range = range(&messages, clicks);
        let batch = build(&range, &[], 0).unwrap();
        let all = || messages.iter().flatten();
        let ledger = &batch.ledger;
        prop_assert_eq!(ledger.seen.events, all().count() as u64);
        prop_assert_eq!(ledger.seen.announced, ledger.seen.events);
        prop_assert_eq!(ledger.dead_lettered, all().filter(|event| event.is_none()).count() as u64);
        prop_assert_eq!(ledger.kept + ledger.sampled_out() + ledger.dead_lettered, ledger.seen.events);
        prop_assert_eq!(ledger.visits.clicks, all().flatten().filter(|event| event.click).count() as u64);
        prop_assert_eq!(ledger.visits.click_rows, if clicks { ledger.visits.clicks } else { 0 });
        let orphans = all().flatten().filter(|event| event.orphan != Orphan::None).count() as u64;
        prop_assert_eq!(ledger.visits.visits, ledger.visits.clicks + orphans);
        prop_assert_eq!(ledger.visits.orphan_rows, if clicks { orphans } else { 0 });
        prop_assert_eq!(ledger.visits.day_clicks, ledger.visits.clicks);
        prop_assert_eq!(batch.requests.rows() as u64, ledger.kept);
        prop_assert_eq!(batch.kept.iter().map(|(_, count)| count).sum::<u64>(), ledger.kept);

        prop_assert_eq!(batch.spans.rows() as u64, 3 * ledger.kept);

        let again = build(&range, &[], 0).unwrap();
        prop_assert_eq!(batch.spans.encode(), again.spans.encode());
        prop_assert_eq!(batch.requests.encode(), again.requests.encode());
        for ((table, block), (_, other)) in batch.others.iter().zip(&again.others) {
            prop_assert_eq!(block.encode(), other.encode(), "{}", table);
        }
    }
}
