//! What the PostgreSQL store keeps for the installation as a whole: secrets, code ranges, times, and its schema's version.

use std::ops::Range;

use sqlx::PgConnection;

use super::pool::failed;
use super::{StoreError, rows};
use crate::link::UnixSeconds;

/// Name of the time since when orphan visits are shown.
const ORPHAN_VISITS_FROM: &str = "orphan_visits_from";

pub(super) async fn secret(
    connection: &mut PgConnection,
    name: &str,
    proposed: [u8; 32],
) -> Result<[u8; 32], StoreError> {
    let row = sqlx::query(
        "INSERT INTO secrets AS old (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = old.value RETURNING value",
    )
    .bind(name)
    .bind(proposed.as_slice())
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    rows::bytes_32(&row, "value")
}

pub(super) async fn lease(
    connection: &mut PgConnection,
    length: u32,
    count: u64,
) -> Result<Range<u64>, StoreError> {
    let too_large = |_| StoreError::Corrupt("lease too large".to_owned());
    let end: i64 = sqlx::query_scalar(
        "INSERT INTO code_ranges AS old (length, next_id) VALUES ($1, $2)
         ON CONFLICT (length) DO UPDATE SET next_id = old.next_id + excluded.next_id RETURNING next_id",
    )
    .bind(i32::try_from(length).map_err(too_large)?)
    .bind(i64::try_from(count).map_err(too_large)?)
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    let end = u64::try_from(end).ok();
    let range = end.and_then(|end| Some(end.checked_sub(count)?..end));
    range.ok_or_else(|| StoreError::Corrupt("negative code range".to_owned()))
}

pub(super) async fn orphan_visits_from(
    connection: &mut PgConnection,
) -> Result<Option<UnixSeconds>, StoreError> {
    sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
        .bind(ORPHAN_VISITS_FROM)
        .fetch_optional(connection)
        .await
        .map_err(failed)
}

pub(super) async fn set_orphan_visits_from(
    connection: &mut PgConnection,
    at: UnixSeconds,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO settings AS old (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = greatest(old.value, excluded.value)",
    )
    .bind(ORPHAN_VISITS_FROM)
    .bind(at)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// The last migration that was made; `None` where there was none.
pub(super) async fn schema_version(connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    let table: Option<String> = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations')::text")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if table.is_none() {
        return Ok(None);
    }
    let statement = "SELECT max(version) FROM _sqlx_migrations WHERE success";
    sqlx::query_scalar(statement).fetch_one(connection).await.map_err(failed)
}
