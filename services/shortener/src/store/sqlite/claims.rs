//! Claims of the SQLite store: requests that have their effect once.

use sqlx::sqlite::SqliteConnection;

use super::{Claim, Created, StoreError, unavailable};

/// Marks a claim done in the transaction of its effect; false when it is not ours any more.
pub(super) async fn finish(
    connection: &mut SqliteConnection,
    claim: &Claim,
    outcome: &[Created],
) -> Result<bool, StoreError> {
    let ids: Vec<Option<i64>> = outcome
        .iter()
        .map(|created| match created {
            Created::New(link) | Created::Found(link) => Some(link.id),
            Created::Taken => None,
        })
        .collect();
    let done = serde_json::to_string(&ids).map_err(|error| StoreError::Corrupt(error.to_string()))?;
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
