//! Links of the SQLite store one at a time: find, create, edit, delete.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, SqlitePool};

use super::{Changed, Claim, Created, Creation, StoreError, claims, counted, history, rows, unavailable};
use crate::keys::now;
use crate::link::{Link, LinkEdit, LinkRef, LinkState, Match, NewLink};
use crate::target::target_hash;

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM links WHERE domain = ? AND code = ?", rows::LINK_COLUMNS));

/// What is not asked for is NULL; tags are one text, in their order.
static FIND_MATCH: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM links WHERE target_hash = ? AND target = ? AND domain = ?
             AND owner IS coalesce(?, owner) AND code = coalesce(?, code) AND title IS coalesce(?, title)
             AND valid_since IS coalesce(?, valid_since) AND valid_until IS coalesce(?, valid_until)
             AND max_visits IS coalesce(?, max_visits)
             AND crawlable = coalesce(?, crawlable) AND forward_query = coalesce(?, forward_query)
             AND redirect_status IS coalesce(?, redirect_status)
             AND cache_lifetime_s IS coalesce(?, cache_lifetime_s)
             AND (?14 IS NULL OR ?14 = coalesce(
                 (SELECT group_concat(name ORDER BY name) FROM link_tags JOIN tags ON tags.id = link_tags.tag_id
                  WHERE link_tags.link_id = links.id), ''))
         ORDER BY id DESC LIMIT 1",
        rows::LINK_COLUMNS
    )
});

pub(super) async fn find(pool: &SqlitePool, link: LinkRef<'_>) -> Result<Option<Link>, StoreError> {
    let mut connection = pool.acquire().await.map_err(unavailable)?;
    find_on(&mut connection, link).await
}

async fn find_on(connection: &mut SqliteConnection, link: LinkRef<'_>) -> Result<Option<Link>, StoreError> {
    let row = sqlx::query(AssertSqlSafe(FIND.as_str()))
        .bind(link.domain)
        .bind(link.code)
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
    let row = sqlx::query(AssertSqlSafe(FIND_MATCH.as_str()))
        .bind(target_hash(target).to_vec())
        .bind(target)
        .bind(&by.domain)
        .bind(&by.owner)
        .bind(&by.code)
        .bind(&by.title)
        .bind(by.valid_since)
        .bind(by.valid_until)
        .bind(by.max_visits)
        .bind(by.crawlable)
        .bind(by.forward_query)
        .bind(by.redirect_status.map(u16::from))
        .bind(by.cache_lifetime_s)
        .bind(by.tags_text())
        .fetch_optional(connection)
        .await
        .map_err(unavailable)?;
    row.as_ref().map(rows::link).transpose()
}

pub(super) async fn create(
    pool: &SqlitePool,
    links: &[NewLink],
    claim: Option<&Claim>,
) -> Result<Creation, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let (mut all, mut collided) = (Vec::with_capacity(links.len()), Vec::new());
    for (at, link) in links.iter().enumerate() {
        let created = create_one(&mut transaction, link).await?;
        if created == Created::Taken && link.generated {
            collided.push(at);
        }
        all.push(created);
    }
    if !collided.is_empty() {
        return Ok(Creation::Collided(collided));
    }
    if let Some(claim) = claim
        && !claims::finish(&mut transaction, claim, &all).await?
    {
        return Ok(Creation::ClaimLost);
    }
    transaction.commit().await.map_err(unavailable)?;
    Ok(Creation::Done(all))
}

async fn create_one(connection: &mut SqliteConnection, link: &NewLink) -> Result<Created, StoreError> {
    if let Some(by) = &link.unless
        && let Some(found) = find_match(&mut *connection, link.target.as_str(), by).await?
    {
        return Ok(Created::Found(found));
    }
    let settings = &link.settings;
    let created_at = link.created_at.unwrap_or_else(now);
    let done = sqlx::query(
        "INSERT INTO links (domain, code, target, target_hash, title, created_at, valid_since, valid_until, max_visits,
                            crawlable, forward_query, redirect_status, cache_lifetime_s, rules, owner, visits_from)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (domain, code) DO NOTHING",
    )
    .bind(&link.domain)
    .bind(&link.code)
    .bind(link.target.as_str())
    .bind(link.target.hash().to_vec())
    .bind(&settings.title)
    .bind(created_at)
    .bind(settings.valid_since)
    .bind(settings.valid_until)
    .bind(settings.max_visits)
    .bind(settings.crawlable)
    .bind(settings.forward_query)
    .bind(settings.redirect_status.map(u16::from))
    .bind(settings.cache_lifetime_s)
    .bind(rows::rules_text(&link.rules)?)
    .bind(&link.owner)
    .bind(link.visits_from)
    .execute(&mut *connection)
    .await
    .map_err(unavailable)?;
    if done.rows_affected() == 0 {
        return Ok(Created::Taken);
    }
    let id = done.last_insert_rowid();
    set_tags(&mut *connection, id, &settings.tags).await?;
    let stored = find_on(&mut *connection, LinkRef { domain: &link.domain, code: &link.code }).await?;
    let stored = stored.ok_or_else(|| StoreError::Corrupt("a link is gone as it is created".to_owned()))?;
    history::note(connection, &stored, created_at, link.owner.as_deref()).await?;
    Ok(Created::New(stored))
}

pub(super) async fn edit(
    pool: &SqlitePool,
    name: LinkRef<'_>,
    edit: &LinkEdit,
) -> Result<Changed, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let Some(old) = find_on(&mut transaction, name).await? else { return Ok(Changed::NotFound) };
    if edit.if_state.is_some_and(|state| state != old.state()) {
        return Ok(Changed::Conflict(old));
    }
    let mut link = old.clone();
    edit.apply(&mut link);
    let settings = &link.settings;
    sqlx::query(
        "UPDATE links SET target = ?, target_hash = ?, version = ?, revision = ?, title = ?, valid_since = ?,
                          valid_until = ?, max_visits = ?, crawlable = ?, forward_query = ?, redirect_status = ?,
                          cache_lifetime_s = ?, rules = ?, visits_from = ?, visits = ? WHERE id = ?",
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
    .bind(settings.redirect_status.map(u16::from))
    .bind(settings.cache_lifetime_s)
    .bind(rows::rules_text(&link.rules)?)
    .bind(link.visits_from)
    .bind(link.visits)
    .bind(link.id)
    .execute(&mut *transaction)
    .await
    .map_err(unavailable)?;
    if edit.tags.is_some() {
        set_tags(&mut transaction, link.id, &settings.tags).await?;
    }
    if let Some(from) = edit.visits_from {
        counted::note_deleted(&mut transaction, &link, from).await?;
    }
    if link.version != old.version {
        history::keep_rules(&mut transaction, &old).await?;
        history::note(&mut transaction, &link, now(), edit.by.as_deref()).await?;
    }
    transaction.commit().await.map_err(unavailable)?;
    Ok(Changed::Done(link))
}

pub(super) async fn delete(
    pool: &SqlitePool,
    name: LinkRef<'_>,
    if_state: Option<LinkState>,
) -> Result<Changed, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let Some(link) = find_on(&mut transaction, name).await? else { return Ok(Changed::NotFound) };
    if if_state.is_some_and(|state| state != link.state()) {
        return Ok(Changed::Conflict(link));
    }
    sqlx::query("DELETE FROM links WHERE id = ?")
        .bind(link.id)
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    transaction.commit().await.map_err(unavailable)?;
    Ok(Changed::Done(link))
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
