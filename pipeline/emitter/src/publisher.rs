//! The publisher: one task that takes events out of the queue, batches, appends, retries, and flushes at the end.
//!
//! While the log does not take anything, the publisher holds a few messages and the queue fills up and then drops;
//! requests notice nothing. What can't ever be appended is dropped and counted, so that the rest goes on.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

use event_log::{AppendError, Message, Producer};
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until};
use wide_event::redact::Redactor;
use wide_event::{BootEnd, Text, Timestamp, codec};

use crate::batch::{Batch, Batcher};
use crate::config::EmitterConfig;
use crate::emitter::Shared;
use crate::hop::Hop;
use crate::queue::Queue;
use crate::sequence::{self, ENDED_MAX, Ended};
use crate::state::Alive;

/// Messages in one append. An append of the spool costs a transaction, with a sync of the disk and a dozen wake-ups of
/// threads, whatever its size: a busy publisher waits for so many, as long as time allows. 16 of 900 kB are still
/// little memory.
const APPEND_MESSAGES: usize = 16;
/// Events that are encoded before others get their turn: half a millisecond at a microsecond each, and a fifth of one for each
/// message that is full meanwhile and packed. On a saturated
/// runtime the turn comes once for every few dozen requests, so with much less the publisher falls behind for good.
const ENCODE_EVENTS_MAX: u32 = 512;
/// Times that boots which have ended are looked for in one start: a thousand are announced, and the rest by the next
/// start. A process that crashes every second leaves 86,400 a day if no log takes its announcements, and this
/// boot's events wait meanwhile.
const ENDED_ROUNDS_MAX: usize = 16;
/// Between attempts to append: from the first value, doubling up to the last, with full jitter. Short at first, since
/// a busy database is free again soon; at most a second, since the log being back should show.
const RETRY_MS: (u64, u64) = (20, 1_000);
/// The same failure is logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What a flush at shutdown achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Events that were not published when time was up; counted as dropped.
    pub events_left: u64,
    /// Whether the log knows that this boot ended in good order.
    pub announced: bool,
}

/// The publisher's task ended by itself: a bug. Events went nowhere since.
#[derive(Debug, thiserror::Error)]
#[error("the publisher's task died")]
pub struct PublisherDied(#[source] JoinError);

/// Ends the publisher. Dropped without [`PublisherHandle::shutdown`], the publisher runs until its runtime ends.
#[derive(Debug)]
#[must_use = "without shutdown, the last events are lost"]
pub struct PublisherHandle {
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<Flushed>,
}

impl PublisherHandle {
    /// Publishes what is queued, for at most `deadline`, and announces the end of this boot. To be called when the
    /// server has stopped: events of requests that end later are counted and dropped.
    ///
    /// # Errors
    /// [`PublisherDied`].
    pub async fn shutdown(self, deadline: Duration) -> Result<Flushed, PublisherDied> {
        self.stop.send_replace(Some(Instant::now() + deadline));
        self.task.await.map_err(PublisherDied)
    }

    /// Whether the publisher's task has ended. For readiness see
    /// [`Emitter::not_publishing`](crate::Emitter::not_publishing), which knows more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.task.is_finished()
    }
}

pub(crate) struct Publisher {
    config: EmitterConfig,
    shared: Arc<Shared>,
    receiver: Receiver<Hop>,
    batcher: Batcher,
    /// Messages that are full and wait for others.
    full: Vec<Batch>,
    producer: Arc<dyn Producer>,
    stop: watch::Receiver<Option<Instant>>,
    logged: Option<(&'static str, Instant)>,
    /// Events that could not be published before the deadline of a shutdown.
    left: u64,
}

impl Publisher {
    pub(crate) fn start(
        config: EmitterConfig,
        shared: Arc<Shared>,
        receiver: Receiver<Hop>,
        redactor: Redactor,
        producer: Arc<dyn Producer>,
        ended: Vec<Ended>,
    ) -> PublisherHandle {
        let (stop, stopped) = watch::channel(None);
        let batcher = Batcher::new(&config, redactor, producer.takes_packed());
        let publisher = Self {
            config,
            shared,
            receiver,
            batcher,
            full: Vec::new(),
            producer,
            stop: stopped,
            logged: None,
            left: 0,
        };
        let alive = Alive::new(Arc::clone(&publisher.shared));
        let run = async move {
            let flushed = publisher.run(ended).await;
            alive.has_shut_down();
            flushed
        };
        PublisherHandle { stop, task: tokio::spawn(run) }
    }

    async fn run(mut self, ended: Vec<Ended>) -> Flushed {
        self.announce_ended(ended).await;
        let batch = Duration::from_millis(self.config.batch_ms_max);
        let mut due = Instant::now() + batch;
        while !self.is_stopping() {
            if !self.shared.queue.is_filled() {
                tokio::select! {
                    biased;
                    () = stopped(&mut self.stop) => {}
                    () = self.shared.queue.filled() => {}
                    () = sleep_until(due) => {}
                }
            }
            self.collect().await;
            if Instant::now() >= due {
                self.full.extend(self.batcher.take());
                self.publish_full().await;
                due = Instant::now() + batch;
            } else if self.full.len() >= APPEND_MESSAGES {
                self.publish_full().await;
            }
        }
        self.shared.queue.close();
        self.flush().await
    }

    fn is_stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// Takes what is waiting out of the queue and encodes it, as much as one append may hold.
    async fn collect(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut encoded = 0;
        let mut taken = Taken::new(&shared.queue);
        while self.full.len() < APPEND_MESSAGES {
            let Ok(hop) = self.receiver.try_recv() else { break };
            taken.add(self.encode(&hop));
            encoded += 1;
            if encoded % ENCODE_EVENTS_MAX == 0 {
                taken.forget();
                tokio::task::yield_now().await;
            }
        }
    }

    /// Puts the event of a hop into the message begun. What it counted for in the queue.
    fn encode(&mut self, hop: &Hop) -> usize {
        let record = hop.record();
        match self.batcher.add(&record, &self.shared.resource, &self.shared.requests) {
            Ok(full) => self.full.extend(full),
            Err(_panicked) => {
                self.shared.metrics.panics.inc();
                self.shared.metrics.dropped("encode_panic", 1);
                self.log("encode_panic", &"encoding an event panicked; it is dropped");
            }
        }
        record.sealed.map_or(0, |sealed| sealed.size)
    }

    async fn publish_full(&mut self) {
        let batches = std::mem::take(&mut self.full);
        if !batches.is_empty() {
            self.publish(batches).await;
        }
    }

    /// Appends batches, and counts what became of their events.
    async fn publish(&mut self, batches: Vec<Batch>) {
        let messages: Vec<Message> = batches.iter().map(|batch| batch.message.clone()).collect();
        let events = messages.iter().map(|message| u64::from(message.events)).sum::<u64>();
        let appended = self.append(&messages).await;
        let metrics = &self.shared.metrics;
        match appended {
            // One message too large must not take its neighbours with it.
            Appended::Refused("too_large") if messages.len() > 1 => {
                for batch in batches {
                    Box::pin(self.publish(vec![batch])).await;
                }
            }
            Appended::Refused(reason) => metrics.dropped(log_reason(reason), events),
            // The others are in the log; which ones those are, and so how large and how late, is not known.
            Appended::InDoubt { messages: in_doubt, events: events_in_doubt } => {
                let events_in_doubt = events_in_doubt.min(events);
                metrics.dropped("log_in_doubt", events_in_doubt);
                metrics.published_events.inc_by(events - events_in_doubt);
                metrics.published_messages.inc_by(messages.len().saturating_sub(in_doubt) as u64);
            }
            Appended::OutOfTime => self.left += events,
            Appended::Acknowledged => {
                metrics.published_events.inc_by(events);
                metrics.published_messages.inc_by(messages.len() as u64);
                metrics.published_bytes.inc_by(messages.iter().map(|m| m.payload_bytes() as u64).sum());
                for batch in &batches {
                    metrics.publish_delay_seconds.observe(batch.oldest.elapsed().as_secs_f64());
                }
            }
        }
    }

    /// Appends, again and again while it may help.
    async fn append(&mut self, messages: &[Message]) -> Appended {
        let mut stop = self.stop.clone();
        let mut retry_ms = RETRY_MS.0;
        loop {
            let started = Instant::now();
            if self.stop.borrow().is_some_and(|deadline| deadline <= started) {
                return Appended::OutOfTime;
            }
            let append = AssertUnwindSafe(self.producer.append(messages.to_vec())).catch_unwind();
            let result = tokio::select! {
                result = append => result,
                () = out_of_time(&mut stop) => return Appended::OutOfTime,
            };
            self.shared.metrics.append_seconds.observe(started.elapsed().as_secs_f64());
            match result {
                Ok(Ok(())) => {
                    self.logged = None;
                    self.shared.state.publishes();
                    return Appended::Acknowledged;
                }
                Ok(Err(error)) => {
                    self.shared.metrics.failed(error.reason());
                    self.log_append(&error);
                    match &error {
                        AppendError::Closed | AppendError::Broken(_) => {
                            self.shared.state.is_refused(error.reason());
                        }
                        // The message is refused; of the log it says nothing.
                        AppendError::TooLarge { .. } => {}
                        _ => self.shared.state.publishes(),
                    }
                    if let AppendError::InDoubt { messages, events, .. } = error {
                        return Appended::InDoubt { messages, events };
                    }
                    if !error.is_retryable() {
                        return Appended::Refused(error.reason());
                    }
                }
                Err(_panic) => {
                    self.shared.metrics.failed("panic");
                    self.shared.metrics.panics.inc();
                    self.log("panic", &"appending panicked");
                }
            }
            // Once it is about to stop, there is no use in sparing the log.
            let ms_max = if self.is_stopping() { retry_ms.min(50) } else { retry_ms };
            tokio::select! {
                () = sleep(Duration::from_millis(fastrand::u64(1..=ms_max))) => {}
                () = out_of_time(&mut stop) => return Appended::OutOfTime,
            }
            retry_ms = (retry_ms * 2).min(RETRY_MS.1);
        }
    }

    /// Tells the log of boots that ended without a word: those that were found, then those there was no room for.
    async fn announce_ended(&mut self, mut ended: Vec<Ended>) {
        for _ in 1..ENDED_ROUNDS_MAX {
            let may_be_more = ended.len() >= ENDED_MAX;
            if !self.announce(ended).await || !may_be_more || self.is_stopping() {
                return;
            }
            let Some(directory) = self.config.sequence_dir.clone() else { return };
            let found = tokio::task::spawn_blocking(move || sequence::ended(&directory)).await;
            let Ok(Ok(found)) = found else {
                self.log("sequence_dir", &"the sequence directory can't be read; the next start tries again");
                return;
            };
            ended = found;
        }
        self.announce(ended).await;
    }

    /// Whether the log knows of these boots, and their files are gone.
    async fn announce(&mut self, ended: Vec<Ended>) -> bool {
        if ended.is_empty() {
            return true;
        }
        let mut payload = Vec::new();
        for boot in &ended {
            let end = boot_end(&boot.service, &boot.instance, &boot.boot_id, boot.issued, false);
            codec::encode(&end, &mut payload);
        }
        if !matches!(self.append(&[Message::producer(payload)]).await, Appended::Acknowledged) {
            return false;
        }
        let removed = tokio::task::spawn_blocking(|| ended.into_iter().try_for_each(Ended::remove)).await;
        let is_removed = matches!(removed, Ok(Ok(())));
        if !is_removed {
            self.log(
                "sequence_dir",
                &"sequence files can't be removed; they are announced again at the next start",
            );
        }
        is_removed
    }

    /// Publishes all that was admitted, as long as there is time; then announces the end.
    async fn flush(mut self) -> Flushed {
        loop {
            self.collect().await;
            self.full.extend(self.batcher.take());
            self.publish_full().await;
            if self.shared.queue.events() == 0 {
                break;
            }
            // An event may be counted and not yet be in the channel, for some nanoseconds.
            tokio::task::yield_now().await;
        }
        let left = self.left;
        self.shared.metrics.dropped_shutdown.inc_by(left);
        let issued = self.shared.sequence.issued();
        let announced = !self.config.enabled || self.announce_own(issued).await;
        if left > 0 || !announced {
            tracing::error!(
                events_left = left,
                announced,
                "the event log did not take everything before shutdown"
            );
        }
        Flushed { events_left: left, announced }
    }

    async fn announce_own(&mut self, issued: u64) -> bool {
        let resource = &self.shared.resource;
        let end = boot_end(&resource.service, &resource.instance, &resource.boot_id, issued, true);
        let mut payload = Vec::new();
        codec::encode(&end, &mut payload);
        let announced = matches!(self.append(&[Message::producer(payload)]).await, Appended::Acknowledged);
        if announced {
            self.shared.sequence.announced(issued);
        }
        announced
    }

    fn log_append(&mut self, error: &AppendError) {
        if self.may_log(error.reason()) {
            let will_retry = error.is_retryable();
            let waiting = self.shared.queue.events();
            tracing::error!(
                error = error as &dyn std::error::Error,
                will_retry,
                waiting,
                "can't append events"
            );
        }
    }

    fn log(&mut self, what: &'static str, message: &dyn std::fmt::Display) {
        if self.may_log(what) {
            tracing::error!("{message}");
        }
    }

    fn may_log(&mut self, what: &'static str) -> bool {
        let may = self.logged.is_none_or(|(last, at)| last != what || at.elapsed() > LOG_EVERY);
        if may {
            self.logged = Some((what, Instant::now()));
        }
        may
    }
}

/// What was taken out of the queue and still counts in it: told at the latest after so many events, since each time takes the
/// counter from the processors of requests.
struct Taken<'q> {
    queue: &'q Queue<Hop>,
    events: usize,
    bytes: usize,
}

impl<'q> Taken<'q> {
    const EVENTS_MAX: usize = 16;

    fn new(queue: &'q Queue<Hop>) -> Self {
        Self { queue, events: 0, bytes: 0 }
    }

    fn add(&mut self, bytes: usize) {
        self.events += 1;
        self.bytes += bytes;
        if self.events >= Self::EVENTS_MAX {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.queue.forget(std::mem::take(&mut self.events), std::mem::take(&mut self.bytes));
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

enum Appended {
    Acknowledged,
    Refused(&'static str),
    /// So many may be in the log or not; the others are in it.
    InDoubt {
        messages: usize,
        events: u64,
    },
    OutOfTime,
}

/// Why events were dropped that the log refused for good.
fn log_reason(reason: &'static str) -> &'static str {
    match reason {
        "too_large" => "log_too_large",
        "closed" => "log_closed",
        "broken" => "log_broken",
        _ => "log_refused",
    }
}

fn boot_end<'a>(
    service: &'a str,
    instance: &'a str,
    boot_id: &'a str,
    issued: u64,
    clean: bool,
) -> BootEnd<'a> {
    let ts = Timestamp::from_system(SystemTime::now());
    let (service, instance, boot_id) = (Text::new(service), Text::new(instance), Text::new(boot_id));
    BootEnd { ts, service, instance, boot_id, issued, clean }
}

/// Returns when a shutdown was asked for; never, if nobody can ask any more.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) {
    if stop.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns when the deadline of a shutdown has passed.
async fn out_of_time(stop: &mut watch::Receiver<Option<Instant>>) {
    stopped(stop).await;
    let deadline = *stop.borrow();
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}
