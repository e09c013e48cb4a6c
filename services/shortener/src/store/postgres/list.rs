//! Links of the PostgreSQL store many at a time. Statements are put together from what is asked for and planned anew each
//! time, since the plan depends on how many links have a tag; unnamed, they stay within one transaction, so that a
//! pooler keeps them on one server connection.

use std::collections::BTreeSet;

use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Postgres, QueryBuilder, Row};

use super::pool::failed;
use super::{Counted, Selection, StoreError, counts, keys, rows, tags};
use crate::domain::DEFAULT_DOMAIN;
use crate::link::{Cursor, Link, ListQuery, ORDERED_CHARS_MAX, Order, Page};

/// Both statements of a page see the same links.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What is searched; to the letter the expression of the index. The line breaks keep a term from matching across two texts.
const SEARCHED: &str = "lower(links.code || E'\\n' || links.target || E'\\n' || coalesce(links.title, ''))";

/// A query with names of tags looked up.
struct Filter<'q> {
    query: &'q ListQuery,
    /// One at least, where not all links are wanted.
    owners: Option<Vec<String>>,
    tags: Vec<i32>,
    exclude_tags: Vec<i32>,
    /// Tags that the search term is a part of.
    search_tags: Vec<i32>,
}

pub(super) async fn list(connection: &mut PgConnection, query: &ListQuery) -> Result<Page, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await.map_err(failed)?;
    let counts = query.count && query.after.is_none();
    let page = match Filter::of(&mut transaction, query).await? {
        Some(filter) => {
            let total = if counts { Some(filter.count(&mut transaction).await?) } else { None };
            // Whoever asks beyond the end is not worth reading up to there.
            let is_beyond = total.is_some_and(|total| query.offset >= total);
            let links = if is_beyond { Vec::new() } else { filter.page(&mut transaction).await? };
            Page { links, total }
        }
        None => Page { links: Vec::new(), total: counts.then_some(0) },
    };
    transaction.commit().await.map_err(failed)?;
    Ok(page)
}

impl<'q> Filter<'q> {
    /// `None` where a tag or a key is wanted that no link has.
    async fn of(connection: &mut PgConnection, query: &'q ListQuery) -> Result<Option<Self>, StoreError> {
        let mut owners = query.owner.clone().map(|owner| vec![owner]);
        if let Some(name) = &query.key_name {
            let mut named = keys::owners(&mut *connection, name).await?;
            named.retain(|owner| query.owner.as_ref().is_none_or(|only| only == owner));
            if named.is_empty() {
                return Ok(None);
            }
            owners = Some(named);
        }
        let names = |tags: &BTreeSet<String>| tags.iter().cloned().collect::<Vec<_>>();
        let wanted = tags::known(&mut *connection, &names(&query.tags)).await?;
        let least = if query.tags_all { query.tags.len() } else { query.tags.len().min(1) };
        if wanted.len() < least {
            return Ok(None);
        }
        let excluded = tags::known(&mut *connection, &names(&query.exclude_tags)).await?;
        // No link has all of them where one is unknown.
        let excludes = !query.exclude_tags_all || excluded.len() == query.exclude_tags.len();
        let search_tags = match &query.search {
            // Tags are stored in lower case, that of all letters.
            Some(term) => tags::holding(connection, &term.to_lowercase()).await?,
            None => Vec::new(),
        };
        Ok(Some(Self {
            query,
            owners,
            tags: wanted.into_values().collect(),
            exclude_tags: if excludes { excluded.into_values().collect() } else { Vec::new() },
            search_tags,
        }))
    }

    async fn count(&self, connection: &mut PgConnection) -> Result<u64, StoreError> {
        let query = self.query;
        let is_kept = self.tags.len() <= 1
            && self.exclude_tags.is_empty()
            && query.search.is_none()
            && query.created_from.is_none()
            && query.created_to.is_none()
            && !query.exclude_exhausted
            && query.exclude_expired_at.is_none();
        if is_kept {
            let (tag, domain) = (self.tags.first().copied(), query.domain.as_deref());
            let Some(owners) = &self.owners else {
                return counts::total(connection, tag, domain, None).await;
            };
            let mut total = 0;
            for owner in owners {
                total += counts::total(&mut *connection, tag, domain, Some(owner)).await?;
            }
            return Ok(total);
        }
        let mut sql = QueryBuilder::<Postgres>::new("SELECT count(*) AS total FROM links");
        self.push_to(&mut sql);
        let row = sql.build().persistent(false).fetch_one(connection).await.map_err(failed)?;
        let total: i64 = row.try_get("total").map_err(failed)?;
        Ok(u64::try_from(total).unwrap_or_default())
    }

    async fn page(&self, connection: &mut PgConnection) -> Result<Vec<Link>, StoreError> {
        let query = self.query;
        let mut sql = QueryBuilder::<Postgres>::new("SELECT ");
        sql.push(rows::LINK_COLUMNS).push(" FROM links");
        self.push_to(&mut sql);
        let column: &str = match query.order {
            Order::Created => "links.created_at",
            Order::Code => "links.code",
            Order::Target => &format!("left(links.target, {ORDERED_CHARS_MAX})"),
            Order::Title => "coalesce(links.title, '')",
        };
        if let Some(after) = &query.after {
            push_after(&mut sql, query, column, after)?;
        }
        let direction = if query.descending { " DESC" } else { " ASC" };
        // The id settles ties, so that no link is on two pages.
        sql.push(" ORDER BY ").push(column).push(direction).push(", links.id").push(direction);
        sql.push(" LIMIT ").push_bind(i64::from(query.limit));
        sql.push(" OFFSET ").push_bind(i64::try_from(query.offset).unwrap_or(i64::MAX));
        rows::links(&sql.build().persistent(false).fetch_all(connection).await.map_err(failed)?)
    }

    fn push_to(&self, sql: &mut QueryBuilder<Postgres>) {
        let query = self.query;
        sql.push(" WHERE TRUE");
        if let Some(domain) = &query.domain {
            sql.push(" AND links.domain = ").push_bind(domain.clone());
        }
        match self.owners.as_deref() {
            None => {}
            Some([owner]) => {
                sql.push(" AND links.owner = ").push_bind(owner.clone());
            }
            Some(owners) => {
                sql.push(" AND links.owner = ANY (").push_bind(owners.to_vec()).push(")");
            }
        }
        if let Some(term) = &query.search {
            sql.push(" AND (").push(SEARCHED).push(" LIKE ").push_bind(pattern(term));
            if !self.search_tags.is_empty() {
                sql.push(" OR links.tags && ").push_bind(self.search_tags.clone());
            }
            sql.push(")");
        }
        if !self.tags.is_empty() {
            sql.push(if query.tags_all { " AND links.tags @> " } else { " AND links.tags && " });
            sql.push_bind(self.tags.clone());
        }
        if !self.exclude_tags.is_empty() {
            sql.push(" AND (links.tags IS NULL OR NOT links.tags ");
            sql.push(if query.exclude_tags_all { "@> " } else { "&& " });
            sql.push_bind(self.exclude_tags.clone()).push(")");
        }
        if let Some(from) = query.created_from {
            sql.push(" AND links.created_at >= ").push_bind(from);
        }
        if let Some(to) = query.created_to {
            sql.push(" AND links.created_at <= ").push_bind(to);
        }
        if query.exclude_exhausted {
            sql.push(
                " AND (links.max_visits IS NULL OR links.max_visits >
                       coalesce((SELECT visits FROM link_visits WHERE link_id = links.id), 0))",
            );
        }
        if let Some(at) = query.exclude_expired_at {
            sql.push(" AND (links.valid_until IS NULL OR links.valid_until > ").push_bind(at).push(")");
        }
    }
}

fn push_after(
    sql: &mut QueryBuilder<Postgres>,
    query: &ListQuery,
    column: &str,
    after: &Cursor,
) -> Result<(), StoreError> {
    let beyond = if query.descending { ") < (" } else { ") > (" };
    sql.push(" AND (").push(column).push(", links.id").push(beyond);
    if query.order == Order::Created {
        let at: i64 = after
            .value
            .parse()
            .map_err(|_| StoreError::Corrupt("a cursor's time is no number".to_owned()))?;
        sql.push_bind(at);
    } else {
        sql.push_bind(after.value.clone());
    }
    sql.push(", ").push_bind(after.id).push(")");
    Ok(())
}

/// A term with `%` or `_` means these characters. Only ASCII has a lower case here, as in the index.
fn pattern(term: &str) -> String {
    let mut pattern = String::from("%");
    for character in term.to_ascii_lowercase().chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

pub(super) async fn list_names(
    connection: &mut PgConnection,
    query: &ListQuery,
    limit: u32,
) -> Result<Vec<(i64, Counted)>, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await.map_err(failed)?;
    let Some(filter) = Filter::of(&mut transaction, query).await? else { return Ok(Vec::new()) };
    let mut sql = QueryBuilder::<Postgres>::new(
        "SELECT id, domain, code, coalesce(visits_from, created_at) AS counts_from FROM links",
    );
    filter.push_to(&mut sql);
    sql.push(" LIMIT ").push_bind(i64::from(limit));
    let rows = sql.build().persistent(false).fetch_all(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    let named = rows.iter().map(|row| Ok((row.try_get("id")?, counted(row)?)));
    named.collect::<Result<_, sqlx::Error>>().map_err(failed)
}

pub(super) async fn names(
    connection: &mut PgConnection,
    of: &Selection,
    limit: u32,
) -> Result<Vec<Counted>, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await.map_err(failed)?;
    let mut sql = QueryBuilder::<Postgres>::new(
        "SELECT domain, code, coalesce(visits_from, created_at) AS counts_from FROM links WHERE TRUE",
    );
    if let Some(domain) = &of.domain {
        sql.push(" AND domain = ").push_bind(domain.clone());
    }
    if let Some(owner) = &of.owner {
        sql.push(" AND owner = ").push_bind(owner.clone());
    }
    if let Some(tag) = &of.tag {
        let ids = tags::known(&mut transaction, std::slice::from_ref(tag)).await?;
        sql.push(" AND tags && ").push_bind(ids.into_values().collect::<Vec<_>>());
    }
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
    let rows = sql.build().persistent(false).fetch_all(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    rows.iter().map(counted).collect::<Result<_, sqlx::Error>>().map_err(failed)
}

pub(super) async fn tagged(
    connection: &mut PgConnection,
    of: &Selection,
    names: &[String],
    limit: u32,
) -> Result<Vec<(String, Counted)>, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await.map_err(failed)?;
    let rows = sqlx::query(
        "SELECT tags.name AS tag, domain, code, coalesce(visits_from, created_at) AS counts_from
         FROM tags JOIN links ON links.tags && ARRAY[tags.id]
         WHERE tags.name = ANY ($1) AND ($2::text IS NULL OR domain = $2) AND ($3::text IS NULL OR owner = $3)
         LIMIT $4",
    )
    .bind(names)
    .bind(&of.domain)
    .bind(&of.owner)
    .bind(i64::from(limit))
    .persistent(false)
    .fetch_all(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    let pairs = rows.iter().map(|row| Ok((row.try_get("tag")?, counted(row)?)));
    pairs.collect::<Result<_, sqlx::Error>>().map_err(failed)
}

pub(super) async fn deleted_visits(
    connection: &mut PgConnection,
    domain: Option<&str>,
    limit: u32,
) -> Result<Vec<Counted>, StoreError> {
    let rows = sqlx::query(
        "SELECT domain, code, visits_from AS counts_from FROM deleted_visits WHERE $1::text IS NULL OR domain = $1
         ORDER BY visits_from DESC, code, domain LIMIT $2",
    )
    .bind(domain)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(counted).collect::<Result<_, sqlx::Error>>().map_err(failed)
}

fn counted(row: &PgRow) -> Result<Counted, sqlx::Error> {
    Ok(Counted {
        domain: row.try_get("domain")?,
        code: row.try_get("code")?,
        from: row.try_get("counts_from")?,
    })
}

pub(super) async fn crawlable(
    connection: &mut PgConnection,
    domain: &str,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    // Each as its index has it: without the value, the planner can't tell which one serves.
    let statement = if domain == DEFAULT_DOMAIN {
        "SELECT code FROM links WHERE crawlable AND domain = '' AND domain = $1 ORDER BY id DESC LIMIT $2"
    } else {
        "SELECT code FROM links WHERE crawlable AND domain <> '' AND domain = $1 ORDER BY id DESC LIMIT $2"
    };
    sqlx::query_scalar(statement)
        .bind(domain)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await
        .map_err(failed)
}
