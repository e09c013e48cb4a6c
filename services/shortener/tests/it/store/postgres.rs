//! The PostgreSQL store when its server goes away, has replicas, or another schema.

use shortener::store::postgres::PostgresStore;
use shortener::store::{LinkStore, StoreError};

use crate::store::postgres_at;

#[tokio::test]
async fn a_schema_that_is_missing_is_named() {
    let Some(server) = testbed::shared_postgres() else { return };
    let store = PostgresStore::open(&postgres_at(&server.database())).unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Schema { found: 0, .. }), "{error:?}");
    assert!(error.to_string().contains("hoplog migrate"), "{error}");
}
