//! Keys of the SQLite store: hashes and what is known of each.

use sqlx::SqlitePool;

use super::{StoreError, rows, unavailable};
use crate::keys::ApiKey;
use crate::link::UnixSeconds;

/// By name and not `*`: SQLite prepares a statement again where the table got a column meanwhile, and sqlx panics of a row that
/// has more of them than it was told.
macro_rules! columns {
    () => {
        "id, name, owner, roles, hash, created_at, expires_at, revoked_at"
    };
}

pub(super) async fn insert(pool: &SqlitePool, key: &ApiKey, hash: &[u8; 32]) -> Result<(), StoreError> {
    let roles = serde_json::to_string(&key.roles).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    sqlx::query(
        "INSERT INTO api_keys (id, name, owner, roles, hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&key.id)
    .bind(&key.name)
    .bind(&key.owner)
    .bind(roles)
    .bind(hash.as_slice())
    .bind(key.created_at)
    .bind(key.expires_at)
    .execute(pool)
    .await
    .map_err(unavailable)?;
    Ok(())
}

pub(super) async fn find(
    pool: &SqlitePool,
    hash: &[u8; 32],
) -> Result<Option<(ApiKey, [u8; 32])>, StoreError> {
    let row = sqlx::query(concat!("SELECT ", columns!(), " FROM api_keys WHERE hash = ?"))
        .bind(hash.as_slice())
        .fetch_optional(pool)
        .await
        .map_err(unavailable)?;
    row.map(|row| Ok((rows::key(&row)?, rows::bytes_32(&row, "hash")?))).transpose()
}

pub(super) async fn list(pool: &SqlitePool) -> Result<Vec<ApiKey>, StoreError> {
    let found = sqlx::query(concat!("SELECT ", columns!(), " FROM api_keys ORDER BY created_at, id"))
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    found.iter().map(rows::key).collect()
}

pub(super) async fn revoke(pool: &SqlitePool, id: &str, at: UnixSeconds) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
        .bind(at)
        .bind(id)
        .execute(pool)
        .await
        .map_err(unavailable)?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn expire(pool: &SqlitePool, id: &str, at: UnixSeconds) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE api_keys SET expires_at = min(coalesce(expires_at, ?1), ?1) WHERE id = ?2 AND revoked_at IS NULL",
    )
    .bind(at)
    .bind(id)
    .execute(pool)
    .await
    .map_err(unavailable)?;
    Ok(done.rows_affected() == 1)
}
