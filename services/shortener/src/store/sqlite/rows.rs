//! Rows of the SQLite store to what the domain knows.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{StoreError, unavailable};
use crate::keys::ApiKey;
use crate::link::{Link, RedirectStatus, Settings};
use crate::rule::Rule;

/// Columns of a link, its tags as one text: a query a link fewer. Tags hold no comma.
pub(super) const LINK_COLUMNS: &str = "links.id, links.domain, links.code, links.target, links.version, links.revision,
    links.created_at, links.visits, links.title, links.valid_since, links.valid_until, links.max_visits,
    links.crawlable, links.forward_query, links.redirect_status, links.cache_lifetime_s, links.rules, links.owner,
    links.visits_from,
    (SELECT group_concat(tags.name) FROM link_tags JOIN tags ON tags.id = link_tags.tag_id
     WHERE link_tags.link_id = links.id) AS tag_names";

pub(super) fn link(row: &SqliteRow) -> Result<Link, StoreError> {
    let tags: Option<String> = row.try_get("tag_names").map_err(unavailable)?;
    let tags: BTreeSet<String> = tags.iter().flat_map(|names| names.split(',')).map(str::to_owned).collect();
    let status: Option<u16> = row.try_get("redirect_status").map_err(unavailable)?;
    let rules: Option<&str> = row.try_get("rules").map_err(unavailable)?;
    Ok(Link {
        id: row.try_get("id").map_err(unavailable)?,
        domain: row.try_get("domain").map_err(unavailable)?,
        code: row.try_get("code").map_err(unavailable)?,
        target: row.try_get("target").map_err(unavailable)?,
        version: row.try_get("version").map_err(unavailable)?,
        revision: row.try_get("revision").map_err(unavailable)?,
        created_at: row.try_get("created_at").map_err(unavailable)?,
        visits: row.try_get("visits").map_err(unavailable)?,
        visits_from: row.try_get("visits_from").map_err(unavailable)?,
        owner: row.try_get("owner").map_err(unavailable)?,
        settings: Settings {
            title: row.try_get("title").map_err(unavailable)?,
            tags,
            valid_since: row.try_get("valid_since").map_err(unavailable)?,
            valid_until: row.try_get("valid_until").map_err(unavailable)?,
            max_visits: row.try_get("max_visits").map_err(unavailable)?,
            crawlable: row.try_get("crawlable").map_err(unavailable)?,
            forward_query: row.try_get("forward_query").map_err(unavailable)?,
            redirect_status: status.map(RedirectStatus::try_from).transpose().map_err(corrupt)?,
            cache_lifetime_s: row.try_get("cache_lifetime_s").map_err(unavailable)?,
        },
        rules: rules.map_or_else(|| Ok(Vec::new()), |text| serde_json::from_str(text).map_err(corrupt))?,
    })
}

/// What is stored of rules: nothing where there are none.
pub(super) fn rules_text(rules: &[Rule]) -> Result<Option<String>, StoreError> {
    if rules.is_empty() { Ok(None) } else { json(&rules).map(Some) }
}

/// A value as one text.
pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(corrupt)
}

pub(super) fn corrupt(error: impl ToString) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

pub(super) fn key(row: &SqliteRow) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.try_get("id").map_err(unavailable)?,
        name: row.try_get("name").map_err(unavailable)?,
        owner: row.try_get("owner").map_err(unavailable)?,
        roles: serde_json::from_str(row.try_get("roles").map_err(unavailable)?).map_err(corrupt)?,
        created_at: row.try_get("created_at").map_err(unavailable)?,
        expires_at: row.try_get("expires_at").map_err(unavailable)?,
        revoked_at: row.try_get("revoked_at").map_err(unavailable)?,
    })
}

pub(super) fn bytes_32(row: &SqliteRow, column: &str) -> Result<[u8; 32], StoreError> {
    let bytes: &[u8] = row.try_get(column).map_err(unavailable)?;
    bytes.try_into().map_err(|_| StoreError::Corrupt(format!("{column} is not 32 bytes")))
}
