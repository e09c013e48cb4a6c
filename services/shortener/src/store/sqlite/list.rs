//! Links of the SQLite store many at a time.
//! A search term scans the table: an index for it comes with the store that large tables are kept in.

use std::collections::BTreeSet;

use sqlx::{QueryBuilder, Row, Sqlite, SqlitePool};

use super::counted::counted;
use super::{Counted, StoreError, rows, unavailable};
use crate::link::{ListQuery, ORDERED_CHARS_MAX, Order, Page, UnixSeconds};

pub(super) async fn list(pool: &SqlitePool, query: &ListQuery) -> Result<Page, StoreError> {
    // One transaction, so that the total is that of the page.
    let mut transaction = pool.begin().await.map_err(unavailable)?;
    let mut total = None;
    if query.count && query.after.is_none() {
        let mut count = QueryBuilder::<Sqlite>::new("SELECT count(*) AS total FROM links");
        push_filter(&mut count, query);
        let row = count.build().fetch_one(&mut *transaction).await.map_err(unavailable)?;
        let counted: i64 = row.try_get("total").map_err(unavailable)?;
        total = Some(u64::try_from(counted).unwrap_or_default());
    }
    // Whoever asks beyond the end is not worth reading up to there.
    if total.is_some_and(|total| query.offset >= total) {
        return Ok(Page { links: Vec::new(), total });
    }

    let mut select = QueryBuilder::<Sqlite>::new("SELECT ");
    select.push(rows::LINK_COLUMNS).push(" FROM links");
    push_filter(&mut select, query);
    let direction = if query.descending { " DESC" } else { " ASC" };
    let column: &str = match query.order {
        Order::Created => "links.created_at",
        Order::Code => "links.code",
        Order::Target => &format!("substr(links.target, 1, {ORDERED_CHARS_MAX})"),
        // No title is as good as an empty one: nothing compares with NULL, so no page would come after it.
        Order::Title => "coalesce(links.title, '')",
    };
    if let Some(after) = &query.after {
        let below = if query.descending { ", links.id) < (" } else { ", links.id) > (" };
        select.push(" AND (").push(column).push(below);
        match query.order {
            Order::Created => {
                let at = after.value.parse::<UnixSeconds>();
                select.push_bind(at.map_err(|_| StoreError::Corrupt("cursor is no time".to_owned()))?)
            }
            Order::Code | Order::Target | Order::Title => select.push_bind(after.value.clone()),
        };
        select.push(", ").push_bind(after.id).push(")");
    }
    // The id settles ties, so that no link is on two pages.
    select.push(" ORDER BY ").push(column).push(direction).push(", links.id").push(direction);
    select.push(" LIMIT ").push_bind(i64::from(query.limit));
    select.push(" OFFSET ").push_bind(i64::try_from(query.offset).unwrap_or(i64::MAX));
    let found = select.build().fetch_all(&mut *transaction).await.map_err(unavailable)?;
    let links = found.iter().map(rows::link).collect::<Result<_, _>>()?;
    Ok(Page { links, total })
}

pub(super) async fn names(
    pool: &SqlitePool,
    query: &ListQuery,
    limit: u32,
) -> Result<Vec<(i64, Counted)>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "SELECT id, domain, code, coalesce(visits_from, created_at) AS counts_from FROM links",
    );
    push_filter(&mut sql, query);
    sql.push(" LIMIT ").push_bind(i64::from(limit));
    let rows = sql.build().fetch_all(pool).await.map_err(unavailable)?;
    let named = rows.iter().map(|row| Ok((row.try_get("id")?, counted(row)?)));
    named.collect::<Result<_, sqlx::Error>>().map_err(unavailable)
}

pub(super) async fn crawlable(
    pool: &SqlitePool,
    domain: &str,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("SELECT code FROM links WHERE crawlable AND domain = ? ORDER BY id DESC LIMIT ?")
        .bind(domain)
        .bind(limit)
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    rows.iter().map(|row| row.try_get("code").map_err(unavailable)).collect()
}

fn push_filter(sql: &mut QueryBuilder<Sqlite>, query: &ListQuery) {
    sql.push(" WHERE TRUE");
    if let Some(domain) = &query.domain {
        sql.push(" AND links.domain = ").push_bind(domain.clone());
    }
    if let Some(owner) = &query.owner {
        sql.push(" AND links.owner = ").push_bind(owner.clone());
    }
    if let Some(name) = &query.key_name {
        sql.push(" AND links.owner IN (SELECT owner FROM api_keys WHERE name = ").push_bind(name.clone());
        sql.push(")");
    }
    if let Some(term) = &query.search {
        // instr and not LIKE: a term with % or _ means these characters.
        // Only ASCII has a lower case here; tags are stored in that of all letters.
        let (tag, term) = (term.to_lowercase(), term.to_ascii_lowercase());
        sql.push(" AND (instr(lower(links.target), ").push_bind(term.clone());
        sql.push(") OR instr(lower(links.code), ").push_bind(term.clone());
        sql.push(") OR instr(lower(coalesce(links.title, '')), ").push_bind(term);
        sql.push(
            ") OR EXISTS (SELECT 1 FROM link_tags JOIN tags ON tags.id = link_tags.tag_id
                           WHERE link_tags.link_id = links.id AND instr(tags.name, ",
        );
        sql.push_bind(tag).push(")))");
    }
    if !query.tags.is_empty() {
        push_tags_in_common(sql, &query.tags);
        sql.push(" >= ").push_bind(least(&query.tags, query.tags_all));
    }
    if !query.exclude_tags.is_empty() {
        push_tags_in_common(sql, &query.exclude_tags);
        sql.push(" < ").push_bind(least(&query.exclude_tags, query.exclude_tags_all));
    }
    if let Some(from) = query.created_from {
        sql.push(" AND links.created_at >= ").push_bind(from);
    }
    if let Some(to) = query.created_to {
        sql.push(" AND links.created_at <= ").push_bind(to);
    }
    if query.exclude_exhausted {
        sql.push(" AND (links.max_visits IS NULL OR links.visits < links.max_visits)");
    }
    if let Some(at) = query.exclude_expired_at {
        sql.push(" AND (links.valid_until IS NULL OR links.valid_until > ").push_bind(at).push(")");
    }
}

/// How many of these tags a link has.
fn push_tags_in_common(sql: &mut QueryBuilder<Sqlite>, tags: &BTreeSet<String>) {
    sql.push(
        " AND (SELECT count(*) FROM link_tags JOIN tags ON tags.id = link_tags.tag_id
                WHERE link_tags.link_id = links.id AND tags.name IN (",
    );
    let mut names = sql.separated(", ");
    for tag in tags {
        names.push_bind(tag.clone());
    }
    sql.push("))");
}

fn least(tags: &BTreeSet<String>, all: bool) -> i64 {
    if all { i64::try_from(tags.len()).unwrap_or(i64::MAX) } else { 1 }
}
