//! Where links of the SQLite store have led. Each version has a row, the current one too, whose rules are the link's.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, SqlitePool};

use super::{StoreError, rows, unavailable};
use crate::link::{Link, LinkVersion, UnixSeconds};

/// Versions of a link, as far as a condition says.
macro_rules! versions {
    ($condition:literal) => {
        concat!(
            "SELECT past.version, past.target, past.since, past.owner,
                    (SELECT value FROM settings
                     WHERE name = 'rules_in_history_from' AND value > past.since) AS rules_since,
                    CASE WHEN past.version = links.version THEN coalesce(links.rules, '[]') ELSE past.rules END AS rules
             FROM link_targets AS past JOIN links ON links.id = past.link_id WHERE past.link_id = ?1 AND ",
            $condition
        )
    };
}

pub(super) async fn newest(
    pool: &SqlitePool,
    link_id: i64,
    below: Option<u32>,
    limit: u32,
) -> Result<Vec<LinkVersion>, StoreError> {
    let sql = versions!("(?2 IS NULL OR past.version < ?2) ORDER BY past.version DESC LIMIT ?3");
    let found = sqlx::query(sql).bind(link_id).bind(below).bind(limit).fetch_all(pool).await;
    found.map_err(unavailable)?.iter().map(version).collect()
}

pub(super) async fn these(
    pool: &SqlitePool,
    link_id: i64,
    versions: &[u32],
) -> Result<Vec<LinkVersion>, StoreError> {
    let sql = versions!("past.version IN (SELECT value FROM json_each(?2))");
    let found = sqlx::query(sql).bind(link_id).bind(rows::json(&versions)?).fetch_all(pool).await;
    found.map_err(unavailable)?.iter().map(version).collect()
}

/// Notes where a link leads since a time, and who says so.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    link: &Link,
    since: UnixSeconds,
    by: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO link_targets (link_id, version, target, since, owner) VALUES (?, ?, ?, ?, ?)")
        .bind(link.id)
        .bind(link.version)
        .bind(&link.target)
        .bind(since)
        .bind(by)
        .execute(connection)
        .await
        .map_err(unavailable)?;
    Ok(())
}

/// Keeps the rules of a version that is about to be replaced.
pub(super) async fn keep_rules(connection: &mut SqliteConnection, old: &Link) -> Result<(), StoreError> {
    sqlx::query("UPDATE link_targets SET rules = ? WHERE link_id = ? AND version = ?")
        .bind(rows::json(&old.rules)?)
        .bind(old.id)
        .bind(old.version)
        .execute(connection)
        .await
        .map_err(unavailable)?;
    Ok(())
}

fn version(row: &SqliteRow) -> Result<LinkVersion, StoreError> {
    let rules: Option<&str> = row.try_get("rules").map_err(unavailable)?;
    Ok(LinkVersion {
        version: row.try_get("version").map_err(unavailable)?,
        target: row.try_get("target").map_err(unavailable)?,
        rules: rules.map(serde_json::from_str).transpose().map_err(rows::corrupt)?,
        since: row.try_get("since").map_err(unavailable)?,
        rules_since: row.try_get("rules_since").map_err(unavailable)?,
        owner: row.try_get("owner").map_err(unavailable)?,
    })
}
