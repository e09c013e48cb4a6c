//! API keys of the PostgreSQL store.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::StoreError;
use super::pool::failed;
use super::rows;
use crate::keys::ApiKey;
use crate::link::UnixSeconds;

pub(super) async fn insert(
    connection: &mut PgConnection,
    key: &ApiKey,
    hash: &[u8; 32],
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO api_keys (id, name, owner, roles, hash, created_at, expires_at, revoked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&key.id)
    .bind(&key.name)
    .bind(&key.owner)
    .bind(Json(&key.roles))
    .bind(hash.as_slice())
    .bind(key.created_at)
    .bind(key.expires_at)
    .bind(key.revoked_at)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

pub(super) async fn find(
    connection: &mut PgConnection,
    hash: &[u8; 32],
) -> Result<Option<(ApiKey, [u8; 32])>, StoreError> {
    let row = sqlx::query("SELECT * FROM api_keys WHERE hash = $1")
        .bind(hash.as_slice())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.map(|row| Ok((rows::key(&row).map_err(failed)?, rows::bytes_32(&row, "hash")?))).transpose()
}

pub(super) async fn list(connection: &mut PgConnection) -> Result<Vec<ApiKey>, StoreError> {
    let statement = "SELECT * FROM api_keys ORDER BY created_at, id";
    let found = sqlx::query(statement).fetch_all(connection).await.map_err(failed)?;
    found.iter().map(|row| rows::key(row).map_err(failed)).collect()
}

/// Whose links the keys with this name make.
pub(super) async fn owners(connection: &mut PgConnection, name: &str) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar("SELECT DISTINCT owner FROM api_keys WHERE name = $1")
        .bind(name)
        .fetch_all(connection)
        .await
        .map_err(failed)
}

pub(super) async fn revoke(
    connection: &mut PgConnection,
    id: &str,
    at: UnixSeconds,
) -> Result<bool, StoreError> {
    change(connection, "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL", id, at)
        .await
}

pub(super) async fn expire(
    connection: &mut PgConnection,
    id: &str,
    at: UnixSeconds,
) -> Result<bool, StoreError> {
    let statement =
        "UPDATE api_keys SET expires_at = least(expires_at, $2) WHERE id = $1 AND revoked_at IS NULL";
    change(connection, statement, id, at).await
}

async fn change(
    connection: &mut PgConnection,
    statement: &'static str,
    id: &str,
    at: UnixSeconds,
) -> Result<bool, StoreError> {
    let done = sqlx::query(statement).bind(id).bind(at).execute(connection).await.map_err(failed)?;
    Ok(done.rows_affected() == 1)
}
