//! What a hop waited for is in its event, stage by stage, and the caller's span with it.

use std::sync::Arc;

use http::Method;
use serde_json::json;
use testbed::shared_redis;
use wide_event::stages::{Stage, parse};
use wide_event::{Event, SpanId};

use crate::cache::link_of_another;
use crate::redis;
use crate::server::{Server, until};
use crate::tiers::connected;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn stages<'e>(event: &'e Event<'_>) -> Vec<Stage<'e>> {
    parse(event.stages.as_str()).collect()
}

fn names<'e>(event: &'e Event<'_>) -> Vec<&'e str> {
    stages(event).iter().map(|stage| stage.name).collect()
}

#[tokio::test]
async fn a_look_up_in_redis_and_postgresql_is_two_stages_of_the_caller_s_trace() {
    let Some(redis) = shared_redis() else { return };
    let redis = redis::config(redis, "stages");
    let Some(server) = Server::on_postgres(|config| config.redis = redis).await else { return };
    connected(&server).await;
    link_of_another(&server, "hot", "https://example.com/").await;
    server.events().await;

    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let answer = server.call(Method::GET, "/hot", &[("traceparent", &traceparent)], "").await;
    assert_eq!(answer.status, 302);
    let event = server.event().await;
    assert_eq!((event.trace_id.to_string(), event.parent_span_id.to_string()), (TRACE.into(), CALLER.into()));
    assert_ne!(event.span_id.to_string(), CALLER);
    let [redis, store] = stages(&event)[..] else { panic!("{:?}", event.stages) };
    assert_eq!((redis.name, store.name), ("redis.get", "postgresql.find"));
    assert!(!redis.failed && !store.failed);
    assert_eq!((redis.duration_us, store.duration_us), (event.redis_us, event.store_us));
    let ends = [redis, store].map(|stage| u64::from(stage.start_us) + u64::from(stage.duration_us));
    // Each time is rounded down.
    assert!(ends[0] <= u64::from(store.start_us) + 1, "{:?}", event.stages);
    assert!(ends[1] <= event.duration_us + 1, "{:?} of {}", event.stages, event.duration_us);

    // From memory it waits for nothing, and its trace begins here.
    assert_eq!(server.get("/hot").await.status, 302);
    let event = server.event().await;
    assert_eq!((event.stages.as_str(), event.parent_span_id), ("", SpanId(0)));
}

#[tokio::test]
async fn what_was_waited_for_in_vain_is_a_stage_that_failed() {
    let server = Server::start().await;
    server.store.set_down(true);
    assert_eq!(server.get("/any").await.status, 503);
    let event = server.event().await;
    assert_eq!((names(&event), event.store_calls), (vec!["sqlite.find"], 1));
    assert!(stages(&event)[0].failed && event.stages.as_str().ends_with('!'));
}

#[tokio::test]
async fn who_did_not_get_to_ask_the_store_has_not_waited_for_it() {
    let server = Server::with(|config| {
        (config.cache.store_reads_max, config.cache.store_wait_ms_max) = (1, 1);
        (config.cache.fresh_ms, config.cache.stale_wait_ms_max) = (1, 1);
    });
    let server = Arc::new(server.await);
    link_of_another(&server, "known", "https://example.com/").await;
    assert_eq!(server.get("/known").await.status, 302);
    server.events().await;
    server.store.hold_finds(true);
    let reads = server.store.find_count();
    let first = {
        let server = server.clone();
        tokio::spawn(async move { server.get("/first").await.status.as_u16() })
    };
    until("asked", || server.store.find_count() > reads).await;
    // The only place is taken: by a link that nobody knows, and one that is past its time.
    for (path, status) in [("/second", 503), ("/known", 302)] {
        assert_eq!(server.get(path).await.status, status, "{path}");
        let event = server.event().await;
        assert_eq!((event.stages.as_str(), event.store_calls, event.store_us), ("", 0, 0), "{path}");
    }
    server.store.hold_finds(false);
    assert_eq!(first.await.unwrap(), 404);
    let event = server.event().await;
    assert_eq!((names(&event), event.store_calls), (vec!["sqlite.find"], 1));
}

#[tokio::test]
async fn each_call_of_an_endpoint_is_a_stage() {
    let server = Server::start().await;
    server.link(&json!({ "longUrl": "https://example.com/", "customSlug": "made" })).await;
    let event = server.event().await;
    let all = names(&event);
    assert_eq!(all.first(), Some(&"sqlite.find_key"), "{all:?}");
    assert!(all.contains(&"sqlite.create") && all.iter().all(|name| name.starts_with("sqlite.")), "{all:?}");
    assert_eq!(usize::from(event.store_calls), all.len());
    let starts: Vec<_> = stages(&event).iter().map(|stage| stage.start_us).collect();
    assert!(starts.is_sorted(), "{starts:?}");
}
