//! Dead letters in their topic as well: all of them, before their range is committed, whatever the topic does; and events
//! that are sent once more.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use event_log::{AppendError, Message, Producer, Schema};
use wide_event::{Outcome, codec};

use super::world::{World, eventually};

/// What the topic does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Takes,
    Unavailable,
    Broken,
    /// Does not answer.
    Hangs,
}

#[derive(Default)]
struct Topic {
    mood: Mutex<Mood>,
    ids: Mutex<Vec<String>>,
    /// Calls since the mood was set.
    tried: AtomicUsize,
}

impl Topic {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.tried.store(0, Ordering::Relaxed);
    }

    fn ids(&self) -> BTreeSet<String> {
        self.ids.lock().unwrap().iter().cloned().collect()
    }
}

#[async_trait]
impl Producer for Topic {
    async fn append(&self, messages: Vec<Message>) -> Result<(), AppendError> {
        self.tried.fetch_add(1, Ordering::Relaxed);
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Unavailable => return Err(AppendError::Unavailable("the test says so".into())),
            Mood::Broken => return Err(AppendError::Broken("the test says so".into())),
            Mood::Hangs => std::future::pending().await,
            Mood::Takes => (),
        }
        for message in messages {
            assert_eq!(message.schema, Schema::DeadLetter);
            for line in String::from_utf8(message.payload.to_vec()).unwrap().lines() {
                let id = line.strip_prefix("{\"id\":\"").unwrap().split('"').next().unwrap();
                self.ids.lock().unwrap().push(id.to_owned());
            }
        }
        Ok(())
    }
}

/// The ids of what is in the table.
async fn table(world: &World) -> BTreeSet<String> {
    let sql = "SELECT concat(topic, ':', toString(log_partition), ':', toString(log_offset), ':', toString(line)) FROM dead_letters";
    world.warehouse.rows::<String>(sql, &[]).await.unwrap().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_has_what_the_table_has_before_the_range_is_committed() {
    let mut world = World::new("dead_letter_topic").await;
    let topic = Arc::new(Topic::default());
    world.dead_letters = Some(Arc::<Topic>::clone(&topic));
    let bad = || Message::events(&b"{oops\n{oops again\n"[..], 2);
    for (mood, closes) in [(Mood::Unavailable, false), (Mood::Broken, true)] {
        topic.set(mood);
        world.append_mixed(50).await;
        world.producer.append(vec![bad()]).await.unwrap();
        let collector = world.collector().await;
        eventually(async || topic.tried.load(Ordering::Relaxed) >= 2).await;
        eventually(async || collector.metrics.health.blocked_by().is_some() == closes).await;
        assert!(collector.metric("collector_stalled_seconds") > 0.0);
        assert!(world.totals().await.iter().any(|totals| totals.committed_offset < totals.end_offset));
        topic.set(Mood::Takes);
        world.all_consumed().await;
        assert_eq!(collector.metrics.health.blocked_by(), None);
        collector.stop().await;
        assert_eq!(topic.ids(), table(&world).await);
    }
    // Killed when the ledger has the range and the topic does not have its letters.
    topic.set(Mood::Hangs);
    world.producer.append(vec![bad()]).await.unwrap();
    let collector = world.collector().await;
    eventually(async || topic.tried.load(Ordering::Relaxed) >= 1).await;
    collector.kill().await;
    assert_ne!(topic.ids(), table(&world).await);
    topic.set(Mood::Takes);
    world.consume_all().await;
    assert_eq!((topic.ids(), topic.ids().len()), (table(&world).await, 6));
    let report = world.verify().await;
    assert_eq!((report.findings, report.dead_lettered), (Vec::new(), 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_replayed_count_and_their_numbers_do_not_arrive_twice() {
    let world = World::new("replayed_events").await;
    let events: Vec<_> = (0..40).map(|_| world.event(Outcome::Ok)).collect();
    world.append(&events, 20).await;
    let mut payload = Vec::new();
    events[..3].iter().for_each(|event| codec::encode(event, &mut payload));
    payload.extend_from_slice(b"{oops\n");
    let replay = Message { schema: Schema::Replay, ..Message::events(payload, 4) };
    world.producer.append(vec![replay]).await.unwrap();
    world.consume_all().await;
    let report = world.assert_whole("with replays").await;
    assert_eq!((report.events, report.dead_lettered), (44, 1));
    assert_eq!(world.number("(SELECT sum(replayed) FROM ingest_ledger)").await, 4);
    assert_eq!(world.number("(SELECT sum(requests) FROM requests_by_minute)").await, 43);
    assert_eq!(world.number("(SELECT sum(last_seq - first_seq + 1) FROM producer_sequences)").await, 40);
}
