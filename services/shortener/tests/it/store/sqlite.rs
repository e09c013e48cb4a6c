//! The SQLite store when something else has the file, and what it leaves on disk.

use http::Method;
use serde_json::json;
use shortener::ShortenerConfig;
use shortener::store::sqlite::SqliteStore;
use shortener::store::{LinkStore, StoreError};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::server::Server;

#[tokio::test]
async fn a_locked_file_delays_writes_up_to_their_deadline_and_no_reads() {
    let server = Server::with(|config| config.store.write_ms_max = 200).await;
    let code = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    let options = SqliteConnectOptions::new().filename(server.dir.path().join("links.db"));
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let lock = other.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    let refused = server.create(&json!({ "longUrl": "https://example.com/" })).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
    assert!(server.events().await.iter().any(|event| event.error_type.as_str() == "store_timeout"));
    assert_eq!(server.get(&format!("/{code}")).await.status, 302);
    let path = format!("/rest/v3/short-urls/{code}");
    assert_eq!(server.api(Method::GET, &path, &json!(null)).await.status, 200);
    lock.rollback().await.unwrap();
    // The write that was given up may hold the writer for as long as SQLite waits; then all is as before.
    let mut status = 0;
    for _ in 0..100 {
        status = server.create(&json!({ "longUrl": "https://example.com/" })).await.status.as_u16();
        if status == 201 {
            break;
        }
    }
    assert_eq!(status, 201);
}

#[tokio::test]
async fn the_file_is_its_owners_and_an_empty_one_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ShortenerConfig::default().store;
    config.path = dir.path().join("links.db");
    let store = SqliteStore::open(&config).await.unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Schema { found: 0, .. })), "there is no schema yet");
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    store.ping().await.unwrap();
    // As a later version leaves it behind, and an older one.
    let options = SqliteConnectOptions::new().filename(&config.path);
    let mut file = SqliteConnection::connect_with(&options).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations SELECT 9999, 'later', installed_on, true, x'00', 0 FROM _sqlx_migrations LIMIT 1";
    sqlx::query(later).execute(&mut file).await.unwrap();
    store.ping().await.unwrap();
    store.migrate().await.unwrap();
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version > 1").execute(&mut file).await.unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Schema { found: 1, .. }), "{error:?}");
    file.close().await.unwrap();
    store.secret("codes", [1; 32]).await.unwrap();
    #[cfg(unix)]
    for file in ["links.db", "links.db-wal", "links.db-shm"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    store.close().await;
    config.path = dir.path().join("missing/links.db");
    assert!(matches!(SqliteStore::open(&config).await, Err(StoreError::Unavailable(_))));
}
