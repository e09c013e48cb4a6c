//! Fills a database with links, past the store: ten million through it would take hours. Indexes are dropped before and
//! made again after, so they are as full as new ones are.

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, PgPool};

const FILL: &str = include_str!("fill.sql");

/// The number of the last link that was filled in, by its time of creation; those that were created since are of today.
const LAST: &str =
    "SELECT coalesce(max((created_at - 1600000000) / 10), 0) FROM links WHERE created_at <= 1700000000";

/// Fills up to so many links.
pub(crate) async fn fill(database: &PgPool, links: i64) -> Result<()> {
    let there: i64 = sqlx::query_scalar(LAST).fetch_one(database).await?;
    if there >= links {
        return Ok(());
    }
    // What makes it fast is said to one connection.
    let mut connection = database.acquire().await?;
    for setting in ["synchronous_commit = off", "statement_timeout = 0", "maintenance_work_mem = '1GB'"] {
        sqlx::query(AssertSqlSafe(format!("SET {setting}"))).execute(&mut *connection).await?;
    }
    if there == 0 {
        let tags = "INSERT INTO tags (name) SELECT 'tag-' || n FROM generate_series(1, 1000) AS n";
        sqlx::query(tags).execute(&mut *connection).await?;
    }
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT indexname::text, indexdef FROM pg_indexes WHERE tablename = 'links' AND indexname <> 'links_pkey'",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (name, _) in &indexes {
        sqlx::query(AssertSqlSafe(format!("DROP INDEX {name}"))).execute(&mut *connection).await?;
    }
    sqlx::query(FILL).bind(there + 1).bind(links).execute(&mut *connection).await.context("can't fill")?;
    for (name, definition) in indexes {
        sqlx::query(AssertSqlSafe(definition))
            .execute(&mut *connection)
            .await
            .with_context(|| format!("can't make {name}"))?;
    }
    sqlx::query("TRUNCATE link_counts").execute(&mut *connection).await?;
    sqlx::query(
        "INSERT INTO link_counts SELECT tag_id, domain, coalesce(owner, ''), 0, count(*)
         FROM links, unnest(0 || tags) AS tag_id GROUP BY 1, 2, 3",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query("VACUUM ANALYZE").execute(&mut *connection).await?;
    // It keeps what it was told.
    drop(connection.detach());
    Ok(())
}
