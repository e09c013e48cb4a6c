//! The one that writes messages in this process: one transaction a group of calls, with the totals of the partition
//! in it. Opens the files when needed, and again after a failure. Answers each call; retries nothing.

use std::sync::Arc;

use sqlx::{Connection, SqliteConnection};
use tokio::time::Instant;

use super::append::Call;
use super::failure::{Failure, Inconsistent};
use super::stored::Stored;
use super::turn::Turns;
use super::{Spool, SpoolConfig, files, now_us, retain, totals};
use crate::{AppendError, EventLogMetrics};

/// What a WAL may take beside `bytes_max`. It is cut down at this size; only a reader that keeps a transaction
/// open can keep it from that, and then what is above counts towards `bytes_max`. Twice a largest transaction.
const WAL_BYTES_MAX: u64 = 64 << 20;
/// What a row needs beside its payload, at most: key, sums, headers, and the rest of the last page.
const ROW_OVERHEAD_BYTES: u64 = 4096;

pub(super) struct Writer {
    spool: Spool,
    metrics: EventLogMetrics,
    open: Option<Open>,
    /// Transactions so far: they go to the partitions in turn.
    turn: u32,
    /// The last upkeep failed.
    ailing: bool,
    /// A disk that is full at so many pages, without filling one.
    #[cfg(test)]
    pages_max: i64,
}

struct Open {
    turns: Turns,
    log: SqliteConnection,
    groups: SqliteConnection,
}

/// A partition's row, as it changes during a transaction.
struct Tail {
    partition: u32,
    next_offset: u64,
    events_total: u64,
    bytes_total: u64,
}

/// SQLite's own limit.
#[cfg(test)]
const PAGES_MAX: i64 = 0xffff_fffe;

type Answers = Vec<Result<(), AppendError>>;

impl Writer {
    pub(super) fn new(spool: Spool, metrics: EventLogMetrics) -> Self {
        Self {
            spool,
            metrics,
            open: None,
            turn: 0,
            ailing: false,
            #[cfg(test)]
            pages_max: PAGES_MAX,
        }
    }

    /// Appends all calls that fit, durably; an answer for each. After a failure, also of a full disk, the
    /// connection is given up: SQLite may have rolled back by itself, which sqlx does not know.
    pub(super) async fn append(&mut self, calls: &[Call]) -> Answers {
        match self.transact(calls).await {
            Ok(answers) => {
                self.count(calls, &answers);
                self.spool.appended.notify_waiters();
                answers
            }
            Err(failure) => {
                self.open = None;
                calls.iter().map(|_| Err(failure.clone().into())).collect()
            }
        }
    }

    async fn transact(&mut self, calls: &[Call]) -> Result<Answers, Failure> {
        let config = Arc::clone(&self.spool.config);
        let partition = self.turn % config.partitions.max(1);
        self.turn = self.turn.wrapping_add(1);
        let Open { turns, log, groups } = self.open().await?;
        let _turn = turns.next().await?;
        let mut transaction = log.begin_with("BEGIN IMMEDIATE").await?;
        let mut tail = Tail::read(&mut transaction, partition).await?;
        let mut used = disk_bytes(&config, &mut transaction).await?;
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let needed = call.bytes as u64 + ROW_OVERHEAD_BYTES * call.messages.len() as u64;
            while used + needed > config.bytes_max
                && retain::delete_consumed(&mut transaction, groups).await?
            {
                used = disk_bytes(&config, &mut transaction).await?;
            }
            if used + needed > config.bytes_max {
                answers.push(Err(AppendError::Full { bytes: used, bytes_max: config.bytes_max }));
                continue;
            }
            for message in &call.messages {
                tail.insert(&mut transaction, message).await?;
            }
            used += needed;
            answers.push(Ok(()));
        }
        tail.write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(answers)
    }

    /// Retention, disk space and gauges, until about the deadline; the rest next time.
    pub(super) async fn upkeep(&mut self, deadline: Instant) {
        match self.try_upkeep(deadline).await {
            Ok(()) if self.ailing => {
                tracing::info!("upkeep of the spool works again");
                self.ailing = false;
            }
            Ok(()) => {}
            Err(failure) => {
                // Tried twice a second: told of once.
                if !self.ailing {
                    tracing::warn!(?failure, "upkeep of the spool failed; it is tried again");
                }
                self.ailing = true;
                self.open = None;
            }
        }
    }

    async fn try_upkeep(&mut self, deadline: Instant) -> Result<(), Failure> {
        let config = Arc::clone(&self.spool.config);
        let Open { turns, log, groups } = self.open().await?;
        let turn = turns.next().await?;
        while retain::delete_expired(log, groups, &config).await? && Instant::now() < deadline {}
        retain::give_back(log, deadline).await?;
        if wal_bytes(&config) > WAL_BYTES_MAX {
            retain::cut_wal(log, config.busy_ms).await?;
        }
        drop(turn);
        let depth = totals::depth(log, groups).await?;
        let disk = file_bytes(&files::log_path(&config)) + wal_bytes(&config);
        self.metrics.spool_bytes.set(disk.try_into().unwrap_or(i64::MAX));
        self.metrics.spool_bytes_max.set(config.bytes_max.try_into().unwrap_or(i64::MAX));
        self.metrics.depth_messages.set(depth.messages.try_into().unwrap_or(i64::MAX));
        self.metrics.depth_events.set(depth.events.try_into().unwrap_or(i64::MAX));
        let age_us = depth.oldest_appended_at_us.map_or(0, |at| now_us().saturating_sub(at).max(0));
        self.metrics.oldest_age_s.set(age_us as f64 / 1e6);
        Ok(())
    }

    pub(super) async fn close(self) {
        if let Some(Open { log, groups, .. }) = self.open {
            for connection in [log, groups] {
                if let Err(error) = connection.close().await {
                    tracing::warn!(%error, "closing the spool failed; nothing acknowledged is lost");
                }
            }
        }
    }

    async fn open(&mut self) -> Result<&mut Open, Failure> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                files::create(&self.spool.config).await?;
                #[cfg_attr(not(test), expect(unused_mut))]
                let mut log = files::connect_log(&self.spool.config).await?;
                #[cfg(test)]
                tests::limit_pages(&mut log, self.pages_max).await;
                let groups = files::connect_groups(&self.spool.config).await?;
                Open { turns: self.spool.turns(), log, groups }
            }
        };
        Ok(self.open.insert(open))
    }

    fn count(&self, calls: &[Call], answers: &Answers) {
        for (call, _) in calls.iter().zip(answers).filter(|(_, answer)| answer.is_ok()) {
            self.metrics.appended_messages.inc_by(call.messages.len() as u64);
            self.metrics.appended_events.inc_by(call.messages.iter().map(|m| u64::from(m.events)).sum());
            self.metrics.appended_bytes.inc_by(call.messages.iter().map(|m| m.payload_bytes as u64).sum());
        }
    }
}

impl Tail {
    async fn read(log: &mut SqliteConnection, partition: u32) -> Result<Self, Failure> {
        let row: Option<(i64, i64, i64)> = sqlx::query_as(
            "SELECT next_offset, events_total, bytes_total FROM partitions WHERE partition = ?",
        )
        .bind(partition)
        .fetch_optional(log)
        .await?;
        let Some((next_offset, events_total, bytes_total)) = row else {
            return Err(Inconsistent(format!("partition {partition} is not in the spool")).into());
        };
        Ok(Self {
            partition,
            next_offset: next_offset as u64,
            events_total: events_total as u64,
            bytes_total: bytes_total as u64,
        })
    }

    async fn insert(&mut self, log: &mut SqliteConnection, message: &Stored) -> Result<(), Failure> {
        sqlx::query("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(files::key(self.partition, self.next_offset))
            .bind(now_us())
            .bind(message.events)
            .bind(self.events_total as i64)
            .bind(self.bytes_total as i64)
            .bind(message.schema.as_str())
            .bind(message.content_type.as_str())
            .bind(&message.payload[..])
            .execute(log)
            .await?;
        self.next_offset += 1;
        self.events_total += u64::from(message.events);
        self.bytes_total += message.payload_bytes as u64;
        Ok(())
    }

    async fn write(&self, log: &mut SqliteConnection) -> Result<(), Failure> {
        sqlx::query(
            "UPDATE partitions SET next_offset = ?, events_total = ?, bytes_total = ? WHERE partition = ?",
        )
        .bind(self.next_offset as i64)
        .bind(self.events_total as i64)
        .bind(self.bytes_total as i64)
        .bind(self.partition)
        .execute(log)
        .await?;
        Ok(())
    }
}

/// What counts towards `bytes_max`: pages in use, and a WAL that is larger than it should be.
async fn disk_bytes(config: &SpoolConfig, log: &mut SqliteConnection) -> Result<u64, Failure> {
    let used: i64 = sqlx::query_scalar(
        "SELECT (page_count - freelist_count) * page_size \
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )
    .fetch_one(log)
    .await?;
    Ok(used as u64 + wal_bytes(config).saturating_sub(WAL_BYTES_MAX))
}

fn wal_bytes(config: &SpoolConfig) -> u64 {
    file_bytes(&files::wal_path(config))
}

fn file_bytes(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Consumer, Message};

    async fn writer(config: SpoolConfig) -> Writer {
        let spool = Spool::new(config);
        spool.open().await.unwrap();
        Writer::new(spool, EventLogMetrics::default())
    }

    /// A message that takes so many bytes in the file as well: nothing makes noise smaller.
    fn message(bytes: usize) -> Message {
        let noise = (0..).flat_map(|at: u32| at.wrapping_mul(0x9e37_79b9).to_be_bytes());
        Message::events(noise.take(bytes).collect::<Vec<u8>>(), 3)
    }

    fn call(bytes: usize) -> [Call; 1] {
        [Call::of(vec![message(bytes)])]
    }

    pub(super) async fn limit_pages(log: &mut SqliteConnection, pages: i64) {
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::raw_sql(sql).execute(log).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_takes_nothing_and_heals() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(SpoolConfig { path: dir.path().join("s"), ..SpoolConfig::default() }).await;
        writer.append(&call(1000)).await.remove(0).unwrap();
        (writer.pages_max, writer.open) = (40, None);
        for _ in 0..3 {
            let both = [Call::of(vec![Message::events("small", 1)]), Call::of(vec![message(1 << 20)])];
            let answers = writer.append(&both).await;
            assert!(answers.iter().all(|a| matches!(a, Err(AppendError::DiskFull(_)))), "{answers:?}");
        }
        let totals = writer.spool.totals().await.unwrap();
        assert_eq!(
            (totals[0].end_offset, totals[0].events_total),
            (1, 3),
            "nothing of a failed group is there"
        );
        writer.pages_max = PAGES_MAX;
        writer.append(&call(1 << 20)).await.remove(0).unwrap();
        assert_eq!(writer.spool.totals().await.unwrap()[0].end_offset, 2);
    }

    #[tokio::test]
    async fn a_full_spool_keeps_what_is_not_consumed_and_makes_room_of_what_is() {
        let dir = tempfile::tempdir().unwrap();
        let config = SpoolConfig { path: dir.path().join("s"), bytes_max: 1 << 20, ..SpoolConfig::default() };
        let mut writer = writer(SpoolConfig { retain_bytes: 1 << 20, ..config }).await;
        let mut accepted = 0;
        let full = loop {
            match writer.append(&call(100_000)).await.remove(0) {
                Ok(()) => accepted += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, AppendError::Full { bytes, .. } if bytes <= 1 << 20), "{full:?}");
        assert!(full.is_retryable() && accepted >= 8, "{accepted} accepted");
        writer.append(&call(10)).await.remove(0).expect("what is small still fits");
        let mut consumer = writer.spool.consumer("g").await.unwrap();
        consumer.next(Duration::ZERO).await.unwrap();
        consumer.next(Duration::ZERO).await.unwrap();
        let position = |offset| crate::Position { offset, metadata: String::new() };
        consumer.committer().commit(0, position(3)).await.unwrap();
        writer
            .append(&call(200_000))
            .await
            .remove(0)
            .expect("room of the three consumed, though retention keeps them");
        assert!(matches!(writer.append(&call(200_000)).await.remove(0), Err(AppendError::Full { .. })));
        assert_eq!(writer.spool.totals().await.unwrap()[0].first_offset, 3, "the unconsumed are all there");
    }

    #[tokio::test]
    async fn a_reader_that_stays_cannot_grow_the_wal_beyond_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let config =
            SpoolConfig { path: dir.path().join("s"), bytes_max: 64 << 20, ..SpoolConfig::default() };
        let mut writer =
            writer(SpoolConfig { synchronous: crate::spool::Synchronous::Normal, ..config }).await;
        writer.append(&call(10)).await.remove(0).unwrap();
        let config = writer.spool.config.clone();
        let mut consumer = writer.spool.consumer("g").await.unwrap();
        consumer.next(Duration::ZERO).await.unwrap();
        let mut reader = files::connect_log(&config).await.unwrap();
        let mut snapshot = reader.begin().await.unwrap();
        Tail::read(&mut snapshot, 0).await.unwrap();
        let mut offset = 0;
        let full = loop {
            if let Err(error) = writer.append(&call(4 << 20)).await.remove(0) {
                break error;
            }
            // All is consumed at once: only the WAL can fill the spool.
            while let crate::Delivery::Records { records, .. } = consumer.next(Duration::ZERO).await.unwrap()
            {
                offset += records.len() as u64;
                consumer
                    .committer()
                    .commit(0, crate::Position { offset, metadata: String::new() })
                    .await
                    .unwrap();
            }
            writer.upkeep(Instant::now() + Duration::from_secs(1)).await;
        };
        assert!(matches!(full, AppendError::Full { .. }), "{full:?}");
        assert!(wal_bytes(&config) < WAL_BYTES_MAX + config.bytes_max + (8 << 20), "{}", wal_bytes(&config));
        snapshot.rollback().await.unwrap();
        writer.upkeep(Instant::now() + Duration::from_secs(1)).await;
        assert!(wal_bytes(&config) <= 16 << 20, "cut once the reader is gone: {}", wal_bytes(&config));
        writer.append(&call(4 << 20)).await.remove(0).unwrap();
    }
}
