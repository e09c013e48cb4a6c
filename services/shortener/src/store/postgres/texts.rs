//! The index that searches for a part of a text use.

use std::sync::Once;

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

/// Takes what is on the index's pending list into the index; how many pages that were. None where there is no such index, or
/// where it is somebody else's: then autovacuum does it, and creations do when the list is full.
pub(super) async fn index(connection: &mut PgConnection) -> Result<u64, StoreError> {
    static NOT_OURS: Once = Once::new();
    let owned =
        "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('links_by_text')";
    match sqlx::query_scalar::<_, bool>(owned).fetch_optional(&mut *connection).await.map_err(failed)? {
        None => return Ok(0),
        Some(false) => {
            NOT_OURS.call_once(|| {
                tracing::warn!("the index links_by_text is another role's: creations will have to keep it");
            });
            return Ok(0);
        }
        Some(true) => {}
    }
    let mut transaction = connection.begin().await.map_err(failed)?;
    sqlx::query("SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', '1s', true)")
        .bind((INDEX_MS_MAX - 5_000).to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let pages = sqlx::query_scalar::<_, Option<i64>>(
        "SELECT CASE WHEN pg_try_advisory_xact_lock($1) THEN gin_clean_pending_list(to_regclass('links_by_text')) END",
    )
    .bind(INDEX_LOCK)
    .fetch_one(&mut *transaction)
    .await;
    match pages {
        Ok(pages) => {
            transaction.commit().await.map_err(failed)?;
            Ok(pages.and_then(|pages| u64::try_from(pages).ok()).unwrap_or(0))
        }
        // Autovacuum is at it.
        Err(error) if is_locked(&error) => {
            transaction.rollback().await.map_err(failed)?;
            Ok(0)
        }
        Err(error) => Err(failed(error)),
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    let said = error.as_database_error().and_then(|said| said.code());
    said.is_some_and(|code| code == LOCK_TIMEOUT)
}
