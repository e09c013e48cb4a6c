//! Logs that are down, slow, full, broken or mad; queues that overflow; shutdowns.

use std::sync::Arc;
use std::time::Duration;

use emitter::{Emitter, EmitterConfig};
use event_log::AppendError;
use proptest::prelude::*;

use crate::log::{DEADLINE, FakeLog, Fault, quick, start, unavailable};

/// A request that ended; 500 is a failure, 200 is not. Malformed ones are the shortest way to an event.
fn success(emitter: &Emitter) {
    emitter.malformed(None, 400, "x");
}

async fn failure(emitter: &Emitter) {
    use tower::ServiceExt as _;
    let request = axum::http::Request::get("/end/broken").body(axum::body::Body::empty()).unwrap();
    let answer = crate::http::router().layer(emitter.layer()).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 503);
    http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
}

fn dropped(emitter: &Emitter, reason: &'static str) -> u64 {
    emitter.metrics().dropped_for(reason)
}

#[tokio::test]
async fn what_comes_while_the_log_is_down_is_published_when_it_is_back() {
    let log = FakeLog::new();
    log.set_down(true);
    let (emitter, publisher) = start(quick(), log.clone());
    for _ in 0..100 {
        success(&emitter);
    }
    log.wait_until(|log| log.calls.lock().unwrap().len() >= 3).await;
    assert_eq!(log.events().len(), 0);
    log.set_down(false);
    let seqs: Vec<_> = log.wait_for_events(100).await.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
    publisher.shutdown(DEADLINE).await.unwrap();
    assert_eq!((log.events().len(), emitter.metrics().published()), (100, 100));
}

#[tokio::test]
async fn a_log_that_panics_is_asked_again() {
    let log = FakeLog::new().then(Fault::Panic).then(Fault::Fail(unavailable())).then(Fault::Panic);
    let (emitter, publisher) = start(quick(), log.clone());
    success(&emitter);
    assert_eq!(log.wait_for_events(1).await.len(), 1);
    assert!(!publisher.is_dead());
    publisher.shutdown(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn what_is_refused_for_good_is_counted_and_the_rest_goes_on() {
    let broken = Fault::Fail(AppendError::Broken("corrupt".into()));
    let log = FakeLog::new().then(broken);
    let (emitter, publisher) = start(quick(), log.clone());
    success(&emitter);
    log.wait_until(|log| !log.calls.lock().unwrap().is_empty()).await;
    while dropped(&emitter, "log_broken") == 0 {
        tokio::task::yield_now().await;
    }
    let reason = emitter.not_publishing();
    assert_eq!(reason.as_deref(), Some("the event log refuses events for good: broken"));
    success(&emitter);
    assert_eq!(log.wait_for_events(1).await[0]["seq"], 2);
    while emitter.not_publishing().is_some() {
        tokio::task::yield_now().await;
    }
    publisher.shutdown(DEADLINE).await.unwrap();
    assert_eq!(dropped(&emitter, "log_broken"), 1);
}

#[tokio::test]
async fn a_message_too_large_does_not_take_its_neighbours_with_it() {
    let log = FakeLog::new().then(Fault::Hang);
    log.refuse("poison");
    let (emitter, publisher) = start(EmitterConfig { batch_events_max: 2, ..quick() }, log.clone());
    success(&emitter);
    log.wait_until(|log| !log.calls.lock().unwrap().is_empty()).await;
    for number in 0..10 {
        emitter.malformed(None, 400, if number == 4 { "poison" } else { "x" });
    }
    log.release();
    publisher.shutdown(DEADLINE).await.unwrap();
    assert_eq!(
        (log.events().len(), dropped(&emitter, "log_too_large")),
        (9, 2),
        "only the message of two is lost"
    );
}

#[tokio::test]
async fn of_an_append_only_what_is_in_doubt_counts_as_not_published() {
    let in_doubt = AppendError::InDoubt { messages: 2, events: 20, source: "gone".into() };
    let log = FakeLog::new().then(Fault::Hang).then(Fault::Fail(in_doubt));
    let (emitter, publisher) = start(EmitterConfig { batch_events_max: 10, ..quick() }, log.clone());
    success(&emitter);
    log.wait_until(|log| !log.calls.lock().unwrap().is_empty()).await;
    for _ in 0..100 {
        success(&emitter);
    }
    log.release();
    publisher.shutdown(DEADLINE).await.unwrap();
    assert_eq!(*log.calls.lock().unwrap(), [1, 10, 1], "nothing is appended again");
    let metrics = emitter.metrics();
    assert_eq!((metrics.published(), dropped(&emitter, "log_in_doubt")), (81, 20));
    assert_eq!((metrics.dropped_for_good(), emitter.issued()), (0, 101));
}

#[tokio::test]
async fn a_log_that_is_down_or_refuses_a_message_is_no_reason_not_to_be_ready() {
    for error in [unavailable(), AppendError::TooLarge { bytes: 1, bytes_max: 0 }] {
        let log = FakeLog::new().then(Fault::Fail(error)).then(Fault::Hang);
        let (emitter, publisher) = start(quick(), log.clone());
        success(&emitter);
        log.wait_until(|log| !log.calls.lock().unwrap().is_empty()).await;
        success(&emitter);
        log.wait_until(|log| log.calls.lock().unwrap().len() == 2).await;
        assert_eq!(emitter.not_publishing(), None);
        log.release();
        publisher.shutdown(DEADLINE).await.unwrap();
        assert_eq!(emitter.not_publishing(), None, "a shutdown is no trouble");
    }
}

#[test]
fn a_publisher_that_died_is_told_of() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let log = FakeLog::new();
    let (emitter, publisher) = runtime.block_on(async {
        let (emitter, publisher) = start(quick(), log.clone());
        success(&emitter);
        log.wait_for_events(1).await;
        (emitter, publisher)
    });
    assert_eq!(emitter.not_publishing(), None);
    drop(runtime);
    assert!(publisher.is_dead());
    assert_eq!(emitter.not_publishing().as_deref(), Some("the publisher's task died"));
    success(&emitter);
}

#[tokio::test]
async fn messages_stay_below_their_limit() {
    let log = FakeLog::new();
    let config = EmitterConfig { message_bytes_max: 65_536, batch_events_max: 1000, ..quick() };
    let (emitter, publisher) = start(config, log.clone());
    for _ in 0..300 {
        emitter.malformed(None, 400, &"e".repeat(2000));
    }
    publisher.shutdown(DEADLINE).await.unwrap();
    let sizes: Vec<_> = log.appended.lock().unwrap().iter().map(|m| m.payload.len()).collect();
    assert!(sizes.iter().all(|&size| size <= 65_536), "{sizes:?}");
    assert!(sizes.len() < 12, "messages are filled: {sizes:?}");
    let counted: u32 = log.appended.lock().unwrap().iter().map(|m| m.events).sum();
    assert_eq!((log.events().len(), counted), (300, 300));
}

#[tokio::test]
async fn busy_publishers_put_several_messages_into_an_append() {
    let log = FakeLog::new().then(Fault::Hang);
    let (emitter, publisher) = start(EmitterConfig { batch_events_max: 10, ..quick() }, log.clone());
    success(&emitter);
    log.wait_until(|log| !log.calls.lock().unwrap().is_empty()).await;
    for _ in 0..100 {
        success(&emitter);
    }
    log.release();
    publisher.shutdown(DEADLINE).await.unwrap();
    assert_eq!(*log.calls.lock().unwrap(), [1, 10, 1], "one event; a hundred; the end of the boot");
}

#[tokio::test]
async fn full_messages_are_appended_together_and_what_is_left_in_time() {
    let log = FakeLog::new();
    let (emitter, publisher) = start(EmitterConfig { batch_events_max: 10, ..quick() }, log.clone());
    for _ in 0..175 {
        success(&emitter);
    }
    log.wait_for_events(175).await;
    assert_eq!(*log.calls.lock().unwrap(), [16, 2], "sixteen full messages; a full one and the rest");
    publisher.shutdown(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_publishes_what_waits() {
    let log = FakeLog::new();
    // Nothing but the shutdown makes this publisher publish.
    let (emitter, publisher) =
        start(EmitterConfig { batch_ms_max: 500, batch_events_max: 1000, ..quick() }, log.clone());
    for _ in 0..200 {
        success(&emitter);
    }
    let flushed = publisher.shutdown(DEADLINE).await.unwrap();
    assert_eq!((flushed.events_left, flushed.announced, log.events().len()), (0, true, 200));
    let ends = log.lines(event_log::Schema::Producer);
    assert_eq!(ends.len(), 1);
    assert_eq!((&ends[0]["issued"], &ends[0]["clean"]), (&200.into(), &true.into()));
    assert_eq!((&ends[0]["boot_id"], &ends[0]["instance"]), (&emitter.boot_id().into(), &"shop-1".into()));
    // What comes too late is counted and numbered.
    success(&emitter);
    assert_eq!((emitter.issued(), dropped(&emitter, "shutdown"), log.events().len()), (201, 1, 200));
}

#[tokio::test]
async fn a_shutdown_gives_up_at_its_deadline() {
    for log in [FakeLog::new(), FakeLog::new().then(Fault::Hang)] {
        log.set_down(true);
        let (emitter, publisher) = start(quick(), log.clone());
        for _ in 0..50 {
            success(&emitter);
        }
        let flushed = publisher.shutdown(Duration::from_millis(50)).await.unwrap();
        assert_eq!((flushed.events_left, flushed.announced), (50, false));
        assert_eq!((dropped(&emitter, "shutdown"), log.events().len()), (50, 0));
    }
}

/// With a publisher that hangs: whatever comes in whatever order, issued = queued + dropped, and no failure is
/// dropped as long as there is room, whereas successes stop at their share.
async fn overflow(steps: Vec<bool>) {
    const ROOM: usize = 40;
    let log = FakeLog::new().then(Fault::Hang);
    let config = EmitterConfig { queue_events_max: ROOM, batch_events_max: ROOM, ..quick() };
    let (emitter, publisher) = start(config, log.clone());
    success(&emitter);
    log.wait_until(|log| !log.calls.lock().unwrap().is_empty()).await;
    let (mut queued, mut lost_successes, mut lost_failures) = (0, 0, 0);
    for &fails in &steps {
        let room = if fails { ROOM } else { ROOM * 3 / 4 };
        let lost = if fails { &mut lost_failures } else { &mut lost_successes };
        if queued < room {
            queued += 1
        } else {
            *lost += 1
        }
        if fails { failure(&emitter).await } else { success(&emitter) }
    }
    assert_eq!(dropped(&emitter, "queue_full"), lost_successes);
    assert_eq!(dropped(&emitter, "queue_full_failure"), lost_failures);
    log.release();
    publisher.shutdown(DEADLINE).await.unwrap();
    let events = log.events();
    assert_eq!(events.len(), 1 + queued);
    assert_eq!(emitter.issued(), 1 + steps.len() as u64);
    // Each one dropped is a gap.
    let last = events.iter().map(|event| event["seq"].as_u64().unwrap()).max().unwrap();
    assert!(last <= emitter.issued());
    let failures = events.iter().filter(|event| event["outcome"] == "server_error").count() as u64;
    assert_eq!(failures, steps.iter().filter(|fails| **fails).count() as u64 - lost_failures);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn failures_are_dropped_last(steps in prop::collection::vec(prop::bool::weighted(0.2), 1..150)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(overflow(steps));
    }
}

#[tokio::test]
async fn wrong_settings_start_nothing() {
    let config = EmitterConfig { queue_events_max: 1, ..quick() };
    let error = Emitter::start(config, crate::log::resource(), [0; 32], FakeLog::new()).unwrap_err();
    assert!(error.to_string().starts_with("queue_events_max: "), "{error}");
    let nameless = wide_event::Resource::default();
    let error = Emitter::start(quick(), nameless, [0; 32], FakeLog::new()).unwrap_err();
    assert_eq!(error.to_string(), "the resource names no instance");
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = EmitterConfig { sequence_dir: Some(file.path().to_owned()), ..quick() };
    let error =
        Emitter::start(config, crate::log::resource(), [0; 32], Arc::new(FakeLog::default())).unwrap_err();
    assert!(matches!(error, emitter::StartError::SequenceDir { .. }), "{error}");
}
