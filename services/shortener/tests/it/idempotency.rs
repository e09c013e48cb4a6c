//! `Idempotency-Key`: one effect, however often, from wherever and with whatever luck a request is sent.

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::faulty::At;
use crate::server::{Answer, Server};

async fn send(server: &Server, key: &str, body: &Value) -> Answer {
    let headers = [("x-api-key", server.key.as_str()), ("idempotency-key", key)];
    server.call(Method::POST, "/rest/v3/short-urls", &headers, &body.to_string()).await
}

async fn count(server: &Server) -> u64 {
    server.store.inner.count(None).await.unwrap()
}

#[tokio::test]
async fn fifty_at_once_make_one_link() {
    let server = Server::start().await;
    let body = json!({ "longUrl": "https://example.com/" });
    let answers = join_all((0..50).map(|_| send(&server, "fifty", &body))).await;
    let mut codes = Vec::new();
    for answer in &answers {
        match answer.status.as_u16() {
            201 => codes.push(answer.json()["shortCode"].clone()),
            409 => assert_eq!(answer.header("retry-after"), "1"),
            status => panic!("{status} {}", answer.text()),
        }
    }
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == codes[0]), "{codes:?}");
    assert_eq!(count(&server).await, 1);
    let fresh = answers
        .iter()
        .filter(|answer| answer.status == 201 && answer.header("idempotency-replayed").is_empty());
    assert_eq!(fresh.count(), 1, "all but one say that they are replayed");
    let later = send(&server, "fifty", &body).await;
    assert_eq!((later.status.as_u16(), later.header("idempotency-replayed")), (201, "true"));
}

#[tokio::test]
async fn a_replay_says_what_was_said_at_first() {
    let server = Server::start().await;
    let found = json!({ "longUrl": "https://found.example/", "findIfExists": true });
    let taken = json!({ "longUrl": "https://new.example/", "customSlug": "taken" });
    server.link(&json!({ "longUrl": "https://found.example/" })).await;
    server.link(&json!({ "longUrl": "https://old.example/", "customSlug": "taken" })).await;
    for (key, body, status) in [
        ("new", &json!({ "longUrl": "https://a.example/" }), 201),
        ("found", &found, 200),
        ("new if not found", &json!({ "longUrl": "https://b.example/", "findIfExists": true }), 201),
        ("taken", &taken, 409),
    ] {
        let key = key.replace(' ', "-");
        let (first, again) = (send(&server, &key, body).await, send(&server, &key, body).await);
        assert_eq!((first.status.as_u16(), again.status.as_u16()), (status, status), "{key}");
        assert_eq!(
            (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
            ("", "true")
        );
        assert_eq!(first.json()["shortCode"], again.json()["shortCode"]);
        assert_eq!(first.header("location"), again.header("location"));
    }
    assert_eq!(count(&server).await, 4);
    let code =
        send(&server, "new", &json!({ "longUrl": "https://a.example/" })).await.json()["shortCode"].clone();
    let path = format!("/rest/v3/short-urls/{}", code.as_str().unwrap());
    assert_eq!(server.api(Method::DELETE, &path, &Value::Null).await.status, 204);
    let gone = send(&server, "new", &json!({ "longUrl": "https://a.example/" })).await;
    assert_eq!(gone.status, 404, "a link that was deleted is not made again");
}

#[tokio::test]
async fn a_key_is_for_one_request_of_one_owner() {
    let server = Server::start().await;
    let (one, other) =
        (json!({ "longUrl": "https://a.example/" }), json!({ "longUrl": "https://b.example/" }));
    assert_eq!(send(&server, "k", &one).await.status, 201);
    assert_eq!(send(&server, "k", &other).await.status, 422);
    let headers = [("x-api-key", server.key.as_str()), ("idempotency-key", "k")];
    let bulk = json!({ "shortUrls": [one] }).to_string();
    let elsewhere = server.call(Method::POST, "/rest/v3/short-urls/bulk", &headers, &bulk).await;
    assert_eq!(elsewhere.status, 422, "another route is another request");
    let (_, key) =
        shortener::keys::create(server.store.inner.as_ref(), shortener::keys::NewKey::named("other"))
            .await
            .unwrap();
    let headers = [("x-api-key", key.as_str()), ("idempotency-key", "k")];
    let theirs = server.call(Method::POST, "/rest/v3/short-urls", &headers, &other.to_string()).await;
    assert_eq!(theirs.status, 201, "each owner has keys of their own");
    for malformed in ["", "two words", &"k".repeat(256)] {
        let answer = send(&server, malformed, &one).await;
        assert_eq!(answer.status, 400, "{malformed}");
    }
    assert_eq!(send(&server, "wrong", &json!({ "longUrl": "x" })).await.status, 400);
    assert_eq!(
        send(&server, "wrong", &one).await.status,
        201,
        "what was refused as wrong has claimed nothing"
    );
}

#[tokio::test]
async fn a_request_under_way_is_said_to_be_and_one_that_failed_can_be_sent_again() {
    let server = Server::start().await;
    let body = json!({ "longUrl": "https://example.com/" });
    server.store.hold_creates(Some(At::Start));
    let (first, ()) = tokio::join!(send(&server, "slow", &body), async {
        server.store.create_held().await;
        let second = send(&server, "slow", &body).await;
        assert_eq!((second.status.as_u16(), second.header("retry-after")), (409, "1"));
        assert_eq!(send(&server, "slow", &json!({ "longUrl": "https://x.example/" })).await.status, 422);
        server.store.hold_creates(None);
    });
    assert_eq!(first.status, 201);
    server.store.fail_creates(true);
    assert_eq!(send(&server, "failed", &body).await.status, 503);
    server.store.fail_creates(false);
    assert_eq!(
        send(&server, "failed", &body).await.status,
        201,
        "nothing was created, so nothing is in its way"
    );
    assert_eq!(count(&server).await, 2);
}

#[tokio::test]
async fn a_process_that_dies_blocks_until_its_lease_ends_and_undoes_nothing() {
    let server = Server::start().await;
    let body = json!({ "longUrl": "https://example.com/" });
    // A creation outlives its client, so only the store can end it: what is left is what a process that was killed leaves.
    let dies = async |key: &str, at: At| {
        server.store.die_in_create(at);
        tokio::select! {
            _ = send(&server, key, &body) => panic!("dead"),
            () = server.store.create_held() => {}
        }
    };
    dies("early", At::Start).await;
    assert_eq!(count(&server).await, 0, "nothing was stored");
    assert_eq!(send(&server, "early", &body).await.status, 409);
    let options = SqliteConnectOptions::new().filename(server.dir.path().join("links.db"));
    let mut file = SqliteConnection::connect_with(&options).await.unwrap();
    let ended =
        sqlx::query("UPDATE claims SET lease_until = lease_until - 31").execute(&mut file).await.unwrap();
    assert_eq!(ended.rows_affected(), 1);
    assert_eq!(send(&server, "early", &body).await.status, 201, "no longer than the lease");
    dies("late", At::End).await;
    assert_eq!(count(&server).await, 2, "it was stored");
    let again = send(&server, "late", &body).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(count(&server).await, 2);
}
