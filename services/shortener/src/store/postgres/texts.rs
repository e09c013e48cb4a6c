//! The index that searches for a part of a text use.

use sqlx::{Connection as _, PgConnection};

use super::StoreError;
use super::pool::failed;

/// Longest that indexing may take, ms: far longer than what is waiting takes on a slow disk. What is broken off is not lost,
/// and no creation waits for it.
pub(super) const INDEX_MS_MAX: u64 = 60_000;

/// The advisory lock of who indexes; any number that nothing else in the database locks.
const INDEX_LOCK: i64 = 0x686f_706c_7465_7874;

/// SQLSTATE of who did not get a lock in time.
const LOCK_TIMEOUT: &str = "55P03";

/// Takes what is on the index's pending list into the index. Not where there is no such index, or where it is somebody
/// else's: then autovacuum does it, and creations do when the list is full.
pub(super) async fn index(connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    sqlx::query("SELECT set_config('statement_timeout', $1, true)")
        .bind(INDEX_MS_MAX.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let done = sqlx::query(
        "SELECT gin_clean_pending_list(oid) FROM pg_class
         WHERE oid = to_regclass('links_by_text') AND pg_has_role(relowner, 'USAGE') AND pg_try_advisory_xact_lock($1)",
    )
    .bind(INDEX_LOCK)
    .execute(&mut *transaction)
    .await;
    match done {
        Ok(_) => transaction.commit().await.map_err(failed),
        // Autovacuum is at it.
        Err(error) if is_locked(&error) => transaction.rollback().await.map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    let said = error.as_database_error().and_then(|said| said.code());
    said.is_some_and(|code| code == LOCK_TIMEOUT)
}
