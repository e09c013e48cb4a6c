//! Links of the PostgreSQL store one at a time: found, changed, deleted, visited.

use std::sync::LazyLock;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::counts::Counts;
use super::pool::failed;
use super::tags::{self, TagIds};
use super::{Changed, StoreError, history, rows};
use crate::keys::now;
use crate::link::{Link, LinkEdit, LinkRef, LinkState, UnixSeconds};
use crate::target::target_hash;

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM links WHERE domain = $1 AND code = $2", rows::LINK_COLUMNS));

static FIND_IDS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM links WHERE id = ANY ($1)", rows::LINK_COLUMNS));

static FIND_MANY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM unnest($1::text[], $2::text[]) AS asked (domain, code)
         JOIN links ON links.domain = asked.domain AND links.code = asked.code",
        rows::LINK_COLUMNS
    )
});

/// One statement that locks the row it counts in: exact however many there are at once. A limit that was lifted meanwhile,
/// which a cached link may not know yet, refuses nobody.
const TAKE_VISIT: &str = "INSERT INTO link_visits AS old (link_id, visits)
     SELECT id, 1 FROM links WHERE id = $1 AND (max_visits IS NULL OR max_visits >= 1)
     ON CONFLICT (link_id) DO UPDATE SET visits = old.visits + 1
     WHERE old.visits < coalesce((SELECT max_visits FROM links WHERE id = $1), 9223372036854775807)";

pub(super) async fn find(
    connection: &mut PgConnection,
    link: LinkRef<'_>,
) -> Result<Option<Link>, StoreError> {
    let row = sqlx::query(AssertSqlSafe(FIND.as_str()))
        .bind(link.domain)
        .bind(link.code)
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.as_ref().map(rows::link).transpose()
}

pub(super) async fn find_ids(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<Link>, StoreError> {
    let statement = AssertSqlSafe(FIND_IDS.as_str());
    rows::links(&sqlx::query(statement).bind(ids).fetch_all(connection).await.map_err(failed)?)
}

pub(super) async fn find_many(
    connection: &mut PgConnection,
    links: &[LinkRef<'_>],
) -> Result<Vec<Link>, StoreError> {
    let (domains, codes): (Vec<_>, Vec<_>) = links.iter().map(|link| (link.domain, link.code)).unzip();
    let statement = AssertSqlSafe(FIND_MANY.as_str());
    let found = sqlx::query(statement).bind(domains).bind(codes).fetch_all(connection).await;
    rows::links(&found.map_err(failed)?)
}

/// A hash as PostgreSQL reads a uuid.
pub(super) fn hash_text(hash: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(hash))
}

pub(super) async fn taken(
    connection: &mut PgConnection,
    domain: &str,
    codes: &[String],
) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar("SELECT code FROM links WHERE code = ANY ($2) AND domain = $1")
        .bind(domain)
        .bind(codes)
        .fetch_all(connection)
        .await
        .map_err(failed)
}

pub(super) async fn edit(
    connection: &mut PgConnection,
    name: LinkRef<'_>,
    edit: &LinkEdit,
) -> Result<Changed, StoreError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    tags::protect(&mut transaction).await?;
    let new_tags = match &edit.tags {
        Some(names) => Some(tags::made(&mut transaction, names).await?),
        None => None,
    };
    let Some(old) = lock(&mut transaction, name).await? else {
        transaction.rollback().await.map_err(failed)?;
        return Ok(Changed::NotFound);
    };
    if edit.if_state.is_some_and(|state| state != old.state()) {
        transaction.rollback().await.map_err(failed)?;
        return Ok(Changed::Conflict(old));
    }
    let mut link = old.clone();
    edit.apply(&mut link);
    if link.version != old.version {
        set_target(&mut transaction, &link, edit).await?;
    }
    update(&mut transaction, &link, new_tags.as_ref()).await?;
    if edit.begins_limit(&old) {
        count_at_least(&mut transaction, &link).await?;
    }
    if let Some(from) = edit.visits_from {
        note_deleted(&mut transaction, &link, from).await?;
    }
    if let Some(new) = new_tags {
        let mut counts = Counts::default();
        counts.tags(&link, tag_ids(&mut transaction, &old).await?, -1);
        counts.tags(&link, new.into_values(), 1);
        counts.store(&mut transaction).await?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(Changed::Done(link))
}

pub(super) async fn delete(
    connection: &mut PgConnection,
    name: LinkRef<'_>,
    if_state: Option<LinkState>,
) -> Result<Changed, StoreError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    tags::protect(&mut transaction).await?;
    let Some(link) = lock(&mut transaction, name).await? else {
        transaction.rollback().await.map_err(failed)?;
        return Ok(Changed::NotFound);
    };
    if if_state.is_some_and(|state| state != link.state()) {
        transaction.rollback().await.map_err(failed)?;
        return Ok(Changed::Conflict(link));
    }
    let statement = "DELETE FROM links WHERE id = $1";
    sqlx::query(statement).bind(link.id).execute(&mut *transaction).await.map_err(failed)?;
    let mut counts = Counts::default();
    counts.link(&link, tag_ids(&mut transaction, &link).await?, -1);
    counts.store(&mut transaction).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(Changed::Done(link))
}

/// Locks a link against other changes, and only then reads it: a read that had to wait for the lock would see new tags of
/// the link, and not yet what they are called.
async fn lock(transaction: &mut PgConnection, name: LinkRef<'_>) -> Result<Option<Link>, StoreError> {
    let locked = sqlx::query("SELECT FROM links WHERE domain = $1 AND code = $2 FOR UPDATE")
        .bind(name.domain)
        .bind(name.code)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
    if locked.is_none() {
        return Ok(None);
    }
    find(transaction, name).await
}

async fn tag_ids(
    transaction: &mut PgConnection,
    link: &Link,
) -> Result<impl Iterator<Item = i32> + use<>, StoreError> {
    let names: Vec<String> = link.settings.tags.iter().cloned().collect();
    Ok(tags::known(transaction, &names).await?.into_values())
}

/// Stores a new version: the target, which may be the same with other rules, and who leads there since when.
async fn set_target(transaction: &mut PgConnection, link: &Link, edit: &LinkEdit) -> Result<(), StoreError> {
    history::note(transaction, link.id).await?;
    sqlx::query("UPDATE links SET target = $2, target_hash = $3::uuid, version = $4, target_since = $5, target_by = $6
                 WHERE id = $1")
        .bind(link.id)
        .bind(&link.target)
        .bind(hash_text(target_hash(&link.target)))
        .bind(i64::from(link.version))
        .bind(now())
        .bind(&edit.by)
        .execute(transaction)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Stores all but the target.
async fn update(
    transaction: &mut PgConnection,
    link: &Link,
    new_tags: Option<&TagIds>,
) -> Result<(), StoreError> {
    let settings = &link.settings;
    let tags: Option<Vec<i32>> =
        new_tags.filter(|tags| !tags.is_empty()).map(|tags| tags.values().copied().collect());
    sqlx::query(
        "UPDATE links SET revision = $2 - (SELECT coalesce(sum(tags.revision), 0) FROM tags
                              WHERE tags.id = ANY (CASE WHEN $13 THEN $14 ELSE links.tags END)),
                          title = $3, valid_since = $4, valid_until = $5, max_visits = $6,
                          crawlable = $7, forward_query = $8, redirect_status = $9, cache_lifetime_s = $10,
                          rules = $11::json, visits_from = $12, tags = CASE WHEN $13 THEN $14 ELSE tags END
         WHERE id = $1",
    )
    .bind(link.id)
    .bind(link.revision)
    .bind(&settings.title)
    .bind(settings.valid_since)
    .bind(settings.valid_until)
    .bind(settings.max_visits)
    .bind(settings.crawlable)
    .bind(settings.forward_query)
    .bind(rows::status_number(settings.redirect_status))
    .bind(settings.cache_lifetime_s.map(i64::from))
    .bind(rows::rules_text(&link.rules)?)
    .bind(link.visits_from)
    .bind(new_tags.is_some())
    .bind(tags)
    .execute(transaction)
    .await
    .map_err(failed)?;
    Ok(())
}

/// A limit begins: visits so far count.
async fn count_at_least(transaction: &mut PgConnection, link: &Link) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO link_visits AS known (link_id, visits) VALUES ($1, $2)
         ON CONFLICT (link_id) DO UPDATE SET visits = greatest(known.visits, excluded.visits)",
    )
    .bind(link.id)
    .bind(link.visits)
    .execute(transaction)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Notes that the visits of a link before a time are deleted.
async fn note_deleted(
    transaction: &mut PgConnection,
    link: &Link,
    from: UnixSeconds,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO deleted_visits AS known (domain, code, visits_from) VALUES ($1, $2, $3)
         ON CONFLICT (code, domain) DO UPDATE SET visits_from = greatest(known.visits_from, excluded.visits_from)",
    )
    .bind(&link.domain)
    .bind(&link.code)
    .bind(from)
    .execute(transaction)
    .await
    .map_err(failed)?;
    Ok(())
}

pub(super) async fn take_visit(connection: &mut PgConnection, link_id: i64) -> Result<bool, StoreError> {
    /// SQLSTATE of a reference to what is not there.
    const NO_SUCH_LINK: &str = "23503";
    match sqlx::query(TAKE_VISIT).bind(link_id).execute(connection).await {
        Ok(done) => Ok(done.rows_affected() == 1),
        // Deleted just now: there is nothing left to visit.
        Err(sqlx::Error::Database(said)) if said.code().as_deref() == Some(NO_SUCH_LINK) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}
