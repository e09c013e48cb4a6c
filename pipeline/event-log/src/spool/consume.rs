//! The consumer of a group: takes the group over by raising its epoch, and reads all partitions in turn. Keeps nothing
//! but positions; what it has not delivered it reads again. What commits them is the committer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};
use tokio::time::Instant;

use super::commit::{Reach, SpoolCommitter};
use super::failure::{Failure, Inconsistent};
use super::{Spool, files, stored, stray, totals};
use crate::{Committer, ConsumeError, Consumer, Delivery, Lag, Position, Record, Schema};

/// A time stamp is as coarse as a tick of the kernel, up to 10 ms: what was written after a look but in the same tick
/// shows no new one. The first look is at once, the second and third are later than that tick even if `poll_ms` is 5.
const LOOKS_AFTER_STIR: u32 = 3;

/// Reads a spool for a group, all partitions of it.
#[derive(Debug)]
pub struct SpoolConsumer {
    spool: Spool,
    group: String,
    epoch: i64,
    committer: Arc<SpoolCommitter>,
    open: Option<Open>,
    partitions: BTreeMap<u32, Reading>,
    /// Not yet told of.
    assigned: VecDeque<(u32, Position)>,
    /// Partition read last: the next one is another's turn.
    last: u32,
    /// The WAL's time stamp, as last seen.
    stamp: Option<SystemTime>,
    /// Times to look although the stamp is the same.
    looks: u32,
}

#[derive(Debug)]
struct Open {
    log: SqliteConnection,
    groups: SqliteConnection,
}

/// How far a partition is.
#[derive(Debug)]
struct Reading {
    /// Next offset to deliver.
    next: u64,
    /// As last seen in the log.
    end: u64,
    paused: bool,
}

type Row = (i64, i64, i64, String, String, Vec<u8>);

impl SpoolConsumer {
    pub(super) async fn take_over(spool: Spool, group: &str) -> Result<Self, ConsumeError> {
        let committer = SpoolCommitter::new(Arc::clone(&spool.config), group.to_owned());
        let mut consumer = Self {
            spool,
            group: group.to_owned(),
            epoch: 0,
            committer: Arc::new(committer),
            open: None,
            partitions: BTreeMap::new(),
            assigned: VecDeque::new(),
            last: u32::MAX,
            stamp: None,
            looks: 0,
        };
        consumer.raise_epoch().await?;
        consumer.committer.set_epoch(consumer.epoch);
        consumer.look().await?;
        Ok(consumer)
    }

    async fn open(&mut self) -> Result<&mut Open, Failure> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let log = files::connect_log(&self.spool.config).await?;
                Open { log, groups: files::connect_groups(&self.spool.config).await? }
            }
        };
        Ok(self.open.insert(open))
    }

    /// After a failure the next call connects anew.
    fn failed<E: From<Failure>>(&mut self, failure: Failure) -> E {
        self.open = None;
        failure.into()
    }

    async fn raise_epoch(&mut self) -> Result<(), Failure> {
        let group = self.group.clone();
        let groups = &mut self.open().await?.groups;
        let known: Option<i64> =
            sqlx::query_scalar("UPDATE groups SET epoch = epoch + 1 WHERE name = ? RETURNING epoch")
                .bind(&group)
                .fetch_optional(groups)
                .await?;
        if let Some(epoch) = known {
            self.epoch = epoch;
            return Ok(());
        }
        self.register(None).await?;
        let groups = &mut self.open().await?.groups;
        self.epoch = sqlx::query_scalar("UPDATE groups SET epoch = epoch + 1 WHERE name = ? RETURNING epoch")
            .bind(&group)
            .fetch_one(groups)
            .await?;
        Ok(())
    }

    /// Makes the group, and its positions where it has none yet. Holds the log's write lock, under which retention
    /// works: what a new position names is not deleted before the position counts.
    async fn register(&mut self, only: Option<u32>) -> Result<(), Failure> {
        let group = self.group.clone();
        let mut turns = self.spool.turns();
        let Open { log, groups } = self.open().await?;
        let _turn = turns.next().await?;
        let mut lock = log.begin_with("BEGIN IMMEDIATE").await?;
        let first: Vec<(u32, i64)> =
            sqlx::query_as("SELECT partition, first_offset FROM partitions").fetch_all(&mut *lock).await?;
        let mut transaction = groups.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO groups VALUES (?, 0) ON CONFLICT DO NOTHING")
            .bind(&group)
            .execute(&mut *transaction)
            .await?;
        for (partition, offset) in first.into_iter().filter(|(p, _)| only.is_none_or(|only| only == *p)) {
            sqlx::query("INSERT INTO positions VALUES (?, ?, ?, '', 0) ON CONFLICT DO NOTHING")
                .bind(&group)
                .bind(partition)
                .bind(offset)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        lock.rollback().await?;
        Ok(())
    }

    /// Whether the group is still ours; how far the partitions are; new ones.
    async fn look(&mut self) -> Result<(), ConsumeError> {
        let (group, epoch) = (self.group.clone(), self.epoch);
        let Open { log, groups } = self.open().await?;
        let current: i64 = sqlx::query_scalar("SELECT epoch FROM groups WHERE name = ?")
            .bind(&group)
            .fetch_one(groups)
            .await
            .map_err(Failure::from)?;
        if current != epoch {
            return Err(ConsumeError::Fenced);
        }
        let ends: Vec<(u32, i64, bool)> = sqlx::query_as(
            "SELECT partition, next_offset, EXISTS (SELECT 1 FROM strays \
             WHERE name = ? AND strays.partition = partitions.partition) FROM partitions",
        )
        .bind(&group)
        .fetch_all(log)
        .await
        .map_err(Failure::from)?;
        for (partition, end, is_stray) in ends {
            if !self.partitions.contains_key(&partition) {
                self.assign(partition).await?;
            }
            let Some(reading) = self.partitions.get_mut(&partition) else { continue };
            reading.end = end as u64;
            if is_stray || reading.next > reading.end {
                let Reading { next, end, .. } = *reading;
                // Read anew the next time: until then a person may have put something else there.
                self.partitions.remove(&partition);
                self.committer.forget(partition);
                self.assigned.retain(|(assigned, _)| *assigned != partition);
                let error = stray::error(&self.spool.config, &group, partition, next, end);
                return Err(Failure::from(error).into());
            }
        }
        Ok(())
    }

    async fn assign(&mut self, partition: u32) -> Result<(), Failure> {
        let (offset, metadata) = match self.position(partition).await? {
            Some(position) => position,
            None => {
                self.register(Some(partition)).await?;
                let missing =
                    || Inconsistent(format!("partition {partition} was registered and is not there"));
                self.position(partition).await?.ok_or_else(missing)?
            }
        };
        let offset = offset as u64;
        self.partitions.insert(partition, Reading { next: offset, end: offset, paused: false });
        self.committer.assign(partition, Reach { committed: offset, next: offset });
        self.assigned.push_back((partition, Position { offset, metadata }));
        Ok(())
    }

    async fn position(&mut self, partition: u32) -> Result<Option<(i64, String)>, Failure> {
        let group = self.group.clone();
        let groups = &mut self.open().await?.groups;
        Ok(sqlx::query_as("SELECT offset, metadata FROM positions WHERE name = ? AND partition = ?")
            .bind(group)
            .bind(partition)
            .fetch_optional(groups)
            .await?)
    }

    /// Waits until another process may have appended. Looks at the WAL's time stamp, since queries cost an
    /// idle consumer several times as much.
    async fn stir(&mut self, deadline: Instant) {
        loop {
            let poll = Instant::now() + self.spool.config.poll();
            tokio::time::sleep_until(poll.min(deadline)).await;
            let stamp = files::wal_stamp(&self.spool.config);
            if stamp != self.stamp {
                self.stamp = stamp;
                self.looks = LOOKS_AFTER_STIR;
            }
            if self.looks > 0 || Instant::now() >= deadline {
                self.looks = self.looks.saturating_sub(1);
                return;
            }
        }
    }

    /// What there is now, without waiting.
    async fn poll(&mut self) -> Result<Option<Delivery>, ConsumeError> {
        self.look().await?;
        if let Some((partition, position)) = self.assigned.pop_front() {
            return Ok(Some(Delivery::Assigned { partition, position }));
        }
        let ready = |(_, reading): &(&u32, &Reading)| !reading.paused && reading.next < reading.end;
        let after = self.partitions.range(self.last.saturating_add(1)..).find(ready);
        let Some((&partition, reading)) = after.or_else(|| self.partitions.iter().find(ready)) else {
            return Ok(None);
        };
        let (next, end) = (reading.next, reading.end);
        let records = self.fetch(partition, next, end).await?;
        if let Some(reading) = self.partitions.get_mut(&partition) {
            reading.next += records.len() as u64;
            self.committer.delivered(partition, reading.next);
        }
        self.last = partition;
        Ok(Some(Delivery::Records { partition, records }))
    }

    /// Records from `next`, at least one.
    async fn fetch(&mut self, partition: u32, next: u64, end: u64) -> Result<Vec<Record>, Failure> {
        let config = self.spool.config.clone();
        let log = &mut self.open().await?.log;
        // Bounded by keys first: the sum alone would have SQLite look at all rows that follow.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, appended_at_us, events, schema, content_type, payload FROM messages \
             WHERE id >= ?1 AND id < ?2 \
             AND bytes_before < (SELECT bytes_before FROM messages WHERE id = ?1) + ?3 ORDER BY id",
        )
        .bind(files::key(partition, next))
        .bind(files::key(partition, end.min(next + u64::from(config.fetch_messages_max))))
        .bind(config.fetch_bytes_max as i64)
        .fetch_all(log)
        .await?;
        let records: Vec<Record> = rows.into_iter().map(record).collect();
        let contiguous = (next..).zip(&records).all(|(offset, record)| record.offset == offset);
        if records.is_empty() || !contiguous {
            return Err(Inconsistent(format!(
                "messages from offset {next} of partition {partition} are gone"
            ))
            .into());
        }
        Ok(records)
    }

    async fn lags(&mut self) -> Result<Vec<Lag>, Failure> {
        let known: Vec<_> =
            self.partitions.iter().map(|(&p, r)| (p, self.committer.committed(p), r.end)).collect();
        let log = &mut self.open().await?.log;
        let mut lags = Vec::with_capacity(known.len());
        for (partition, committed, end) in known {
            let oldest = totals::at(log, partition, committed).await?;
            lags.push(Lag { partition, committed, end, oldest_appended_at_us: oldest.map(|(_, at)| at) });
        }
        Ok(lags)
    }
}

#[async_trait]
impl Consumer for SpoolConsumer {
    fn topic(&self) -> &str {
        &self.spool.config.topic
    }

    fn system(&self) -> &'static str {
        "hoplog_spool"
    }

    async fn next(&mut self, wait: Duration) -> Result<Delivery, ConsumeError> {
        let deadline = Instant::now() + wait;
        let appended = self.spool.appended.clone();
        loop {
            // Before looking: what is appended after that wakes us.
            let notified = appended.notified();
            match self.poll().await {
                Ok(Some(delivery)) => return Ok(delivery),
                Ok(None) if Instant::now() >= deadline => return Ok(Delivery::Idle),
                Ok(None) => {}
                Err(error) => {
                    self.open = None;
                    return Err(error);
                }
            }
            tokio::select! {
                () = notified => {}
                () = self.stir(deadline) => {}
            }
        }
    }

    fn committer(&self) -> Arc<dyn Committer> {
        Arc::clone(&self.committer) as _
    }

    fn pause(&mut self, partition: u32) {
        if let Some(reading) = self.partitions.get_mut(&partition) {
            reading.paused = true;
        }
    }

    fn resume(&mut self, partition: u32) {
        if let Some(reading) = self.partitions.get_mut(&partition) {
            reading.paused = false;
        }
    }

    /// A spool's group has one consumer: there is nobody to give anything to.
    fn release(&mut self, _partition: u32) {}

    async fn lag(&mut self) -> Result<Vec<Lag>, ConsumeError> {
        self.look().await?;
        self.lags().await.map_err(|failure| self.failed(failure))
    }
}

fn record((id, appended_at_us, events, schema, content_type, payload): Row) -> Record {
    let (content_type, payload) = stored::unpacked(&content_type, payload);
    Record {
        offset: files::offset_of(id),
        appended_at_us,
        payload,
        events: u32::try_from(events).ok(),
        schema: Schema::from(schema.as_str()),
        content_type,
    }
}
