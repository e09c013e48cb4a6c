//! The loop that holds the consumer: takes deliveries, cuts ranges, holds back, gives partitions away, and starts a task
//! for each range. It waits for nothing else, so the group never takes it for dead.
//!
//! Whatever is dropped here without being committed is read again by whoever comes next: leaving in the middle is safe
//! everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_log::{ConsumeError, Consumer, Delivery};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use warehouse::DEDUP_WINDOW;

use crate::backoff::Backoff;
use crate::commit::{Ended, RangeTask};
use crate::dead_letter_topic::DeadLetterTopic;
use crate::failure::Class;
use crate::health::Who;
use crate::hold_back::hold_back;
use crate::intent::Intent;
use crate::lease::Lease;
use crate::metrics::PartitionLabel;
use crate::partition::{Cut, Partition};
use crate::policy::Policy;
use crate::range::Range;
use crate::store::Store;
use crate::time::now_us;
use crate::{CollectorConfig, CollectorError};

/// How long to wait for messages when nothing is due: wakes up to look after lag, no more.
const IDLE: Duration = Duration::from_millis(500);
/// How often the lag is read: as often as it is likely to be scraped.
const LAG_EVERY: Duration = Duration::from_secs(1);
/// How long reading the lag may keep the loop from its work: far below any group's patience.
const LAG_MAX: Duration = Duration::from_secs(1);
/// Tokens that a range adds to a table, counted high: one for each of its days (two at midnight, more where a log waited
/// long), and some for a search by halves. So many ranges later than the window has tokens, ClickHouse forgets.
const RANGE_TOKENS: u64 = 4;
/// How long leaving the group may take at the end: longer than any log tries; the group notices anyhow.
const CLOSE_MAX: Duration = Duration::from_secs(15);

/// What the loop works with.
pub(crate) struct Run {
    pub(crate) config: CollectorConfig,
    pub(crate) consumer: Box<dyn Consumer>,
    pub(crate) store: Store,
    pub(crate) policy: Arc<Policy>,
    pub(crate) dead_letters: Option<DeadLetterTopic>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) held: Held,
}

/// What it holds at the moment.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) partitions: BTreeMap<u32, Partition>,
    tasks: JoinSet<(u32, Ended)>,
    /// Told to stop: no more is taken in, and what is not stored by then is left.
    pub(crate) stop_by: Option<Instant>,
    /// The log could not be read: not before then again.
    poll_after: Option<Instant>,
    backoff: Backoff,
    lag_read: Option<Instant>,
}

impl Run {
    /// Consumes until told to stop, then stores what it holds, and leaves the group.
    pub(crate) async fn work(mut self) -> Result<(), CollectorError> {
        let worked = self.poll().await;
        self.held.tasks.shutdown().await;
        if tokio::time::timeout(CLOSE_MAX, self.consumer.close()).await.is_err() {
            tracing::warn!("the group did not say good-bye in time");
        }
        worked
    }

    async fn poll(&mut self) -> Result<(), CollectorError> {
        loop {
            let now = Instant::now();
            self.stop_if_told(now);
            self.begin_due(now);
            self.give_away_overdue(now);
            self.hold_back();
            if self.is_done(now) {
                return Ok(());
            }
            self.read_lag().await;
            let (wait, poll_after) = (self.wait(), self.held.poll_after);
            tokio::select! {
                () = self.shutdown.cancelled(), if self.held.stop_by.is_none() => (),
                Some(joined) = self.held.tasks.join_next_with_id() => self.ended(joined),
                polled = next(&mut *self.consumer, poll_after, wait) => {
                    if let Some(delivery) = polled {
                        self.polled(delivery)?;
                    }
                }
            }
        }
    }

    /// From then on nothing more is taken in: what is held is an unbroken run, and stays one.
    fn stop_if_told(&mut self, now: Instant) {
        if self.shutdown.is_cancelled() && self.held.stop_by.is_none() {
            self.held.stop_by = Some(now + Duration::from_millis(self.config.shutdown_ms_max));
        }
    }

    fn is_done(&self, now: Instant) -> bool {
        let Some(stop_by) = self.held.stop_by else { return false };
        if self.held.tasks.is_empty() && self.due(now).is_empty() {
            return true;
        }
        let late = stop_by <= now;
        if late {
            tracing::warn!("stopped with a range half done; the next start finishes it");
        }
        late
    }

    /// How long nothing has to be done unless something happens.
    fn wait(&self) -> Duration {
        let room = self.held.tasks.len() < self.config.ranges_in_flight_max;
        let due = self.held.partitions.values().filter(|_| room).filter_map(|held| self.due_at(held));
        let leave = self.held.partitions.values().filter_map(|held| held.leave_by);
        let next = due.chain(leave).chain(self.held.stop_by).min();
        next.map_or(IDLE, |next| next.saturating_duration_since(Instant::now()).min(IDLE))
    }

    fn due_at(&self, held: &Partition) -> Option<Instant> {
        held.due(&self.config, self.held.stop_by.is_some())
    }

    /// Whose range is due, the longest due first: no partition starves behind others that are always full.
    fn due(&self, now: Instant) -> Vec<u32> {
        let partitions = self.held.partitions.iter();
        let mut due: Vec<_> = partitions
            .filter_map(|(number, held)| Some((self.due_at(held)?, *number)))
            .filter(|(due, _)| *due <= now)
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).collect()
    }

    fn begin_due(&mut self, now: Instant) {
        for partition in self.due(now) {
            if self.held.tasks.len() >= self.config.ranges_in_flight_max {
                return;
            }
            let Some(held) = self.held.partitions.get_mut(&partition) else { continue };
            match held.cut(&self.config, now) {
                Ok(Some(cut)) => self.begin(partition, cut),
                Ok(None) => (),
                Err(reason) => self.block(partition, &reason),
            }
        }
    }

    /// Starts the task of a range.
    fn begin(&mut self, partition: u32, cut: Cut) {
        let Some(held) = self.held.partitions.get_mut(&partition) else { return };
        let (first, found) = (held.next, held.found.take());
        let replay = found.is_some();
        let intent = found.unwrap_or_else(|| {
            let version = self.policy.version().to_owned();
            Intent {
                link_days: self.config.clicks_by_day,
                spans: self.config.spans,
                ..Intent::new(cut.last, version, now_us(), self.config.clicks)
            }
        });
        let (committer, limit) = (self.consumer.committer(), self.store.warehouse.config().insert_ms_max);
        let bytes = cut.records.iter().map(|record| record.payload.len() as u64).sum();
        self.store.metrics.health.open(Who::Partition(partition), intent.at);
        let range = Range {
            system: self.consumer.system(),
            topic: self.consumer.topic().into(),
            partition,
            first,
            records: cut.records.into(),
            intent,
            policy: Arc::clone(&self.policy),
            replay,
        };
        let span = cut.span.cut(&range);
        // What a person has decided about is not asked again.
        let decided = self.config.insert_anyway.contains(&range.token());
        let task = RangeTask {
            range,
            store: self.store.clone(),
            lease: Lease::new(committer, partition, first, Duration::from_millis(limit)),
            dead_letters: self.dead_letters.clone(),
            forgets_after: if decided { u64::MAX } else { DEDUP_WINDOW / RANGE_TOKENS },
        };
        let task = async move { (partition, task.run().await) }.instrument(span);
        held.begun(self.held.tasks.spawn(task), bytes);
        self.count_open();
    }

    fn ended(&mut self, joined: Result<(Id, (u32, Ended)), JoinError>) {
        let (id, (partition, ended)) = match joined {
            Ok(ended) => ended,
            Err(join) if join.is_cancelled() => return,
            Err(join) => std::panic::resume_unwind(join.into_panic()),
        };
        let held = self.held.partitions.get_mut(&partition);
        // It may have been taken away, or have come back, while the task was ending.
        let Some(held) = held.filter(|held| held.open.as_ref().is_some_and(|open| open.task.id() == id))
        else {
            return;
        };
        match ended {
            Ended::Stored { next } => {
                held.ended(next);
                self.store.metrics.health.end(Who::Partition(partition));
                if held.leave_by.is_some() {
                    self.give_away(partition);
                }
            }
            Ended::Lost => {
                let leaves = held.leave_by.is_some();
                self.forget(partition);
                if leaves {
                    self.consumer.release(partition);
                } else {
                    // The group is about to say so. Should it not, the partition stands still, and that must show.
                    self.store.metrics.health.begin(Who::Partition(partition));
                }
            }
        }
        self.count_open();
    }

    fn polled(&mut self, polled: Result<Delivery, ConsumeError>) -> Result<(), CollectorError> {
        match polled {
            Ok(delivery) => {
                if self.held.poll_after.take().is_some() {
                    self.held.backoff = Backoff::default();
                    self.store.metrics.health.end(Who::EventLog);
                }
                self.delivered(delivery);
            }
            Err(ConsumeError::Fenced) => return Err(CollectorError::Fenced),
            Err(error @ ConsumeError::Broken(_)) => return Err(CollectorError::Consume(error)),
            Err(error @ ConsumeError::Unavailable(_)) => {
                let wait = self.held.backoff.next();
                self.held.poll_after = Some(Instant::now() + wait);
                self.store.metrics.health.begin(Who::EventLog);
                self.store.metrics.failed("consume", Class::Retry);
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, ?wait, "the event log can't be read; trying again");
            }
        }
        Ok(())
    }

    pub(crate) fn count_open(&self) {
        let open = self.held.partitions.values().filter(|held| held.open.is_some()).count();
        self.store.metrics.open_intents.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Stops delivery where enough is held, and lets it go on where there is room.
    fn hold_back(&mut self) {
        let held = hold_back(&self.config, &self.held.partitions, self.held.stop_by.is_some());
        self.store.metrics.buffered_bytes.set(i64::try_from(held.bytes).unwrap_or(i64::MAX));
        for (number, pause) in held.pauses {
            let Some(partition) = self.held.partitions.get_mut(&number) else { continue };
            if pause && !partition.paused {
                self.consumer.pause(number);
            } else if !pause && partition.paused {
                self.consumer.resume(number);
            }
            partition.paused = pause;
        }
    }

    async fn read_lag(&mut self) {
        if self.held.lag_read.is_some_and(|read| read.elapsed() < LAG_EVERY) {
            return;
        }
        // A log that can't be read says so where it is read.
        let lags = tokio::time::timeout(LAG_MAX, self.consumer.lag()).await;
        self.held.lag_read = Some(Instant::now());
        let Ok(Ok(lags)) = lags else { return };
        for lag in lags {
            let label = PartitionLabel { partition: lag.partition };
            let metrics = &self.store.metrics;
            metrics.lag_messages.get_or_create(&label).set(i64::try_from(lag.messages()).unwrap_or(i64::MAX));
            let age_us = lag.oldest_appended_at_us.map_or(0, |oldest| now_us().saturating_sub(oldest).max(0));
            metrics.lag_s.get_or_create(&label).set(age_us as f64 / 1e6);
        }
    }
}

/// Asks the consumer, unless it is not to be asked before `poll_after`; then `None`, after `wait` at the most.
async fn next(
    consumer: &mut dyn Consumer,
    poll_after: Option<Instant>,
    wait: Duration,
) -> Option<Result<Delivery, ConsumeError>> {
    match poll_after.map(|after| after.saturating_duration_since(Instant::now())) {
        Some(rest) if !rest.is_zero() => {
            tokio::time::sleep(rest.min(wait)).await;
            None
        }
        _ => Some(consumer.next(wait).await),
    }
}
