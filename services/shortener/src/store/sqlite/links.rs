//! Links of the SQLite store one at a time: find, create, edit, delete.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, SqlitePool};

use super::{Created, StoreError, rows, unavailable};
use crate::keys::now;
use crate::link::{Link, LinkEdit, Match, NewLink};
use crate::target::target_hash;

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM links WHERE domain = '' AND code = ?", rows::LINK_COLUMNS));

/// Equal targets looked through for a match. More than that many links to one target, none of which matches,
/// get a new one more, which is no harm.
static FIND_TARGET: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM links WHERE target_hash = ? AND target = ? AND domain = '' ORDER BY id DESC LIMIT 1000",
        rows::LINK_COLUMNS
    )
});

pub(super) async fn find(pool: &SqlitePool, code: &str) -> Result<Option<Link>, StoreError> {
    let mut connection = pool.acquire().await.map_err(unavailable)?;
    find_on(&mut connection, code).await
}

async fn find_on(connection: &mut SqliteConnection, code: &str) -> Result<Option<Link>, StoreError> {
    let row = sqlx::query(AssertSqlSafe(FIND.as_str()))
        .bind(code)
        .fetch_optional(connection)
        .await
        .map_err(unavailable)?;
    row.as_ref().map(rows::link).transpose()
}

pub(super) async fn find_match(
    connection: &mut SqliteConnection,
    target: &str,
    by: &Match,
) -> Result<Option<Link>, StoreError> {
    let found = sqlx::query(AssertSqlSafe(FIND_TARGET.as_str()))
        .bind(target_hash(target).to_vec())
        .bind(target)
        .fetch_all(connection)
        .await
        .map_err(unavailable)?;
    for row in &found {
        let link = rows::link(row)?;
        if by.accepts(&link) {
            return Ok(Some(link));
        }
    }
    Ok(None)
}

pub(super) async fn create(
    pool: &SqlitePool,
    link: &NewLink,
    unless: Option<&Match>,
) -> Result<Created, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    if let Some(by) = unless
        && let Some(found) = find_match(&mut transaction, link.target.as_str(), by).await?
    {
        return Ok(Created::Found(found));
    }
    let settings = &link.settings;
    let done = sqlx::query(
        "INSERT INTO links (code, target, target_hash, title, created_at, valid_since, valid_until, max_visits,
                            crawlable, forward_query, api_key_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (domain, code) DO NOTHING",
    )
    .bind(&link.code)
    .bind(link.target.as_str())
    .bind(link.target.hash().to_vec())
    .bind(&settings.title)
    .bind(now())
    .bind(settings.valid_since)
    .bind(settings.valid_until)
    .bind(settings.max_visits)
    .bind(settings.crawlable)
    .bind(settings.forward_query)
    .bind(&link.api_key_id)
    .execute(&mut *transaction)
    .await
    .map_err(unavailable)?;
    if done.rows_affected() == 0 {
        return Ok(Created::Taken);
    }
    set_tags(&mut transaction, done.last_insert_rowid(), &settings.tags).await?;
    let stored = find_on(&mut transaction, &link.code).await?;
    transaction.commit().await.map_err(unavailable)?;
    stored.map(Created::New).ok_or_else(|| StoreError::Corrupt("a link is gone as it is created".to_owned()))
}

pub(super) async fn edit(pool: &SqlitePool, code: &str, edit: &LinkEdit) -> Result<Option<Link>, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let Some(mut link) = find_on(&mut transaction, code).await? else { return Ok(None) };
    edit.apply(&mut link);
    let settings = &link.settings;
    sqlx::query(
        "UPDATE links SET target = ?, target_hash = ?, version = ?, revision = ?, title = ?, valid_since = ?,
                          valid_until = ?, max_visits = ?, crawlable = ?, forward_query = ? WHERE id = ?",
    )
    .bind(&link.target)
    .bind(target_hash(&link.target).to_vec())
    .bind(link.version)
    .bind(link.revision)
    .bind(&settings.title)
    .bind(settings.valid_since)
    .bind(settings.valid_until)
    .bind(settings.max_visits)
    .bind(settings.crawlable)
    .bind(settings.forward_query)
    .bind(link.id)
    .execute(&mut *transaction)
    .await
    .map_err(unavailable)?;
    if edit.tags.is_some() {
        set_tags(&mut transaction, link.id, &settings.tags).await?;
    }
    transaction.commit().await.map_err(unavailable)?;
    Ok(Some(link))
}

pub(super) async fn delete(pool: &SqlitePool, code: &str) -> Result<Option<Link>, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let Some(link) = find_on(&mut transaction, code).await? else { return Ok(None) };
    sqlx::query("DELETE FROM links WHERE id = ?")
        .bind(link.id)
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    transaction.commit().await.map_err(unavailable)?;
    Ok(Some(link))
}

async fn set_tags(
    connection: &mut SqliteConnection,
    link_id: i64,
    tags: &BTreeSet<String>,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM link_tags WHERE link_id = ?")
        .bind(link_id)
        .execute(&mut *connection)
        .await
        .map_err(unavailable)?;
    for tag in tags {
        sqlx::query("INSERT INTO tags (name) VALUES (?) ON CONFLICT (name) DO NOTHING")
            .bind(tag)
            .execute(&mut *connection)
            .await
            .map_err(unavailable)?;
        sqlx::query("INSERT INTO link_tags (link_id, tag_id) SELECT ?, id FROM tags WHERE name = ?")
            .bind(link_id)
            .bind(tag)
            .execute(&mut *connection)
            .await
            .map_err(unavailable)?;
    }
    Ok(())
}
