//! Links of the PostgreSQL store that are as good as new ones: for any number of them in one statement.
//! What is done with them is said elsewhere.

use std::sync::LazyLock;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::links::hash_text;
use super::pool::failed;
use super::{StoreError, rows};
use crate::link::{Link, Match};
use crate::target::target_hash;

/// The newest one each. What is not asked for is NULL; tags are one text, in their order.
static FIND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT asked.place, {} FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                 $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::boolean[], $12::boolean[], $13::smallint[],
                 $14::bigint[]) WITH ORDINALITY
             AS asked (hash, target, domain, owner, code, title, tags, valid_since, valid_until, max_visits,
                       crawlable, forward_query, redirect_status, cache_lifetime_s, place)
         CROSS JOIN LATERAL (
             SELECT * FROM links
             WHERE links.target_hash = asked.hash::uuid AND links.target = asked.target
                 AND links.domain = asked.domain
                 AND (asked.owner IS NULL OR links.owner = asked.owner)
                 AND (asked.code IS NULL OR links.code = asked.code)
                 AND (asked.title IS NULL OR links.title = asked.title)
                 AND (asked.valid_since IS NULL OR links.valid_since = asked.valid_since)
                 AND (asked.valid_until IS NULL OR links.valid_until = asked.valid_until)
                 AND (asked.max_visits IS NULL OR links.max_visits = asked.max_visits)
                 AND (asked.crawlable IS NULL OR links.crawlable = asked.crawlable)
                 AND (asked.forward_query IS NULL OR links.forward_query = asked.forward_query)
                 AND (asked.redirect_status IS NULL OR links.redirect_status = asked.redirect_status)
                 AND (asked.cache_lifetime_s IS NULL OR links.cache_lifetime_s = asked.cache_lifetime_s)
                 AND (asked.tags IS NULL OR asked.tags = coalesce(
                     (SELECT string_agg(name, ',' ORDER BY name) FROM tags
                      WHERE tags.id = ANY (links.tags) AND name IS NOT NULL), ''))
             ORDER BY links.id DESC LIMIT 1) AS links",
        rows::LINK_COLUMNS
    )
});

/// For each target and what else is wanted, in their order, a link that has it.
pub(super) async fn find(
    connection: &mut PgConnection,
    wanted: &[(&str, &Match)],
) -> Result<Vec<Option<Link>>, StoreError> {
    let mut found = vec![None; wanted.len()];
    if wanted.is_empty() {
        return Ok(found);
    }
    let texts = |of: fn(&Match) -> Option<&str>| wanted.iter().map(|(_, by)| of(by)).collect::<Vec<_>>();
    let numbers = |of: fn(&Match) -> Option<i64>| wanted.iter().map(|(_, by)| of(by)).collect::<Vec<_>>();
    let flags = |of: fn(&Match) -> Option<bool>| wanted.iter().map(|(_, by)| of(by)).collect::<Vec<_>>();
    let found_rows = sqlx::query(AssertSqlSafe(FIND.as_str()))
        .bind(wanted.iter().map(|(target, _)| hash_text(target_hash(target))).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(target, _)| *target).collect::<Vec<_>>())
        .bind(texts(|by| Some(&by.domain)))
        .bind(texts(|by| by.owner.as_deref()))
        .bind(texts(|by| by.code.as_deref()))
        .bind(texts(|by| by.title.as_deref()))
        .bind(wanted.iter().map(|(_, by)| by.tags_text()).collect::<Vec<_>>())
        .bind(numbers(|by| by.valid_since))
        .bind(numbers(|by| by.valid_until))
        .bind(numbers(|by| by.max_visits))
        .bind(flags(|by| by.crawlable))
        .bind(flags(|by| by.forward_query))
        .bind(wanted.iter().map(|(_, by)| rows::status_number(by.redirect_status)).collect::<Vec<_>>())
        .bind(numbers(|by| by.cache_lifetime_s.map(i64::from)))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    for row in &found_rows {
        // Places are counted from 1.
        let place: i64 = row.try_get("place").map_err(failed)?;
        if let Some(slot) = usize::try_from(place - 1).ok().and_then(|at| found.get_mut(at)) {
            *slot = Some(rows::link(row)?);
        }
    }
    Ok(found)
}
