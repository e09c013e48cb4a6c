//! Tags of the PostgreSQL store. A link holds the ids of its tags: renaming or deleting a tag writes to no link. That its
//! links look different from then on is said by the tag's own revision, which counts with theirs.

use std::collections::{BTreeSet, HashMap};

use sqlx::{Connection as _, PgConnection, Row};

use super::pool::failed;
use super::{Renamed, StoreError, TagCount};

/// Ids by name.
pub(super) type TagIds = HashMap<String, i32>;

/// The advisory lock on what tags there are; any number that nothing else in the database locks.
const TAGS_LOCK: i64 = 0x686f_706c_7461_6773;

/// How often missing tags are made and looked up. Once does, unless somebody else makes the same one meanwhile; then it is
/// there the second time.
const TRIES_MAX: usize = 3;

/// No tag goes, or gets another name, before the transaction ends.
pub(super) async fn protect(transaction: &mut PgConnection) -> Result<(), StoreError> {
    lock(transaction, "SELECT pg_advisory_xact_lock_shared($1)").await
}

async fn lock(transaction: &mut PgConnection, statement: &'static str) -> Result<(), StoreError> {
    sqlx::query(statement).bind(TAGS_LOCK).execute(transaction).await.map_err(failed)?;
    Ok(())
}

/// The ids of those that there are.
pub(super) async fn known(connection: &mut PgConnection, names: &[String]) -> Result<TagIds, StoreError> {
    if names.is_empty() {
        return Ok(TagIds::new());
    }
    let statement = "SELECT id, name FROM tags WHERE name = ANY ($1)";
    let rows = sqlx::query(statement).bind(names).fetch_all(connection).await.map_err(failed)?;
    rows.iter()
        .map(|row| Ok((row.try_get("name")?, row.try_get("id")?)))
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// The ids of all of them, made where they are missing. In a transaction with [`protect`].
pub(super) async fn made(
    transaction: &mut PgConnection,
    names: &BTreeSet<String>,
) -> Result<TagIds, StoreError> {
    let names: Vec<String> = names.iter().cloned().collect();
    for _ in 0..TRIES_MAX {
        let ids = known(&mut *transaction, &names).await?;
        let missing: Vec<&String> = names.iter().filter(|name| !ids.contains_key(*name)).collect();
        if missing.is_empty() {
            return Ok(ids);
        }
        // In the order of a set, so that two transactions never wait for each other.
        sqlx::query("INSERT INTO tags (name) SELECT unnest($1::text[]) ON CONFLICT (name) DO NOTHING")
            .bind(missing)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    Err(StoreError::Corrupt("tags are gone as they are made".to_owned()))
}

/// Ids of tags that a search term is a part of. More than these are no help to who searches.
pub(super) async fn holding(connection: &mut PgConnection, term: &str) -> Result<Vec<i32>, StoreError> {
    let statement = "SELECT id FROM tags WHERE strpos(name, $1) > 0 ORDER BY id LIMIT 1000";
    sqlx::query_scalar(statement).bind(term).fetch_all(connection).await.map_err(failed)
}

pub(super) async fn list(
    connection: &mut PgConnection,
    owner: Option<&str>,
    domain: Option<&str>,
) -> Result<Vec<TagCount>, StoreError> {
    let statement = "SELECT tags.name, sum(links)::bigint AS links
         FROM link_counts JOIN tags ON tags.id = link_counts.tag_id
         WHERE ($1::text IS NULL OR owner = $1) AND ($2::text IS NULL OR domain = $2)
         GROUP BY tags.id HAVING sum(links) > 0 ORDER BY tags.name";
    let query = sqlx::query(statement).bind(owner).bind(domain);
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    let counts = rows.iter().map(|row| {
        let links: i64 = row.try_get("links")?;
        Ok(TagCount { name: row.try_get("name")?, links: u64::try_from(links).unwrap_or_default() })
    });
    counts.collect::<Result<_, sqlx::Error>>().map_err(failed)
}

pub(super) async fn rename(
    connection: &mut PgConnection,
    old: &str,
    new: &str,
) -> Result<Renamed, StoreError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    lock(&mut transaction, "SELECT pg_advisory_xact_lock($1)").await?;
    // A tag that no link has is none, though its row may be there still.
    let statement = "SELECT name FROM tags WHERE name = ANY ($1)
         AND (SELECT sum(links) FROM link_counts WHERE tag_id = tags.id) > 0";
    let used: Vec<String> =
        sqlx::query_scalar(statement).bind([old, new]).fetch_all(&mut *transaction).await.map_err(failed)?;
    let is_used = |name| used.iter().any(|used| used == name);
    let renamed = if !is_used(old) {
        Renamed::NotFound
    } else if old == new {
        Renamed::Done
    } else if is_used(new) {
        Renamed::Conflict
    } else {
        sqlx::query("DELETE FROM tags WHERE name = $1")
            .bind(new)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("UPDATE tags SET name = $2, revision = revision + 1 WHERE name = $1")
            .bind(old)
            .bind(new)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        Renamed::Done
    };
    transaction.commit().await.map_err(failed)?;
    Ok(renamed)
}

pub(super) async fn delete(connection: &mut PgConnection, names: &[String]) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    lock(&mut transaction, "SELECT pg_advisory_xact_lock($1)").await?;
    let statement = "UPDATE tags SET name = NULL, revision = revision + 1 WHERE name = ANY ($1) RETURNING id";
    let ids: Vec<i32> =
        sqlx::query_scalar(statement).bind(names).fetch_all(&mut *transaction).await.map_err(failed)?;
    sqlx::query("DELETE FROM link_counts WHERE tag_id = ANY ($1)")
        .bind(ids)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}
