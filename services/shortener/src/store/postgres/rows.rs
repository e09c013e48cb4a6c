//! Rows of the PostgreSQL store to what the domain knows.

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::StoreError;
use super::pool::failed;
use crate::domain::{Domain, DomainRedirects};
use crate::keys::ApiKey;
use crate::link::{Link, RedirectStatus, Settings};
use crate::rule::Rule;

/// Columns of a link, with its tags and, where it has a limit or had one, its visits.
pub(super) const LINK_COLUMNS: &str =
    "links.id, links.domain, links.code, links.target, links.version,
    links.revision + coalesce((SELECT sum(revision)::bigint FROM tags WHERE tags.id = ANY (links.tags)), 0) AS revision,
    links.created_at, links.title, links.valid_since, links.valid_until, links.max_visits,
    links.crawlable, links.forward_query, links.redirect_status, links.cache_lifetime_s, links.rules, links.owner,
    links.visits_from,
    (SELECT visits FROM link_visits WHERE link_id = links.id) AS visits,
    (SELECT array_agg(name) FROM tags WHERE tags.id = ANY (links.tags) AND name IS NOT NULL) AS tag_names";

pub(super) fn link(row: &PgRow) -> Result<Link, StoreError> {
    read_link(row).map_err(failed)
}

pub(super) fn links(rows: &[PgRow]) -> Result<Vec<Link>, StoreError> {
    rows.iter().map(link).collect()
}

fn read_link(row: &PgRow) -> Result<Link, sqlx::Error> {
    let tags: Option<Vec<String>> = row.try_get("tag_names")?;
    let rules: Option<Json<Vec<Rule>>> = row.try_get("rules")?;
    let visits: Option<i64> = row.try_get("visits")?;
    Ok(Link {
        id: row.try_get("id")?,
        domain: row.try_get("domain")?,
        code: row.try_get("code")?,
        target: row.try_get("target")?,
        version: whole(row, "version")?,
        revision: row.try_get("revision")?,
        created_at: row.try_get("created_at")?,
        visits: visits.unwrap_or(0),
        visits_from: row.try_get("visits_from")?,
        owner: row.try_get("owner")?,
        settings: Settings {
            title: row.try_get("title")?,
            tags: tags.unwrap_or_default().into_iter().collect(),
            valid_since: row.try_get("valid_since")?,
            valid_until: row.try_get("valid_until")?,
            max_visits: row.try_get("max_visits")?,
            crawlable: row.try_get("crawlable")?,
            forward_query: row.try_get("forward_query")?,
            redirect_status: status(row.try_get("redirect_status")?)?,
            cache_lifetime_s: lifetime(row.try_get("cache_lifetime_s")?)?,
        },
        rules: rules.map(|Json(rules)| rules).unwrap_or_default(),
    })
}

/// A version, which PostgreSQL has no unsigned type for.
pub(super) fn whole(row: &PgRow, column: &str) -> Result<u32, sqlx::Error> {
    let number: i32 = row.try_get(column)?;
    u32::try_from(number).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn status(number: Option<i16>) -> Result<Option<RedirectStatus>, sqlx::Error> {
    let Some(number) = number else { return Ok(None) };
    let number = u16::try_from(number).map_err(|error| sqlx::Error::Decode(error.into()))?;
    RedirectStatus::try_from(number).map(Some).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn lifetime(seconds: Option<i64>) -> Result<Option<u32>, sqlx::Error> {
    seconds.map(u32::try_from).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
}

/// What is stored of a status.
pub(super) fn status_number(status: Option<RedirectStatus>) -> Option<i16> {
    // All of them are three digits.
    status.and_then(|status| i16::try_from(u16::from(status)).ok())
}

/// What is stored of rules: nothing where there are none.
pub(super) fn rules_text(rules: &[Rule]) -> Result<Option<String>, StoreError> {
    let text = || serde_json::to_string(rules).map_err(|error| StoreError::Corrupt(error.to_string()));
    if rules.is_empty() { Ok(None) } else { text().map(Some) }
}

pub(super) fn key(row: &PgRow) -> Result<ApiKey, sqlx::Error> {
    let Json(roles) = row.try_get("roles")?;
    Ok(ApiKey {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        owner: row.try_get("owner")?,
        roles,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

pub(super) fn domain(row: &PgRow) -> Result<Domain, sqlx::Error> {
    Ok(Domain {
        authority: row.try_get("authority")?,
        redirects: DomainRedirects {
            base_url: row.try_get("base_url")?,
            regular_404: row.try_get("regular_404")?,
            invalid_short_url: row.try_get("invalid_short_url")?,
        },
    })
}

pub(super) fn bytes_32(row: &PgRow, column: &str) -> Result<[u8; 32], StoreError> {
    let bytes: &[u8] = row.try_get(column).map_err(failed)?;
    bytes.try_into().map_err(|_| StoreError::Corrupt(format!("{column} is not 32 bytes")))
}
