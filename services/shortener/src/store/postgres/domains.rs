//! Domains of the PostgreSQL store: known by their links, or by where they send visits that name none.

use sqlx::PgConnection;

use super::StoreError;
use super::pool::failed;
use super::rows;
use crate::domain::{Domain, DomainRedirectsEdit};
use crate::target::Target;

pub(super) async fn list(connection: &mut PgConnection) -> Result<Vec<Domain>, StoreError> {
    let found = sqlx::query(
        "SELECT known.authority, base_url, regular_404, invalid_short_url
         FROM (SELECT domain AS authority FROM link_counts WHERE tag_id = 0 GROUP BY domain HAVING sum(links) > 0
               UNION SELECT authority FROM domains
                     WHERE num_nonnulls(base_url, regular_404, invalid_short_url) > 0
               UNION SELECT '' COLLATE \"C\") AS known
         LEFT JOIN domains ON domains.authority = known.authority
         ORDER BY known.authority",
    )
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    found.iter().map(|row| rows::domain(row).map_err(failed)).collect()
}

pub(super) async fn set_redirects(
    connection: &mut PgConnection,
    authority: &str,
    edit: &DomainRedirectsEdit,
) -> Result<Option<Domain>, StoreError> {
    fn new(field: &Option<Option<Target>>) -> Option<&str> {
        field.as_ref().and_then(|target| target.as_ref()).map(Target::as_str)
    }
    let row = sqlx::query(
        "INSERT INTO domains AS old (authority, base_url, regular_404, invalid_short_url)
         SELECT $1, $2, $3, $4
         WHERE $1 = '' OR EXISTS (SELECT FROM domains WHERE authority = $1
                                  AND num_nonnulls(base_url, regular_404, invalid_short_url) > 0)
         OR (SELECT sum(links) FROM link_counts WHERE tag_id = 0 AND domain = $1) > 0
         ON CONFLICT (authority) DO UPDATE
         SET base_url = CASE WHEN $5 THEN excluded.base_url ELSE old.base_url END,
             regular_404 = CASE WHEN $6 THEN excluded.regular_404 ELSE old.regular_404 END,
             invalid_short_url = CASE WHEN $7 THEN excluded.invalid_short_url ELSE old.invalid_short_url END
         RETURNING authority, base_url, regular_404, invalid_short_url",
    )
    .bind(authority)
    .bind(new(&edit.base_url))
    .bind(new(&edit.regular_404))
    .bind(new(&edit.invalid_short_url))
    .bind(edit.base_url.is_some())
    .bind(edit.regular_404.is_some())
    .bind(edit.invalid_short_url.is_some())
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.as_ref().map(rows::domain).transpose().map_err(failed)
}
