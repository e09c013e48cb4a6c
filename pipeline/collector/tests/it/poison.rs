//! Bad input of every kind becomes a dead letter with its reason; its neighbours are stored.

use event_log::{ContentType, Message, Producer, Schema};
use wide_event::{Outcome, Text, Timestamp, codec};

use super::proxy::Fault;
use super::world::World;

fn line(event: &wide_event::Event<'_>) -> String {
    let mut line = Vec::new();
    codec::encode(event, &mut line);
    String::from_utf8(line).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_is_set_aside_and_its_neighbours_go_through() {
    let world = World::new("poison").await;
    let good = || line(&world.event(Outcome::ServerError));
    let mut future = world.event(Outcome::Ok);
    future.ts = Timestamp(future.ts.0 + 600_000_000);
    let mut old = world.event(Outcome::Ok);
    old.ts = Timestamp(old.ts.0 - 8 * 86_400_000_000);
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (b"{\"ts\":\"2025".to_vec(), "truncated"),
        (b"\x00\x01garbage".to_vec(), "syntax"),
        (b"{\"ts\":\"\xff\xfe\"}".to_vec(), "not_utf8"),
        (b"{}".to_vec(), "missing_field"),
        (good().replace("\"status\":500", "\"status\":\"x\"").into_bytes(), "wrong_type"),
        (good().replace("server_error", "sad").into_bytes(), "bad_value"),
        (line(&future).into_bytes(), "future_dated"),
        (line(&old).into_bytes(), "too_old"),
        (vec![b'x'; codec::LINE_BYTES_MAX + 1], "too_long"),
    ];
    let mut messages = Vec::new();
    for (bytes, _) in &bad {
        let payload = [good().as_bytes(), b"\n", bytes, b"\n", good().as_bytes(), b"\n"].concat();
        messages.push(Message::events(payload, 3));
    }
    messages.push(Message { schema: Schema::Other("hoplog.event.v9".into()), ..Message::events(good(), 4) });
    messages
        .push(Message { content_type: ContentType::Other("text/csv".into()), ..Message::events(good(), 1) });
    messages.push(Message::events(good(), 3));
    world.producer.append(messages).await.unwrap();
    world.consume_all().await;

    let report = world.verify().await;
    assert_eq!(report.findings, Vec::<String>::new());
    let count = bad.len() as u64;
    assert_eq!(report.dead_lettered, count + 4 + 1 + 2);
    assert_eq!(report.kept, 2 * count + 1);
    for (bytes, reason) in &bad {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let sql = format!(
            "(SELECT count() FROM dead_letters WHERE reason = '{reason}' AND line = 2 AND hex(raw) = '{hex}')"
        );
        // The longest one would not fit into a query.
        let sql = if bytes.len() > 2000 {
            format!(
                "(SELECT count() FROM dead_letters WHERE reason = '{reason}' AND length(raw) = {})",
                bytes.len()
            )
        } else {
            sql
        };
        assert_eq!(world.number(&sql).await, 1, "{reason}");
    }
    for (reason, events) in [("unknown_schema", 4), ("unknown_content_type", 1), ("missing_lines", 2)] {
        let sql = format!("(SELECT sum(events) FROM dead_letters WHERE reason = '{reason}')");
        assert_eq!(world.number(&sql).await, events, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_clickhouse_refuses_are_found_also_over_crashes() {
    let world = World::patient("refused_rows").await;
    world
        .warehouse
        .execute("ALTER TABLE requests ADD CONSTRAINT tame CHECK code NOT LIKE 'evil%'")
        .await
        .unwrap();
    let events: Vec<_> = (0..200)
        .map(|number| {
            let mut event = world.event(Outcome::ServerError);
            if number % 70 == 3 {
                event.code = Text::new(format!("evil{number}"));
            }
            event.click = number % 2 == 1;
            event
        })
        .collect();
    world.append(&events, 200).await;
    // Killed while rows are looked for, and again when they are known and the rest is being stored.
    for table in ["requests", "requests_by_minute"] {
        world.proxy.plan(table, Fault::LoseAnswer, 1);
        let collector = world.collector().await;
        // A retry may come through before the kill does; then there is nothing left to be hit.
        tokio::select! {
            () = world.proxy.hit() => {}
            () = world.all_consumed() => {}
        }
        collector.kill().await;
    }
    world.consume_all().await;
    let report = world.assert_whole("with refused rows").await;
    assert_eq!((report.events, report.kept, report.dead_lettered), (200, 197, 3));
    world.assert_traced("with refused rows").await;
    let refused =
        "(SELECT count() FROM dead_letters WHERE reason = 'insert_refused' AND raw LIKE '%\"code\":\"evil%')";
    assert_eq!(world.number(refused).await, 3);
    assert_eq!(world.number("(SELECT sum(requests) FROM requests_by_minute)").await, 197);
    assert_eq!(world.number("(SELECT sum(clicks) FROM clicks_by_hour)").await, 97);
}
