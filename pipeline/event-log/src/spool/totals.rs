//! Sums over the whole life of a spool, for verification and gauges. Reads only.

use std::collections::BTreeMap;

use sqlx::{Connection, SqliteConnection};

use super::failure::Failure;
use super::{SpoolConfig, files, retain};

/// What a partition accepted, and what of it was consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTotals {
    /// Which one.
    pub partition: u32,
    /// Oldest offset that retention has kept; `end_offset` if none.
    pub first_offset: u64,
    /// Offset that the next append gets: also the number of messages ever accepted.
    pub end_offset: u64,
    /// Events ever accepted.
    pub events_total: u64,
    /// Payload bytes ever accepted.
    pub bytes_total: u64,
    /// The groups that know the partition, by name.
    pub groups: Vec<GroupTotals>,
}

/// How far a group is in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTotals {
    /// Its name.
    pub group: String,
    /// Committed: next offset to consume; also the number of messages consumed since the spool began.
    pub offset: u64,
    /// As committed with the offset.
    pub metadata: String,
    /// Events in the messages `[0, offset)`: what the ledger must have accounted for.
    pub events_consumed: u64,
    /// Microseconds since the Unix epoch; 0 if nothing was ever committed.
    pub committed_at_us: i64,
}

/// What some group has not consumed, over all partitions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Depth {
    pub(super) messages: u64,
    pub(super) events: u64,
    pub(super) oldest_appended_at_us: Option<i64>,
}

pub(super) async fn read(config: &SpoolConfig) -> Result<Vec<PartitionTotals>, Failure> {
    // Positions first: what they name is in the log, which only grows.
    let mut groups = files::connect_groups(config).await?;
    let positions: Vec<(String, u32, i64, String, i64)> = sqlx::query_as(
        "SELECT name, partition, offset, metadata, committed_at_us FROM positions ORDER BY partition, name",
    )
    .fetch_all(&mut groups)
    .await?;
    groups.close().await?;
    let mut log = files::connect_log(config).await?;
    let mut snapshot = log.begin().await?;
    let mut partitions = BTreeMap::new();
    for row in partition_rows(&mut snapshot).await? {
        partitions.insert(row.partition, row);
    }
    for (group, partition, offset, metadata, committed_at_us) in positions {
        let Some(totals) = partitions.get_mut(&partition) else { continue };
        let offset = offset as u64;
        let at = at(&mut snapshot, partition, offset).await?;
        let events_consumed = at.map_or(totals.events_total, |(events_before, _)| events_before);
        totals.groups.push(GroupTotals { group, offset, metadata, events_consumed, committed_at_us });
    }
    snapshot.rollback().await?;
    log.close().await?;
    Ok(partitions.into_values().collect())
}

/// Events in the messages `[first, until)`.
pub(super) async fn count(
    config: &SpoolConfig,
    partition: u32,
    first: u64,
    until: u64,
) -> Result<u64, Failure> {
    let mut log = files::connect_log(config).await?;
    let mut snapshot = log.begin().await?;
    let rows = partition_rows(&mut snapshot).await?;
    let before = async |snapshot: &mut SqliteConnection, offset: u64| {
        // Nothing is before the first message, whether it is still there or not.
        if offset == 0 {
            return Ok(0);
        }
        let total = rows.iter().find(|row| row.partition == partition).map_or(0, |row| row.events_total);
        Ok::<_, Failure>(at(snapshot, partition, offset).await?.map_or(total, |(events, _)| events))
    };
    let events = before(&mut snapshot, until).await?.saturating_sub(before(&mut snapshot, first).await?);
    snapshot.rollback().await?;
    log.close().await?;
    Ok(events)
}

pub(super) async fn depth(
    log: &mut SqliteConnection,
    groups: &mut SqliteConnection,
) -> Result<Depth, Failure> {
    let consumed = retain::consumed(log, groups).await?;
    let mut depth = Depth::default();
    for totals in partition_rows(log).await? {
        let from = consumed.get(&totals.partition).copied().unwrap_or(totals.first_offset);
        let Some((events_before, appended_at_us)) = at(log, totals.partition, from).await? else { continue };
        depth.messages += totals.end_offset.saturating_sub(from);
        depth.events += totals.events_total.saturating_sub(events_before);
        let oldest = depth.oldest_appended_at_us.unwrap_or(i64::MAX).min(appended_at_us);
        depth.oldest_appended_at_us = Some(oldest);
    }
    Ok(depth)
}

async fn partition_rows(log: &mut SqliteConnection) -> Result<Vec<PartitionTotals>, Failure> {
    let rows: Vec<(u32, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT partition, first_offset, next_offset, events_total, bytes_total FROM partitions ORDER BY partition",
    )
    .fetch_all(log)
    .await?;
    let totals = rows.into_iter().map(|(partition, first, next, events, bytes)| PartitionTotals {
        partition,
        first_offset: first as u64,
        end_offset: next as u64,
        events_total: events as u64,
        bytes_total: bytes as u64,
        groups: Vec::new(),
    });
    Ok(totals.collect())
}

/// Events before the message at an offset, and when it was appended; `None` at the end of the partition.
pub(super) async fn at(
    log: &mut SqliteConnection,
    partition: u32,
    offset: u64,
) -> Result<Option<(u64, i64)>, Failure> {
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT events_before, appended_at_us FROM messages WHERE id = ?")
            .bind(files::key(partition, offset))
            .fetch_optional(log)
            .await?;
    Ok(row.map(|(events_before, appended_at_us)| (events_before as u64, appended_at_us)))
}
