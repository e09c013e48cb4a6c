//! The order of things: intent, store, commit, for each partition by itself. The one task that holds the consumer.
//!
//! Whatever is dropped here without being committed is read again by whoever comes next: leaving in the middle is safe
//! everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event_log::{CommitError, ConsumeError, Consumer, Delivery, Position, Record};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::consume::Partition;
use crate::failure::Class;
use crate::health::Who;
use crate::insert::{Store, Stored, published};
use crate::intent::Intent;
use crate::metrics::PartitionLabel;
use crate::policy::Policy;
use crate::range::Range;
use crate::{CollectorConfig, CollectorError};

/// How long to wait for messages when nothing is due: wakes up to look after lag, no more.
const IDLE: Duration = Duration::from_millis(500);
/// How often the lag is read: as often as it is likely to be scraped.
const LAG_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Run {
    pub(crate) config: CollectorConfig,
    pub(crate) consumer: Box<dyn Consumer>,
    pub(crate) store: Store,
    pub(crate) policy: Arc<Policy>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) topic: Arc<str>,
    partitions: BTreeMap<u32, Partition>,
    storing: JoinSet<(Range, Stored)>,
    handles: BTreeMap<u32, AbortHandle>,
    storing_bytes: BTreeMap<u32, u64>,
    lag_read: Option<Instant>,
}

impl Run {
    pub(crate) fn new(
        config: CollectorConfig,
        consumer: Box<dyn Consumer>,
        store: Store,
        policy: Arc<Policy>,
        shutdown: CancellationToken,
    ) -> Self {
        let topic = Arc::from(consumer.topic());
        Self {
            config,
            consumer,
            store,
            policy,
            shutdown,
            topic,
            partitions: BTreeMap::new(),
            storing: JoinSet::new(),
            handles: BTreeMap::new(),
            storing_bytes: BTreeMap::new(),
            lag_read: None,
        }
    }

    /// Consumes until told to stop, then stores what it holds.
    pub(crate) async fn work(mut self) -> Result<(), CollectorError> {
        let mut backoff = Backoff::default();
        while !self.shutdown.is_cancelled() {
            self.begin_due(false).await?;
            self.hold_back();
            self.read_lag().await;
            let wait =
                self.next_due().map_or(IDLE, |due| due.saturating_duration_since(Instant::now()).min(IDLE));
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => (),
                Some(done) = self.storing.join_next() => self.stored(done).await?,
                delivery = self.consumer.next(wait) => match delivery {
                    Ok(delivery) => {
                        backoff = Backoff::default();
                        self.delivered(delivery)?;
                    }
                    Err(ConsumeError::Fenced) => return Err(CollectorError::Fenced),
                    Err(error @ ConsumeError::Broken(_)) => return Err(CollectorError::Consume(error)),
                    Err(error @ ConsumeError::Unavailable(_)) => {
                        let wait = backoff.next();
                        tracing::warn!(error = &error as &dyn std::error::Error, ?wait, "the event log can't be read; trying again");
                        self.pause(wait).await;
                    }
                },
            }
        }
        let deadline = Duration::from_millis(self.config.shutdown_ms_max);
        match tokio::time::timeout(deadline, self.drain()).await {
            Ok(drained) => drained,
            Err(_) => {
                tracing::warn!("stopped with a range half done; the next start finishes it");
                Ok(())
            }
        }
    }

    /// Stores what is held.
    async fn drain(&mut self) -> Result<(), CollectorError> {
        loop {
            self.begin_due(true).await?;
            match self.storing.join_next().await {
                Some(done) => self.stored(done).await?,
                None => return Ok(()),
            }
        }
    }

    fn delivered(&mut self, delivery: Delivery) -> Result<(), CollectorError> {
        match delivery {
            Delivery::Idle => (),
            Delivery::Assigned { partition, position } => {
                self.forget(partition);
                let fresh = Partition::new(&position)
                    .map_err(|reason| CollectorError::Replay { partition, reason })?;
                if fresh.replay {
                    tracing::info!(
                        partition,
                        offset = position.offset,
                        "an open range was found; it is stored first"
                    );
                }
                self.partitions.insert(partition, fresh);
            }
            Delivery::Revoking { partition } => {
                self.forget(partition);
                self.consumer.release(partition);
            }
            Delivery::Revoked { partition } => self.forget(partition),
            Delivery::Records { partition, records } => self.take(partition, records),
        }
        Ok(())
    }

    fn take(&mut self, partition: u32, records: Vec<Record>) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        let metrics = &self.store.metrics;
        metrics.consumed_messages.inc_by(records.len() as u64);
        metrics.consumed_bytes.inc_by(held.push(records, Instant::now()));
    }

    /// Drops what is held of a partition. What is being inserted may still arrive: it has its token.
    fn forget(&mut self, partition: u32) {
        self.partitions.remove(&partition);
        self.storing_bytes.remove(&partition);
        if let Some(handle) = self.handles.remove(&partition) {
            handle.abort();
        }
        self.store.metrics.gate(Who::Partition(partition), None);
    }

    fn next_due(&self) -> Option<Instant> {
        let room = self.storing.len() < self.config.ranges_in_flight_max;
        self.partitions
            .values()
            .filter(|_| room)
            .filter_map(|partition| partition.due(&self.config, false))
            .min()
    }

    fn due(&self, hurry: bool) -> Vec<u32> {
        let now = Instant::now();
        let is_due = |held: &Partition| held.due(&self.config, hurry).is_some_and(|due| due <= now);
        self.partitions.iter().filter(|(_, held)| is_due(held)).map(|(number, _)| *number).collect()
    }

    async fn begin_due(&mut self, hurry: bool) -> Result<(), CollectorError> {
        for partition in self.due(hurry) {
            if self.storing.len() < self.config.ranges_in_flight_max {
                self.begin(partition).await?;
            }
        }
        Ok(())
    }

    /// Writes the intent down, unless an earlier life has, and starts to store the range.
    async fn begin(&mut self, partition: u32) -> Result<(), CollectorError> {
        let Some(held) = self.partitions.get_mut(&partition) else { return Ok(()) };
        let replay_error = |reason| CollectorError::Replay { partition, reason };
        let Some(cut) = held.cut(&self.config, Instant::now()).map_err(replay_error)? else { return Ok(()) };
        let (first, replay, found) = (held.next, held.replay, held.intent.take());
        held.storing = true;
        let (intent, policy) = match found {
            Some(intent) => {
                let Some(policy) = self.policy_of(&intent, partition).await? else { return Ok(()) };
                (intent, policy)
            }
            None => {
                let version = self.policy.version().to_owned();
                let intent = Intent::new(cut.last, version, now_us(), self.config.clicks);
                if !self.commit(partition, first, intent.to_metadata()).await? {
                    return Ok(());
                }
                (intent, Arc::clone(&self.policy))
            }
        };
        let bytes = cut.records.iter().map(|record| record.payload.len() as u64).sum();
        self.storing_bytes.insert(partition, bytes);
        self.spawn(Range {
            topic: Arc::clone(&self.topic),
            partition,
            first,
            records: cut.records.into(),
            intent,
            policy,
            replay,
        });
        Ok(())
    }

    fn spawn(&mut self, range: Range) {
        let (store, partition) = (self.store.clone(), range.partition);
        let handle = self.storing.spawn(async move {
            let stored = store.store(&range).await;
            (range, stored)
        });
        self.handles.insert(partition, handle);
        self.store.metrics.open_intents.set(i64::try_from(self.storing.len()).unwrap_or(i64::MAX));
    }

    async fn stored(
        &mut self,
        done: Result<(Range, Stored), tokio::task::JoinError>,
    ) -> Result<(), CollectorError> {
        let (range, stored) = match done {
            Ok(done) => done,
            Err(join) if join.is_cancelled() => return Ok(()),
            Err(join) => std::panic::resume_unwind(join.into_panic()),
        };
        let Range { partition, first, .. } = range;
        // It may have been taken away, or have come back, since: then the range is no longer ours to commit.
        let ours = self.partitions.get(&partition).is_some_and(|held| held.storing && held.next == first);
        if !ours {
            return Ok(());
        }
        match stored {
            Stored::Amend(intent) => {
                if self.commit(partition, first, intent.to_metadata()).await? {
                    self.spawn(Range { intent, ..range });
                }
            }
            Stored::Done(batch) => {
                let next = range.intent.last + 1;
                if self.commit(partition, next, String::new()).await? {
                    self.finish(partition, next);
                    let metrics = &self.store.metrics;
                    if let Some(batch) = batch {
                        metrics.committed(&batch, range.replay, now_us());
                    }
                }
            }
        }
        self.store.metrics.open_intents.set(i64::try_from(self.storing.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    fn finish(&mut self, partition: u32, next: u64) {
        self.handles.remove(&partition);
        self.storing_bytes.remove(&partition);
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.next = next;
            held.storing = false;
            held.replay = false;
        }
    }

    /// Commits a position; tries for as long as it takes. `false`: the partition is another's by now.
    async fn commit(
        &mut self,
        partition: u32,
        offset: u64,
        metadata: String,
    ) -> Result<bool, CollectorError> {
        let mut backoff = Backoff::default();
        loop {
            let position = Position { offset, metadata: metadata.clone() };
            match self.consumer.committer().commit(partition, position).await {
                Ok(()) => return Ok(true),
                Err(CommitError::Fenced) => {
                    self.forget(partition);
                    return Ok(false);
                }
                Err(error @ CommitError::Unavailable(_)) if !self.shutdown.is_cancelled() => {
                    let wait = backoff.next();
                    tracing::warn!(
                        partition,
                        error = &error as &dyn std::error::Error,
                        ?wait,
                        "a position was not committed; trying again"
                    );
                    self.pause(wait).await;
                }
                Err(error) => return Err(CollectorError::Commit(error)),
            }
        }
    }

    /// The policy that a range was begun under. `None`: told to stop.
    async fn policy_of(
        &mut self,
        intent: &Intent,
        partition: u32,
    ) -> Result<Option<Arc<Policy>>, CollectorError> {
        if intent.policy == self.policy.version() {
            return Ok(Some(Arc::clone(&self.policy)));
        }
        let mut backoff = Backoff::default();
        loop {
            match published(&self.store, &intent.policy).await {
                Ok(Some(text)) => return Policy::parse(&text).map(|policy| Some(Arc::new(policy))),
                Ok(None) => {
                    let reason = format!("sampling policy {} is not in sampling_policies", intent.policy);
                    return Err(CollectorError::Replay { partition, reason });
                }
                Err(error) => {
                    tokio::select! {
                        () = self.shutdown.cancelled() => return Ok(None),
                        () = self.store.wait(Who::Partition(partition), &error, &mut backoff) => (),
                    }
                }
            }
        }
    }

    /// Stops delivery where enough is held, and lets it go on where there is room.
    fn hold_back(&mut self) {
        let storing: u64 = self.storing_bytes.values().sum();
        let held: u64 = self.partitions.values().map(Partition::bytes).sum::<u64>() + storing;
        self.store.metrics.buffered_bytes.set(i64::try_from(held).unwrap_or(i64::MAX));
        let full = held >= self.config.buffer_bytes_max;
        for (number, partition) in &mut self.partitions {
            // A range that was begun needs its messages before it can make room.
            let pause = partition.intent.is_none() && (full || partition.is_full(&self.config));
            if pause && !partition.paused {
                self.consumer.pause(*number);
            } else if !pause && partition.paused {
                self.consumer.resume(*number);
            }
            partition.paused = pause;
        }
    }

    async fn read_lag(&mut self) {
        if self.lag_read.is_some_and(|read| read.elapsed() < LAG_EVERY) {
            return;
        }
        self.lag_read = Some(Instant::now());
        // A log that can't be read says so where it is read.
        let Ok(lags) = self.consumer.lag().await else { return };
        for lag in lags {
            let label = PartitionLabel { partition: lag.partition };
            let metrics = &self.store.metrics;
            metrics.lag_messages.get_or_create(&label).set(i64::try_from(lag.messages()).unwrap_or(i64::MAX));
            let age_us = lag.oldest_appended_at_us.map_or(0, |oldest| now_us().saturating_sub(oldest).max(0));
            metrics.lag_s.get_or_create(&label).set(age_us as f64 / 1e6);
        }
    }

    /// Waits, unless told to stop.
    async fn pause(&mut self, wait: Duration) {
        tokio::select! {
            () = self.shutdown.cancelled() => (),
            () = tokio::time::sleep(wait) => (),
        }
    }
}

/// Opens the gate: the tables are there and fit, and the policy is known. `false`: told to stop before.
pub(crate) async fn open_gate(store: &Store, policy: &Policy, shutdown: &CancellationToken) -> bool {
    let mut backoff = Backoff::default();
    let attempt = async || {
        warehouse::schema_check(&store.warehouse).await?;
        crate::insert::publish(store, policy).await
    };
    loop {
        let attempt = tokio::select! {
            () = shutdown.cancelled() => return false,
            attempt = attempt() => attempt,
        };
        let Err(error) = attempt else { break };
        if Class::of(&error) == Class::Retry {
            store.metrics.gate(Who::Start, Some("waiting for ClickHouse".to_owned()));
        }
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = store.wait(Who::Start, &error, &mut backoff) => (),
        }
    }
    store.metrics.gate(Who::Start, None);
    true
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
