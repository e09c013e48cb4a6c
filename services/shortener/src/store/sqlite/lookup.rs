//! Links of the SQLite store found many at a time by what names them.
//! Lists go as one JSON text: a bound value each would meet SQLite's limit on them.

use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, Row, SqlitePool};

use super::{StoreError, rows, unavailable};
use crate::link::{Link, LinkRef};

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
    let found = sqlx::query(AssertSqlSafe(FIND_IDS.as_str())).bind(rows::json(&ids)?).fetch_all(pool).await;
    found.map_err(unavailable)?.iter().map(rows::link).collect()
}

pub(super) async fn find_many(pool: &SqlitePool, links: &[LinkRef<'_>]) -> Result<Vec<Link>, StoreError> {
    let names: Vec<_> = links.iter().map(|link| [link.domain, link.code]).collect();
    let found =
        sqlx::query(AssertSqlSafe(FIND_NAMES.as_str())).bind(rows::json(&names)?).fetch_all(pool).await;
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
            .bind(rows::json(&codes)?)
            .fetch_all(pool)
            .await
            .map_err(unavailable)?;
    found.iter().map(|row| row.try_get("code").map_err(unavailable)).collect()
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
