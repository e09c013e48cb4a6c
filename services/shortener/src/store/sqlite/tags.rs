//! Tags of the SQLite store across all links. A tag that no link has is as good as none.
//! What a link has is written with the link.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, SqlitePool};

use super::{Renamed, StoreError, TagCount, unavailable};

pub(super) async fn tags(
    pool: &SqlitePool,
    owner: Option<&str>,
    domain: Option<&str>,
) -> Result<Vec<TagCount>, StoreError> {
    let query = match (owner, domain) {
        (Some(_), _) | (_, Some(_)) => sqlx::query(
            "SELECT tags.name, count(*) AS links FROM links
             JOIN link_tags ON link_tags.link_id = links.id JOIN tags ON tags.id = link_tags.tag_id
             WHERE (?1 IS NULL OR links.owner = ?1) AND (?2 IS NULL OR links.domain = ?2)
             GROUP BY tags.name ORDER BY tags.name",
        )
        .bind(owner)
        .bind(domain),
        (None, None) => sqlx::query(
            "SELECT tags.name, count(*) AS links FROM tags JOIN link_tags ON link_tags.tag_id = tags.id
             GROUP BY tags.id ORDER BY tags.name",
        ),
    };
    let found = query.fetch_all(pool).await.map_err(unavailable)?;
    let count = |row: &SqliteRow| {
        let links: i64 = row.try_get("links").map_err(unavailable)?;
        let name = row.try_get("name").map_err(unavailable)?;
        Ok(TagCount { name, links: u64::try_from(links).unwrap_or_default() })
    };
    found.iter().map(count).collect()
}

pub(super) async fn rename(pool: &SqlitePool, old: &str, new: &str) -> Result<Renamed, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let Some(id) = used(&mut transaction, old).await? else { return Ok(Renamed::NotFound) };
    if old == new {
        return Ok(Renamed::Done);
    }
    if used(&mut transaction, new).await?.is_some() {
        return Ok(Renamed::Conflict);
    }
    // The new name may be left of links that have lost it.
    sqlx::query("DELETE FROM tags WHERE name = ?")
        .bind(new)
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    sqlx::query("UPDATE tags SET name = ? WHERE id = ?")
        .bind(new)
        .bind(id)
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    revise(&mut transaction, id).await?;
    transaction.commit().await.map_err(unavailable)?;
    Ok(Renamed::Done)
}

pub(super) async fn delete(pool: &SqlitePool, names: &[String]) -> Result<(), StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    for name in names {
        if let Some(id) = used(&mut transaction, name).await? {
            revise(&mut transaction, id).await?;
            sqlx::query("DELETE FROM tags WHERE id = ?")
                .bind(id)
                .execute(&mut *transaction)
                .await
                .map_err(unavailable)?;
        }
    }
    transaction.commit().await.map_err(unavailable)
}

/// The id of a tag that links have.
async fn used(connection: &mut SqliteConnection, name: &str) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query(
        "SELECT id FROM tags WHERE name = ? AND EXISTS (SELECT 1 FROM link_tags WHERE tag_id = tags.id)",
    )
    .bind(name)
    .fetch_optional(connection)
    .await
    .map_err(unavailable)?;
    row.map(|row| row.try_get("id").map_err(unavailable)).transpose()
}

/// The links with a tag are about to look different.
async fn revise(connection: &mut SqliteConnection, tag_id: i64) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE links SET revision = revision + 1 WHERE id IN (SELECT link_id FROM link_tags WHERE tag_id = ?)",
    )
    .bind(tag_id)
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}
