//! Domains of the SQLite store: known by the links they have, or by redirects of their own.
//! The default one is always known.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, SqlitePool};

use super::{StoreError, unavailable};
use crate::domain::{DEFAULT_DOMAIN, Domain, DomainRedirects, DomainRedirectsEdit};
use crate::target::Target;

/// Steps from one domain of the index to the next, instead of over all links.
const DOMAINS: &str = "
    WITH RECURSIVE linked (authority) AS (
        SELECT min(domain) FROM links
        UNION ALL
        SELECT (SELECT min(domain) FROM links WHERE domain > linked.authority) FROM linked
        WHERE linked.authority IS NOT NULL
    ),
    known (authority) AS (
        SELECT authority FROM linked WHERE authority IS NOT NULL UNION SELECT authority FROM domains UNION SELECT ''
    )
    SELECT known.authority, base_url, regular_404, invalid_short_url
    FROM known LEFT JOIN domains ON domains.authority = known.authority ORDER BY known.authority";

pub(super) async fn domains(pool: &SqlitePool) -> Result<Vec<Domain>, StoreError> {
    let found = sqlx::query(DOMAINS).fetch_all(pool).await.map_err(unavailable)?;
    found.iter().map(domain).collect()
}

pub(super) async fn set_redirects(
    pool: &SqlitePool,
    authority: &str,
    edit: &DomainRedirectsEdit,
) -> Result<Option<Domain>, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let stored = sqlx::query(
        "SELECT authority, base_url, regular_404, invalid_short_url FROM domains WHERE authority = ?",
    )
    .bind(authority)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(unavailable)?;
    let mut domain = match stored {
        Some(row) => domain(&row)?,
        None if authority == DEFAULT_DOMAIN || has_links(&mut transaction, authority).await? => {
            Domain { authority: authority.to_owned(), redirects: DomainRedirects::default() }
        }
        None => return Ok(None),
    };
    let redirects = &mut domain.redirects;
    set(&mut redirects.base_url, edit.base_url.as_ref());
    set(&mut redirects.regular_404, edit.regular_404.as_ref());
    set(&mut redirects.invalid_short_url, edit.invalid_short_url.as_ref());
    if *redirects == DomainRedirects::default() {
        // Without redirects only links make it known.
        sqlx::query("DELETE FROM domains WHERE authority = ?")
            .bind(authority)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
    } else {
        sqlx::query(
            "INSERT INTO domains (authority, base_url, regular_404, invalid_short_url) VALUES (?, ?, ?, ?)
             ON CONFLICT (authority) DO UPDATE SET base_url = excluded.base_url,
                 regular_404 = excluded.regular_404, invalid_short_url = excluded.invalid_short_url",
        )
        .bind(authority)
        .bind(&redirects.base_url)
        .bind(&redirects.regular_404)
        .bind(&redirects.invalid_short_url)
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    }
    transaction.commit().await.map_err(unavailable)?;
    Ok(Some(domain))
}

async fn has_links(connection: &mut SqliteConnection, authority: &str) -> Result<bool, StoreError> {
    let found = sqlx::query("SELECT 1 FROM links WHERE domain = ? LIMIT 1")
        .bind(authority)
        .fetch_optional(connection)
        .await
        .map_err(unavailable)?;
    Ok(found.is_some())
}

fn set(field: &mut Option<String>, value: Option<&Option<Target>>) {
    if let Some(value) = value {
        *field = value.as_ref().map(|target| target.as_str().to_owned());
    }
}

fn domain(row: &SqliteRow) -> Result<Domain, StoreError> {
    Ok(Domain {
        authority: row.try_get("authority").map_err(unavailable)?,
        redirects: DomainRedirects {
            base_url: row.try_get("base_url").map_err(unavailable)?,
            regular_404: row.try_get("regular_404").map_err(unavailable)?,
            invalid_short_url: row.try_get("invalid_short_url").map_err(unavailable)?,
        },
    })
}
