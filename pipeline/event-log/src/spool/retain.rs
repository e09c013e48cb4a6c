//! Deletes consumed messages, gives disk space back and keeps the WAL short. Never touches a message that some
//! group has not consumed, nor any while there is no group at all, nor any that a position not of this log covers.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio::time::Instant;

use super::failure::Failure;
use super::{SpoolConfig, files, now_us, stray};

/// Messages deleted in one transaction: some milliseconds, which appends may wait for.
const CHUNK_MESSAGES: u64 = 512;
/// Free pages (of 4 KiB) that are kept for reuse, 16 MiB: the file need not shrink and grow all the time.
const FREE_PAGES_KEPT: i64 = 4096;
/// Pages given back in one step.
const CHUNK_PAGES: i64 = 1024;
/// How long readers are waited for when the WAL is cut, milliseconds: appends wait meanwhile.
const CUT_WAIT_MS: u64 = 100;

/// Up to where all groups have consumed, a partition; nothing for partitions that some group does not know yet, or
/// knows by a position that is not of this log.
pub(super) async fn consumed(
    log: &mut SqliteConnection,
    groups: &mut SqliteConnection,
) -> Result<HashMap<u32, u64>, Failure> {
    // Positions first: what they name is in the log, which only grows.
    let rows: Vec<(u32, i64, i64)> = sqlx::query_as(
        "SELECT partition, min(offset), max(offset) FROM positions GROUP BY partition \
         HAVING count(*) = (SELECT count(*) FROM groups)",
    )
    .fetch_all(groups)
    .await?;
    let ends: HashMap<u32, i64> = sqlx::query_as("SELECT partition, next_offset FROM partitions")
        .fetch_all(&mut *log)
        .await?
        .into_iter()
        .collect();
    let strays = stray::partitions(log).await?;
    let of_this_log = |(partition, _, highest): &(u32, i64, i64)| {
        !strays.contains(partition) && ends.get(partition).is_some_and(|end| highest <= end)
    };
    let rows = rows.into_iter().filter(of_this_log);
    Ok(rows.map(|(partition, lowest, _)| (partition, lowest as u64)).collect())
}

/// Deletes a chunk of what is consumed and past its retention. `true` if there may be more.
pub(super) async fn delete_expired(
    log: &mut SqliteConnection,
    groups: &mut SqliteConnection,
    config: &SpoolConfig,
) -> Result<bool, Failure> {
    let keep = Keep {
        bytes: config.retain_bytes as i64,
        after_us: now_us()
            .saturating_sub(i64::try_from(config.retain_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX)),
    };
    // First without the lock, which is another writer's most of the time.
    let until = consumed(log, groups).await?;
    if !any(log, &until, keep).await? {
        return Ok(false);
    }
    let mut transaction = log.begin_with("BEGIN IMMEDIATE").await?;
    // Again under the lock: a group may have come since, and it comes under this lock.
    let until = consumed(&mut transaction, groups).await?;
    let deleted = delete(&mut transaction, &until, keep).await?;
    transaction.commit().await?;
    Ok(deleted)
}

/// Within a write transaction: deletes a chunk a partition of consumed messages, whatever the retention.
/// `true` if any was deleted.
pub(super) async fn delete_consumed(
    log: &mut SqliteConnection,
    groups: &mut SqliteConnection,
) -> Result<bool, Failure> {
    let consumed = consumed(log, groups).await?;
    delete(log, &consumed, Keep { bytes: 0, after_us: i64::MAX }).await
}

#[derive(Clone, Copy)]
struct Keep {
    bytes: i64,
    after_us: i64,
}

async fn any(log: &mut SqliteConnection, consumed: &HashMap<u32, u64>, keep: Keep) -> Result<bool, Failure> {
    for (&partition, &end) in consumed {
        if expired(log, partition, end, keep, 1).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn delete(
    log: &mut SqliteConnection,
    consumed: &HashMap<u32, u64>,
    keep: Keep,
) -> Result<bool, Failure> {
    let mut deleted = false;
    for (&partition, &end) in consumed {
        let Some(last) = expired(log, partition, end, keep, CHUNK_MESSAGES).await? else { continue };
        sqlx::query("DELETE FROM messages WHERE id BETWEEN ? AND ?")
            .bind(files::key(partition, 0))
            .bind(files::key(partition, last))
            .execute(&mut *log)
            .await?;
        sqlx::query("UPDATE partitions SET first_offset = ? WHERE partition = ?")
            .bind(last as i64 + 1)
            .bind(partition)
            .execute(&mut *log)
            .await?;
        deleted = true;
    }
    Ok(deleted)
}

/// The last of the oldest `count` messages below `end` that need not be kept; they are a prefix.
async fn expired(
    log: &mut SqliteConnection,
    partition: u32,
    end: u64,
    keep: Keep,
    count: u64,
) -> Result<Option<u64>, Failure> {
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT first_offset, bytes_total FROM partitions WHERE partition = ?")
            .bind(partition)
            .fetch_optional(&mut *log)
            .await?;
    let Some((first, total)) = row else { return Ok(None) };
    let first = first as u64;
    if first >= end {
        return Ok(None);
    }
    let bytes_at_end: i64 = sqlx::query_scalar("SELECT bytes_before FROM messages WHERE id = ?")
        .bind(files::key(partition, end))
        .fetch_optional(&mut *log)
        .await?
        .unwrap_or(total);
    // One more than may go: how much came before a message says how much was there with the one before it.
    let mut rows: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT id, bytes_before, appended_at_us FROM messages WHERE id >= ? AND id <= ? ORDER BY id",
    )
    .bind(files::key(partition, first))
    .bind(files::key(partition, end.min(first + count)))
    .fetch_all(log)
    .await?;
    if rows.last().is_none_or(|(id, ..)| files::offset_of(*id) < end.min(first + count)) {
        rows.push((files::key(partition, end), bytes_at_end, 0));
    }
    let prefix = rows.windows(2).take_while(|pair| {
        let (_, _, appended_at_us) = pair[0];
        let (_, bytes_until, _) = pair[1];
        bytes_at_end - bytes_until >= keep.bytes || appended_at_us < keep.after_us
    });
    Ok(prefix.last().map(|pair| files::offset_of(pair[0].0)))
}

/// Returns free pages to the file system, but for some to reuse.
pub(super) async fn give_back(log: &mut SqliteConnection, deadline: Instant) -> Result<(), Failure> {
    loop {
        let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *log).await?;
        if free <= FREE_PAGES_KEPT || Instant::now() >= deadline {
            return Ok(());
        }
        let pages = (free - FREE_PAGES_KEPT).min(CHUNK_PAGES);
        // A pragma takes no parameters; the number is ours.
        sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA incremental_vacuum({pages})")))
            .execute(&mut *log)
            .await?;
    }
}

/// Moves the WAL into the database and cuts it. A reader in its way is waited for only briefly: it is tried again.
pub(super) async fn cut_wal(log: &mut SqliteConnection, busy_ms: u64) -> Result<(), Failure> {
    set_busy(log, CUT_WAIT_MS).await?;
    let answer: Result<(i64, i64, i64), _> =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *log).await;
    set_busy(log, busy_ms).await?;
    if answer?.0 != 0 {
        tracing::warn!("a reader keeps the spool's WAL from being cut; is a shell open on it?");
    }
    Ok(())
}

async fn set_busy(log: &mut SqliteConnection, busy_ms: u64) -> Result<(), Failure> {
    let sql = format!("PRAGMA busy_timeout = {busy_ms}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(log).await?;
    Ok(())
}
