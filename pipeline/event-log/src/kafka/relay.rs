//! The task that hands an outbox on to Kafka, for ever: after an error it begins again with what Kafka says it has.
//! It takes no part in `append`, and loses nothing when it is killed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::client::{Failure, Kafka};
use super::outbox;
use super::transfer::Session;
use crate::spool::{OpenError, Spool};
use crate::{CommitError, ConsumeError, Consumer, Delivery, EventLogMetrics, Position, Record};

/// The spool's one group.
const GROUP: &str = "kafka";
/// The spool's one partition.
const PARTITION: u32 = 0;
/// How often it looks whether it is to end; messages wake it at once.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two tries: the first soon, since most faults are short, and never more often than a person could bear in a log.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// The same error is logged that often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Why a try ended.
#[derive(Debug, Error)]
enum RelayError {
    #[error("Kafka does not take the outbox")]
    Kafka(#[from] Failure),
    #[error("the outbox can't be opened")]
    Open(#[from] OpenError),
    #[error("the outbox can't be read")]
    Consume(#[from] ConsumeError),
    #[error("the outbox does not remember what Kafka has")]
    Commit(#[from] CommitError),
    #[error("the name of the outbox can't be read")]
    Name(#[source] std::io::Error),
    #[error(
        "Kafka has the outbox up to {kafka}, and the outbox begins at {spool}: it is not the one that Kafka knows. If it was \
         lost and begun anew, remove {path}"
    )]
    Foreign { kafka: u64, spool: u64, path: String },
    #[error("the process is ending")]
    Ending,
}

impl RelayError {
    /// Another process has the same directory, and goes on with it.
    fn is_fenced(&self) -> bool {
        match self {
            Self::Kafka(failure) => failure.is_fenced(),
            Self::Consume(error) => matches!(error, ConsumeError::Fenced),
            Self::Commit(error) => matches!(error, CommitError::Fenced),
            _ => false,
        }
    }
}

/// Hands messages on.
pub(super) struct Relay {
    kafka: Kafka,
    spool: Spool,
    directory: PathBuf,
    /// Messages in a transaction: what Kafka may be ahead of the outbox after a crash.
    batch_max: u64,
    metrics: EventLogMetrics,
    is_ending: watch::Receiver<bool>,
    logged: Option<(String, Instant)>,
}

impl Relay {
    pub(super) fn new(
        kafka: Kafka,
        spool: Spool,
        metrics: EventLogMetrics,
        is_ending: watch::Receiver<bool>,
    ) -> Self {
        let config = kafka.config.outbox.spool(&kafka.config.topic);
        let (directory, batch_max) = (config.path, u64::from(config.fetch_messages_max));
        let kafka = kafka.with_metrics(metrics.clone());
        Self { kafka, spool, directory, batch_max, metrics, is_ending, logged: None }
    }

    /// Until all is handed on and nothing more can come, or another process has taken over.
    pub(super) async fn run(mut self) {
        let mut wait = RETRY.0;
        loop {
            let started = Instant::now();
            let Err(error) = self.relay().await else { return };
            if error.is_fenced() {
                tracing::warn!("another process hands on this outbox; this one only appends to it");
                return;
            }
            self.metrics.kafka.relay_failed();
            self.log(&error);
            wait = if started.elapsed() > RETRY.1 * 2 { RETRY.0 } else { (wait * 2).min(RETRY.1) };
            sleep(wait).await;
        }
    }

    /// One try; it ends well only when there is nothing left to do.
    async fn relay(&mut self) -> Result<(), RelayError> {
        self.spool.open().await?;
        let directory = self.directory.clone();
        let name = blocking(move || outbox::name(&directory)).await?.map_err(RelayError::Name)?;
        let kafka = self.kafka.clone();
        let session = Arc::new(blocking(move || Session::begin(&kafka, &name)).await??);
        let ended = self.go_on(&session).await;
        // Joins threads.
        blocking(move || drop(session)).await?;
        ended
    }

    async fn go_on(&self, session: &Arc<Session>) -> Result<(), RelayError> {
        let asking = session.clone();
        let known = blocking(move || asking.position()).await??;
        let mut consumer = self.spool.consumer(GROUP).await?;
        let committer = consumer.committer();
        let mut next = 0;
        loop {
            session.listen();
            match consumer.next(LOOK_EVERY).await? {
                Delivery::Assigned { partition: PARTITION, position } => {
                    next = self.first(known, position.offset)?;
                }
                Delivery::Records { partition: PARTITION, records } => {
                    next = self.hand_on(session, records, next).await?;
                    let position = Position { offset: next, metadata: String::new() };
                    committer.commit(PARTITION, position).await?;
                }
                Delivery::Idle if *self.is_ending.borrow() => return Ok(()),
                // A spool has no others, and never revokes.
                _ => {}
            }
        }
    }

    /// Where to go on: Kafka may have what the outbox does not know of, if the process was killed in between.
    fn first(&self, kafka: Option<u64>, spool: u64) -> Result<u64, RelayError> {
        match kafka {
            Some(kafka) if kafka > spool + self.batch_max => {
                let path = self.directory.join("outbox.id").display().to_string();
                Err(RelayError::Foreign { kafka, spool, path })
            }
            Some(kafka) => Ok(kafka.max(spool)),
            None => Ok(spool),
        }
    }

    async fn hand_on(
        &self,
        session: &Arc<Session>,
        records: Vec<Record>,
        next: u64,
    ) -> Result<u64, RelayError> {
        let end = records.last().map_or(next, |last| last.offset + 1).max(next);
        let fresh: Vec<_> = records.into_iter().filter(|record| record.offset >= next).collect();
        let messages = fresh.len() as u64;
        let events = fresh.iter().filter_map(|record| record.events).map(u64::from).sum();
        let session = session.clone();
        blocking(move || session.transfer(&fresh)).await??;
        self.metrics.kafka.relayed(messages, events);
        Ok(end)
    }

    fn log(&mut self, error: &RelayError) {
        let (text, now) = (error.to_string(), Instant::now());
        if self.logged.as_ref().is_none_or(|(last, at)| *last != text || now.duration_since(*at) > LOG_EVERY)
        {
            tracing::error!(error = error as &dyn std::error::Error, "the outbox waits");
            self.logged = Some((text, now));
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RelayError> {
    spawn_blocking(work).await.map_err(|_| RelayError::Ending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::KafkaConfig;

    #[tokio::test]
    async fn an_outbox_that_kafka_knows_differently_is_refused() {
        let kafka = Kafka::new(KafkaConfig::default());
        let spool = Spool::new(kafka.config.outbox.spool("events"));
        let relay = Relay::new(kafka, spool, EventLogMetrics::default(), watch::channel(false).1);
        let first = |kafka, spool| relay.first(kafka, spool).map_err(|error| error.to_string());
        for (kafka, spool, next) in [
            (None, 0, 0),
            (None, 70, 70),
            // Kafka forgets the positions of who was silent for a week.
            (Some(10), 70, 70),
            // Killed before the outbox noted what Kafka has.
            (Some(570), 70, 570),
        ] {
            assert_eq!(first(kafka, spool), Ok(next));
        }
        let refused = first(Some(571), 70).unwrap_err();
        assert!(refused.contains("up to 571") && refused.contains("outbox.id"), "{refused}");
    }
}
