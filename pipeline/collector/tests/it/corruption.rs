//! One event in many is corrupted, in eight ways: all of these are dead letters with the right reason, and everything
//! else is stored.

use std::collections::BTreeMap;

use event_log::{Message, Producer};
use wide_event::{Event, Outcome, Timestamp, codec};

use super::world::World;

/// Each hundredth.
const ONE_IN: usize = 100;
const EVENTS: usize = 16_000;

/// The line of an event, corrupted in one of eight ways, and the reason it has to become a dead letter for.
fn corrupt(event: &Event<'_>, way: usize) -> (Vec<u8>, &'static str) {
    let line = |event: &Event<'_>| {
        let mut line = Vec::new();
        codec::encode(event, &mut line);
        line.pop();
        line
    };
    let text = |event| String::from_utf8(line(event)).unwrap();
    let at = |us: i64| Event { ts: Timestamp(event.ts.0 + us), ..event.clone() };
    match way {
        0 => (line(event)[..20].to_vec(), "truncated"),
        1 => ([b"\x00\x01", &line(event)[..]].concat(), "syntax"),
        2 => (
            text(event)
                .replace("/{code}", "\u{7f}X")
                .into_bytes()
                .iter()
                .map(|byte| if *byte == b'X' { 0xff } else { *byte })
                .collect(),
            "not_utf8",
        ),
        3 => (b"{}".to_vec(), "missing_field"),
        4 => (text(event).replace("\"status\":302", "\"status\":\"x\"").into_bytes(), "wrong_type"),
        5 => (text(event).replace("\"outcome\":\"ok\"", "\"outcome\":\"sad\"").into_bytes(), "bad_value"),
        6 => (line(&at(600_000_000)), "future_dated"),
        _ => (line(&at(-8 * 86_400_000_000)), "too_old"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_corrupted_event_is_set_aside_and_every_other_one_is_stored() {
    let world = World::new("corruption").await;
    let (mut messages, mut expected) = (Vec::new(), BTreeMap::<&str, u64>::new());
    for message in 0..EVENTS / 20 {
        let mut payload = Vec::new();
        for number in message * 20..message * 20 + 20 {
            let event = world.event(Outcome::Ok);
            if number % ONE_IN == 7 {
                let (line, reason) = corrupt(&event, number / ONE_IN % 8);
                *expected.entry(reason).or_default() += 1;
                payload.extend_from_slice(&line);
                payload.push(b'\n');
            } else {
                codec::encode(&event, &mut payload);
            }
        }
        messages.push(Message::events(payload, 20));
    }
    for messages in messages.chunks(100) {
        world.producer.append(messages.to_vec()).await.unwrap();
    }
    world.consume_all().await;
    let report = world.verify().await;
    assert_eq!(report.findings, Vec::<String>::new());
    let bad = (EVENTS / ONE_IN) as u64;
    assert_eq!((report.events, report.dead_lettered), (EVENTS as u64, bad));
    assert_eq!(expected.len(), 8);
    for (reason, count) in expected {
        let sql = format!("(SELECT sum(events) FROM dead_letters WHERE reason = '{reason}')");
        assert_eq!(world.number(&sql).await, count, "{reason}");
    }
    assert_eq!(world.number("(SELECT sum(requests) FROM requests_by_minute)").await, EVENTS as u64 - bad);
}
