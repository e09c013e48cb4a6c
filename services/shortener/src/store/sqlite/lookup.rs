//! Links of the SQLite store found many at a time by what names them, and what is known of one besides its row.
//! Lists go as one JSON text: a bound value each would meet SQLite's limit on them.

use std::sync::LazyLock;

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqlitePool};

use super::{StoreError, rows, unavailable};
use crate::link::{Link, LinkRef, PastTarget};

static FIND_IDS: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {} FROM links WHERE id IN (SELECT value FROM json_each(?))", rows::LINK_COLUMNS)
});

static FIND_NAMES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM links WHERE (domain, code) IN
             (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))",
        rows::LINK_COLUMNS
    )
});

pub(super) async fn find_ids(pool: &SqlitePool, ids: &[i64]) -> Result<Vec<Link>, StoreError> {
    let found = sqlx::query(AssertSqlSafe(FIND_IDS.as_str())).bind(json(&ids)?).fetch_all(pool).await;
    found.map_err(unavailable)?.iter().map(rows::link).collect()
}

pub(super) async fn find_many(pool: &SqlitePool, links: &[LinkRef<'_>]) -> Result<Vec<Link>, StoreError> {
    let names: Vec<_> = links.iter().map(|link| [link.domain, link.code]).collect();
    let found = sqlx::query(AssertSqlSafe(FIND_NAMES.as_str())).bind(json(&names)?).fetch_all(pool).await;
    found.map_err(unavailable)?.iter().map(rows::link).collect()
}

pub(super) async fn taken(
    pool: &SqlitePool,
    domain: &str,
    codes: &[String],
) -> Result<Vec<String>, StoreError> {
    let found =
        sqlx::query("SELECT code FROM links WHERE domain = ? AND code IN (SELECT value FROM json_each(?))")
            .bind(domain)
            .bind(json(&codes)?)
            .fetch_all(pool)
            .await
            .map_err(unavailable)?;
    found.iter().map(|row| row.try_get("code").map_err(unavailable)).collect()
}

pub(super) async fn history(pool: &SqlitePool, link_id: i64) -> Result<Vec<PastTarget>, StoreError> {
    let found = sqlx::query(
        "SELECT version, target, since, owner FROM link_targets WHERE link_id = ? ORDER BY version DESC",
    )
    .bind(link_id)
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    let past = |row: &SqliteRow| {
        Ok(PastTarget {
            version: row.try_get("version").map_err(unavailable)?,
            target: row.try_get("target").map_err(unavailable)?,
            since: row.try_get("since").map_err(unavailable)?,
            owner: row.try_get("owner").map_err(unavailable)?,
        })
    };
    found.iter().map(past).collect()
}

pub(super) async fn count(pool: &SqlitePool, owner: Option<&str>) -> Result<u64, StoreError> {
    let query = match owner {
        Some(owner) => sqlx::query("SELECT count(*) FROM links WHERE owner = ?").bind(owner),
        None => sqlx::query("SELECT count(*) FROM links"),
    };
    let row = query.fetch_one(pool).await.map_err(unavailable)?;
    let counted: i64 = row.try_get(0).map_err(unavailable)?;
    Ok(u64::try_from(counted).unwrap_or_default())
}

fn json(list: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(|error| StoreError::Corrupt(error.to_string()))
}
