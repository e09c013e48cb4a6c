//! What statistics need of the SQLite store: which links are meant, and since when visits count.
//! Visits themselves are not here: they are in ClickHouse.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite, SqlitePool};

use super::{Counted, StoreError, unavailable};
use crate::link::{Link, UnixSeconds};
use crate::store::Selection;

/// Name of the time since when orphan visits are shown.
const ORPHAN_VISITS_FROM: &str = "orphan_visits_from";

pub(super) async fn names(pool: &SqlitePool, of: &Selection, limit: u32) -> Result<Vec<Counted>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "SELECT domain, code, coalesce(visits_from, created_at) AS counts_from FROM links WHERE TRUE",
    );
    if let Some(domain) = &of.domain {
        sql.push(" AND domain = ").push_bind(domain.clone());
    }
    if let Some(owner) = &of.owner {
        sql.push(" AND owner = ").push_bind(owner.clone());
    }
    if let Some(tag) = &of.tag {
        sql.push(
            " AND id IN (SELECT link_id FROM link_tags JOIN tags ON tags.id = link_tags.tag_id WHERE tags.name = ",
        );
        sql.push_bind(tag.clone()).push(")");
    }
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
    let rows = sql.build().fetch_all(pool).await.map_err(unavailable)?;
    rows.iter().map(counted).collect::<Result<_, sqlx::Error>>().map_err(unavailable)
}

pub(super) async fn tagged(
    pool: &SqlitePool,
    of: &Selection,
    tags: &[String],
    limit: u32,
) -> Result<Vec<(String, Counted)>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "SELECT tags.name AS tag, domain, code, coalesce(visits_from, created_at) AS counts_from
         FROM tags JOIN link_tags ON link_tags.tag_id = tags.id JOIN links ON links.id = link_tags.link_id
         WHERE tags.name IN (SELECT value FROM json_each(",
    );
    // As one text: a bound value each would meet SQLite's limit on them.
    let tags = serde_json::to_string(tags).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    sql.push_bind(tags).push("))");
    if let Some(domain) = &of.domain {
        sql.push(" AND domain = ").push_bind(domain.clone());
    }
    if let Some(owner) = &of.owner {
        sql.push(" AND owner = ").push_bind(owner.clone());
    }
    sql.push(" LIMIT ").push_bind(i64::from(limit));
    let rows = sql.build().fetch_all(pool).await.map_err(unavailable)?;
    let pairs = rows.iter().map(|row| Ok((row.try_get("tag")?, counted(row)?)));
    pairs.collect::<Result<_, sqlx::Error>>().map_err(unavailable)
}

/// Notes that the visits of a link before a time are deleted.
pub(super) async fn note_deleted(
    connection: &mut SqliteConnection,
    link: &Link,
    from: UnixSeconds,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO deleted_visits (domain, code, visits_from) VALUES (?, ?, ?)
         ON CONFLICT (code, domain) DO UPDATE SET visits_from = max(visits_from, excluded.visits_from)",
    )
    .bind(&link.domain)
    .bind(&link.code)
    .bind(from)
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}

pub(super) async fn deleted(
    pool: &SqlitePool,
    domain: Option<&str>,
    limit: u32,
) -> Result<Vec<Counted>, StoreError> {
    let rows = sqlx::query(
        "SELECT domain, code, visits_from AS counts_from FROM deleted_visits WHERE ?1 IS NULL OR domain = ?1
         ORDER BY visits_from DESC, code, domain LIMIT ?2",
    )
    .bind(domain)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    rows.iter().map(counted).collect::<Result<_, sqlx::Error>>().map_err(unavailable)
}

/// What a row says of a link that is counted.
pub(super) fn counted(row: &SqliteRow) -> Result<Counted, sqlx::Error> {
    Ok(Counted {
        domain: row.try_get("domain")?,
        code: row.try_get("code")?,
        from: row.try_get("counts_from")?,
    })
}

pub(super) async fn orphan_visits_from(pool: &SqlitePool) -> Result<Option<UnixSeconds>, StoreError> {
    let row = sqlx::query("SELECT value FROM settings WHERE name = ?")
        .bind(ORPHAN_VISITS_FROM)
        .fetch_optional(pool)
        .await
        .map_err(unavailable)?;
    row.map(|row| row.try_get("value").map_err(unavailable)).transpose()
}

pub(super) async fn set_orphan_visits_from(pool: &SqlitePool, at: UnixSeconds) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES (?, ?)
         ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
    )
    .bind(ORPHAN_VISITS_FROM)
    .bind(at)
    .execute(pool)
    .await
    .map_err(unavailable)?;
    Ok(())
}
