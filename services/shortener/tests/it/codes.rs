//! Generated codes: never twice, whoever generates.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;
use shortener::ShortenerConfig;
use shortener::codes::{CodeError, Codes, Permutation};
use shortener::store::LinkStore;
use shortener::store::sqlite::SqliteStore;
use tokio::task::JoinSet;

use crate::server::{Server, until};

#[tokio::test]
async fn instances_on_one_store_never_share_a_code() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ShortenerConfig::default().store;
    config.path = dir.path().join("links.db");
    config.sync_commits = false;
    config.write_ms_max = 60_000;
    let mut tasks = JoinSet::new();
    for instance in 0..4_u8 {
        // Each with a store of its own on the one file, as processes have.
        let store = Arc::new(SqliteStore::open(&config).await.unwrap());
        store.migrate().await.unwrap();
        let secret = store.secret("codes", [instance; 32]).await.unwrap();
        assert_eq!(secret, [0; 32], "the first secret is everybody's");
        let codes = Arc::new(Codes::new(store, secret, 7));
        for _ in 0..4 {
            let codes = codes.clone();
            tasks.spawn(async move {
                let mut made = Vec::new();
                for _ in 0..250 {
                    made.push(codes.next(7).await.unwrap());
                }
                made
            });
        }
    }
    let mut all = HashSet::new();
    while let Some(made) = tasks.join_next().await {
        for code in made.unwrap() {
            assert_eq!(code.len(), 7);
            assert!(all.insert(code), "a code twice");
        }
    }
    assert_eq!(all.len(), 4_000);
}

#[tokio::test]
async fn a_slug_that_is_a_later_code_is_skipped() {
    let key = [9; 32];
    let server =
        Server::with(|config| config.links.codes_key = Some(shortener::config::SecretKey::new(key))).await;
    let permutation = Permutation::for_length(&key, 7);
    let codes: Vec<String> = (0..4).map(|id| permutation.code(id).unwrap()).collect();
    // Somebody has, by luck, chosen the second and third code that will be generated.
    for slug in &codes[1..3] {
        server.link(&json!({ "longUrl": "https://chosen.example/", "customSlug": slug })).await;
    }
    let generated = json!({ "longUrl": "https://generated.example/" });
    assert_eq!(server.link(&generated).await, codes[0]);
    assert_eq!(server.link(&generated).await, codes[3]);
    assert_eq!(server.shortener.metrics().codes_skipped.get(), 2);
    for slug in &codes[1..3] {
        assert_eq!(server.get(&format!("/{slug}")).await.header("location"), "https://chosen.example/");
    }
}

#[tokio::test]
async fn lengths_are_asked_for_and_run_out() {
    let server = Server::start().await;
    for length in [4, 5, 10, 20] {
        let code =
            server.link(&json!({ "longUrl": "https://example.com/", "shortCodeLength": length })).await;
        assert_eq!(code.len(), length);
    }
    // All codes of four letters leased: there is an answer, and it is not a server error.
    server.store.inner.lease(4, 62_u64.pow(4)).await.unwrap();
    let codes = Codes::new(server.store.clone(), [0; 32], 1_000);
    assert!(matches!(codes.next(4).await, Err(CodeError::Exhausted(4))));
    assert!(matches!(codes.next(3).await, Err(CodeError::Length(3))));
    let mut last = 201;
    for _ in 0..200 {
        let body = json!({ "longUrl": "https://example.com/", "shortCodeLength": 4 });
        let answer = server.create(&body).await;
        last = answer.status.as_u16();
        if last != 201 {
            assert_eq!(answer.json()["invalidElements"], json!(["shortCodeLength"]));
            break;
        }
    }
    assert_eq!(last, 400, "what was leased before is used up, then it is over");
}

#[tokio::test]
async fn who_waited_for_a_lease_that_failed_does_not_wait_for_another() {
    let server = Server::start().await;
    let store = &server.store;
    let codes = Arc::new(Codes::new(store.clone(), [0; 32], 10));
    store.hold_leases(Some(7));
    let mut waiting = JoinSet::new();
    for _ in 0..100 {
        let codes = codes.clone();
        waiting.spawn(async move { codes.next(7).await });
    }
    until("asked", || store.lease_count() == 1).await;
    // Those of another length have a range of their own.
    assert!(codes.next(8).await.is_ok());
    assert_eq!(store.lease_count(), 2);
    store.hold_leases(None);
    let answers = waiting.join_all().await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(CodeError::Store(_)))), "{answers:?}");
    assert_eq!(store.lease_count(), 2, "all had that one answer");
    assert!(codes.next(7).await.is_ok(), "who comes later asks again");
}
