//! Claims of the SQLite store: requests that have their effect once.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Row, SqlitePool};

use super::{Claim, Claimed, Created, Settled, StoreError, rows, unavailable};
use crate::keys::now;
use crate::link::UnixSeconds;

pub(super) async fn claim(pool: &SqlitePool, claim: &Claim, lease_s: u32) -> Result<Claimed, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let stored =
        sqlx::query("SELECT payload, nonce, lease_until, done FROM claims WHERE owner = ? AND key = ?")
            .bind(&claim.owner)
            .bind(&claim.key)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(unavailable)?;
    let now = now();
    if let Some(row) = stored {
        let same = rows::bytes_32(&row, "payload")? == claim.payload;
        let done: Option<&str> = row.try_get("done").map_err(unavailable)?;
        let nonce: &[u8] = row.try_get("nonce").map_err(unavailable)?;
        let lease_until: UnixSeconds = row.try_get("lease_until").map_err(unavailable)?;
        match done {
            Some(_) if !same => return Ok(Claimed::Mismatch),
            Some(settled) => {
                let settled: Vec<Option<i64>> =
                    serde_json::from_str(settled).map_err(|error| StoreError::Corrupt(error.to_string()))?;
                return Ok(Claimed::Done(settled.into_iter().map(Settled::from_stored).collect()));
            }
            None if nonce != claim.nonce && now < lease_until => {
                return Ok(if same { Claimed::InFlight } else { Claimed::Mismatch });
            }
            // Whoever had it has had no effect, and can have none from now on.
            None => {}
        }
    }
    sqlx::query(
        "INSERT INTO claims (owner, key, payload, nonce, claimed_at, lease_until) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (owner, key) DO UPDATE SET payload = excluded.payload, nonce = excluded.nonce,
             claimed_at = excluded.claimed_at, lease_until = excluded.lease_until",
    )
    .bind(&claim.owner)
    .bind(&claim.key)
    .bind(claim.payload.as_slice())
    .bind(claim.nonce.as_slice())
    .bind(now)
    .bind(now + i64::from(lease_s))
    .execute(&mut *transaction)
    .await
    .map_err(unavailable)?;
    transaction.commit().await.map_err(unavailable)?;
    Ok(Claimed::Ours)
}

pub(super) async fn unclaim(pool: &SqlitePool, claim: &Claim) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM claims WHERE owner = ? AND key = ? AND nonce = ? AND done IS NULL")
        .bind(&claim.owner)
        .bind(&claim.key)
        .bind(claim.nonce.as_slice())
        .execute(pool)
        .await
        .map_err(unavailable)?;
    Ok(())
}

pub(super) async fn forget(pool: &SqlitePool, before: UnixSeconds, limit: u32) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM claims WHERE (owner, key) IN
             (SELECT owner, key FROM claims WHERE claimed_at < ? ORDER BY claimed_at LIMIT ?)",
    )
    .bind(before)
    .bind(limit)
    .execute(pool)
    .await
    .map_err(unavailable)?;
    Ok(done.rows_affected())
}

/// Marks a claim done in the transaction of its effect; false when it is not ours any more.
pub(super) async fn finish(
    connection: &mut SqliteConnection,
    claim: &Claim,
    outcome: &[Created],
) -> Result<bool, StoreError> {
    let settled = claim.settled(outcome);
    let done = serde_json::to_string(&settled).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let updated =
        sqlx::query("UPDATE claims SET done = ? WHERE owner = ? AND key = ? AND nonce = ? AND done IS NULL")
            .bind(done)
            .bind(&claim.owner)
            .bind(&claim.key)
            .bind(claim.nonce.as_slice())
            .execute(connection)
            .await
            .map_err(unavailable)?;
    Ok(updated.rows_affected() == 1)
}
