//! Claims of the PostgreSQL store: requests that have their effect once. Times are the database's, so that instances agree.

use sqlx::{PgConnection, Row};

use super::pool::failed;
use super::{Claim, Claimed, Created, Settled, StoreError};
use crate::link::UnixSeconds;

/// How often a claim is tried that was given up or forgotten between a try and the look at it.
const TRIES_MAX: usize = 3;

pub(super) async fn claim(
    connection: &mut PgConnection,
    claim: &Claim,
    lease_s: u32,
) -> Result<Claimed, StoreError> {
    for _ in 0..TRIES_MAX {
        if take(&mut *connection, claim, lease_s).await? {
            return Ok(Claimed::Ours);
        }
        if let Some(state) = look(&mut *connection, claim).await? {
            return Ok(state);
        }
    }
    Ok(Claimed::InFlight)
}

/// Whether it is ours now: it is new, or was ours, or its lease ran out.
async fn take(connection: &mut PgConnection, claim: &Claim, lease_s: u32) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO claims AS old (owner, key, payload, nonce, claimed_at, lease_until)
         SELECT $1, $2, $3, $4, now_s, now_s + $5 FROM (SELECT extract(epoch FROM clock_timestamp())::bigint AS now_s)
         AS clock
         ON CONFLICT (owner, key) DO UPDATE
         SET payload = excluded.payload, nonce = excluded.nonce, claimed_at = excluded.claimed_at,
             lease_until = excluded.lease_until
         WHERE old.done IS NULL AND (old.nonce = excluded.nonce OR old.lease_until <= excluded.claimed_at)",
    )
    .bind(&claim.owner)
    .bind(&claim.key)
    .bind(claim.payload.as_slice())
    .bind(claim.nonce.as_slice())
    .bind(i64::from(lease_s))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

async fn look(connection: &mut PgConnection, claim: &Claim) -> Result<Option<Claimed>, StoreError> {
    let row = sqlx::query("SELECT payload = $3 AS same, done FROM claims WHERE owner = $1 AND key = $2")
        .bind(&claim.owner)
        .bind(&claim.key)
        .bind(claim.payload.as_slice())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let done: Option<Vec<Option<i64>>> = row.try_get("done").map_err(failed)?;
    let same: bool = row.try_get("same").map_err(failed)?;
    Ok(Some(match done {
        _ if !same => Claimed::Mismatch,
        Some(settled) => Claimed::Done(settled.into_iter().map(Settled::from_stored).collect()),
        None => Claimed::InFlight,
    }))
}

/// Marks a claim done in the transaction of its effect; false when it is not ours any more.
pub(super) async fn finish(
    transaction: &mut PgConnection,
    claim: &Claim,
    outcome: &[Created],
) -> Result<bool, StoreError> {
    let settled = claim.settled(outcome);
    let done = sqlx::query(
        "UPDATE claims SET done = $4 WHERE owner = $1 AND key = $2 AND nonce = $3 AND done IS NULL",
    )
    .bind(&claim.owner)
    .bind(&claim.key)
    .bind(claim.nonce.as_slice())
    .bind(settled)
    .execute(transaction)
    .await
    .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn give_up(connection: &mut PgConnection, claim: &Claim) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM claims WHERE owner = $1 AND key = $2 AND nonce = $3 AND done IS NULL")
        .bind(&claim.owner)
        .bind(&claim.key)
        .bind(claim.nonce.as_slice())
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

pub(super) async fn forget(
    connection: &mut PgConnection,
    before: UnixSeconds,
    limit: u32,
) -> Result<u64, StoreError> {
    // Instances that forget at the same time pass each other by.
    let done = sqlx::query(
        "DELETE FROM claims USING (SELECT owner, key FROM claims WHERE claimed_at < $1 ORDER BY claimed_at LIMIT $2
                                   FOR UPDATE SKIP LOCKED) AS old
         WHERE claims.owner = old.owner AND claims.key = old.key",
    )
    .bind(before)
    .bind(i64::from(limit))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(done.rows_affected())
}
