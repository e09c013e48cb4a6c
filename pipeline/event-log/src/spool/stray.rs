//! Strays: positions that are beyond the end of the log, since `log.db` was lost, or put back from an older copy,
//! and `groups.db` was not. Consuming on would skip what is appended up to there, and retention would delete it.
//!
//! They are noted in the log itself when the spool is opened, so that they are known for what they are once the log
//! has grown past them. Nothing here mends anything: which of the two files is right, only a person knows.

use std::collections::{HashMap, HashSet};

use sqlx::{Connection, SqliteConnection};

use super::SpoolConfig;
use super::failure::Inconsistent;

/// Made in every log, also in those of before there were strays: who does not know the table is not disturbed by it.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS strays (
    name TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (name, partition)
) STRICT, WITHOUT ROWID;
";

type Row = (String, u32, i64);

/// Notes the strays there are, and forgets those that are none any more because `groups.db` was replaced.
pub(super) async fn note(
    log: &mut SqliteConnection,
    groups: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLE).execute(&mut *log).await?;
    // Positions first: what they name is in the log, which only grows.
    let positions: Vec<Row> =
        sqlx::query_as("SELECT name, partition, offset FROM positions").fetch_all(groups).await?;
    let ends: HashMap<u32, i64> = sqlx::query_as("SELECT partition, next_offset FROM partitions")
        .fetch_all(&mut *log)
        .await?
        .into_iter()
        .collect();
    let known: HashSet<Row> = sqlx::query_as("SELECT name, partition, offset FROM strays")
        .fetch_all(&mut *log)
        .await?
        .into_iter()
        .collect();
    // A stray's consumer commits nothing, so its position stays what it was.
    let is_stray = |row: &Row| known.contains(row) || ends.get(&row.1).is_some_and(|end| row.2 > *end);
    let strays: HashSet<Row> = positions.into_iter().filter(is_stray).collect();
    if strays == known {
        return Ok(());
    }
    let mut transaction = log.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("DELETE FROM strays").execute(&mut *transaction).await?;
    for (name, partition, offset) in &strays {
        sqlx::query("INSERT INTO strays VALUES (?, ?, ?)")
            .bind(name)
            .bind(partition)
            .bind(offset)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    for (group, partition, offset) in strays.difference(&known) {
        tracing::error!(
            group,
            partition,
            offset,
            "the position of a group is beyond the end of log.db: nothing is consumed for it and nothing deleted"
        );
    }
    Ok(())
}

/// Partitions of which some group's position is a stray.
pub(super) async fn partitions(log: &mut SqliteConnection) -> Result<HashSet<u32>, sqlx::Error> {
    Ok(sqlx::query_scalar("SELECT partition FROM strays").fetch_all(log).await?.into_iter().collect())
}

/// What a person has to know about one.
pub(super) fn error(
    config: &SpoolConfig,
    group: &str,
    partition: u32,
    offset: u64,
    end: u64,
) -> Inconsistent {
    let path = config.path.display();
    Inconsistent(format!(
        "group {group:?} is at offset {offset} of partition {partition} by {path}/groups.db, which is not of this \
         {path}/log.db (its end is {end} now): one of them was lost or is an older copy. Nothing was skipped or \
         deleted. Stop all that use the spool; then put back the log.db that belongs to groups.db, or remove \
         groups.db with its -wal and -shm, and all that is in log.db counts as not yet consumed"
    ))
}
