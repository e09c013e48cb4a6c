//! Rows of the SQLite store to what the domain knows.

use std::collections::BTreeSet;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{StoreError, unavailable};
use crate::keys::ApiKey;
use crate::link::{Link, Settings};

/// Columns of a link, its tags as one text: a query a link fewer. Tags hold no comma.
pub(super) const LINK_COLUMNS: &str = "links.id, links.code, links.target, links.version, links.revision,
    links.created_at, links.visits, links.title, links.valid_since, links.valid_until, links.max_visits,
    links.crawlable, links.forward_query,
    (SELECT group_concat(tags.name) FROM link_tags JOIN tags ON tags.id = link_tags.tag_id
     WHERE link_tags.link_id = links.id) AS tag_names";

pub(super) fn link(row: &SqliteRow) -> Result<Link, StoreError> {
    let tags: Option<String> = row.try_get("tag_names").map_err(unavailable)?;
    let tags: BTreeSet<String> = tags.iter().flat_map(|names| names.split(',')).map(str::to_owned).collect();
    Ok(Link {
        id: row.try_get("id").map_err(unavailable)?,
        code: row.try_get("code").map_err(unavailable)?,
        target: row.try_get("target").map_err(unavailable)?,
        version: row.try_get("version").map_err(unavailable)?,
        revision: row.try_get("revision").map_err(unavailable)?,
        created_at: row.try_get("created_at").map_err(unavailable)?,
        visits: row.try_get("visits").map_err(unavailable)?,
        settings: Settings {
            title: row.try_get("title").map_err(unavailable)?,
            tags,
            valid_since: row.try_get("valid_since").map_err(unavailable)?,
            valid_until: row.try_get("valid_until").map_err(unavailable)?,
            max_visits: row.try_get("max_visits").map_err(unavailable)?,
            crawlable: row.try_get("crawlable").map_err(unavailable)?,
            forward_query: row.try_get("forward_query").map_err(unavailable)?,
        },
    })
}

pub(super) fn key(row: &SqliteRow) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.try_get("id").map_err(unavailable)?,
        name: row.try_get("name").map_err(unavailable)?,
        created_at: row.try_get("created_at").map_err(unavailable)?,
        expires_at: row.try_get("expires_at").map_err(unavailable)?,
        revoked_at: row.try_get("revoked_at").map_err(unavailable)?,
    })
}

pub(super) fn bytes_32(row: &SqliteRow, column: &str) -> Result<[u8; 32], StoreError> {
    let bytes: &[u8] = row.try_get(column).map_err(unavailable)?;
    bytes.try_into().map_err(|_| StoreError::Corrupt(format!("{column} is not 32 bytes")))
}
