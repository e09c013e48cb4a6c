//! Where links of the PostgreSQL store have led: versions that were replaced, and the current one, which is the link itself.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;

use super::pool::failed;
use super::{StoreError, rows};
use crate::link::LinkVersion;
use crate::rule::Rule;

/// The current version of a link, if it is asked for.
macro_rules! current {
    ($condition:literal) => {
        concat!(
            "SELECT version, target, coalesce(rules, '[]') AS rules, coalesce(target_since, created_at) AS since,
                    CASE WHEN target_since IS NULL THEN owner ELSE target_by END AS owner
             FROM links WHERE id = $1 AND ",
            $condition
        )
    };
}

/// What is read of versions.
macro_rules! select {
    () => {
        "SELECT version, target, rules, since, owner,
                (SELECT value FROM settings WHERE name = 'rules_in_history_from' AND value > since) AS rules_since FROM ("
    };
}

const NEWEST: &str = concat!(
    select!(),
    current!("($2::bigint IS NULL OR version < $2)"),
    " UNION ALL
     (SELECT version, target, rules, since, owner FROM past_targets
      WHERE link_id = $1 AND ($2::bigint IS NULL OR version < $2) ORDER BY version DESC LIMIT $3)
     ORDER BY version DESC LIMIT $3) AS versions ORDER BY version DESC"
);

const THESE: &str = concat!(
    select!(),
    current!("version = ANY ($2::bigint[])"),
    " UNION ALL SELECT version, target, rules, since, owner FROM past_targets
     WHERE link_id = $1 AND version = ANY ($2::bigint[])) AS versions"
);

const NOTE: &str = concat!(
    "INSERT INTO past_targets (link_id, version, target, rules, since, owner)
     SELECT $1, version, target, rules, since, owner FROM (",
    current!("TRUE"),
    ") AS current"
);

pub(super) async fn newest(
    connection: &mut PgConnection,
    link_id: i64,
    below: Option<u32>,
    limit: u32,
) -> Result<Vec<LinkVersion>, StoreError> {
    let query = sqlx::query(NEWEST).bind(link_id).bind(below.map(i64::from)).bind(i64::from(limit));
    read(&query.fetch_all(connection).await.map_err(failed)?)
}

pub(super) async fn these(
    connection: &mut PgConnection,
    link_id: i64,
    versions: &[u32],
) -> Result<Vec<LinkVersion>, StoreError> {
    let versions: Vec<_> = versions.iter().copied().map(i64::from).collect();
    let query = sqlx::query(THESE).bind(link_id).bind(versions);
    read(&query.fetch_all(connection).await.map_err(failed)?)
}

/// Notes where the link leads, which is about to be changed.
pub(super) async fn note(transaction: &mut PgConnection, link_id: i64) -> Result<(), StoreError> {
    sqlx::query(NOTE).bind(link_id).execute(transaction).await.map_err(failed)?;
    Ok(())
}

fn read(found: &[PgRow]) -> Result<Vec<LinkVersion>, StoreError> {
    found.iter().map(version).collect::<Result<_, _>>().map_err(failed)
}

fn version(row: &PgRow) -> Result<LinkVersion, sqlx::Error> {
    let rules: Option<Json<Vec<Rule>>> = row.try_get("rules")?;
    Ok(LinkVersion {
        version: rows::whole(row, "version")?,
        target: row.try_get("target")?,
        rules: rules.map(|Json(rules)| rules),
        since: row.try_get("since")?,
        rules_since: row.try_get("rules_since")?,
        owner: row.try_get("owner")?,
    })
}
