//! Kafka by its configuration, and what every client of librdkafka says of itself: logs and errors, and whether the
//! brokers refuse us. Sends and reads nothing; statistics are `stats.rs`'.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Statistics};
use thiserror::Error;

use super::config::KafkaConfig;
use super::outbox::Outbox;
use super::producer::KafkaProducer;
use super::stats::StatsObserver;
use super::topics;
use crate::{EventLogMetrics, OpenError, Producer};

/// An error that stays is logged that often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Kafka by its configuration; cheap to clone. Nothing is opened until it is used.
#[derive(Debug, Clone)]
pub struct Kafka {
    pub(super) config: Arc<KafkaConfig>,
    pub(super) metrics: EventLogMetrics,
}

impl Kafka {
    /// Asks nobody yet. The configuration should have passed [`KafkaConfig::check`].
    pub fn new(config: KafkaConfig) -> Self {
        Self { config: Arc::new(config), metrics: EventLogMetrics::default() }
    }

    /// With metrics of consumers and their connections; producers are given theirs.
    #[must_use]
    pub fn with_metrics(self, metrics: EventLogMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Makes missing topics where [`KafkaConfig::create_topics`] allows it, and refuses topics that would lose
    /// messages or not take them. What is only worth a thought is logged as a warning.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(&self) -> Result<(), OpenError> {
        Ok(topics::open(self).await?)
    }

    /// A producer of events. It connects in the background, and `append` waits as long as that takes, or, with an
    /// [outbox](super::OutboxConfig), as long as the disk takes. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError::Refused`]: files of certificates that can't be used.
    pub fn producer(&self, metrics: EventLogMetrics) -> Result<Arc<dyn Producer>, OpenError> {
        if self.config.outbox.enabled {
            self.read_files().map_err(|error| OpenError::Refused(error.into()))?;
            return Ok(Arc::new(Outbox::start(self.clone(), metrics)));
        }
        self.start(Role::Producer, metrics)
    }

    /// A producer of dead letters, as [`Kafka::producer`].
    ///
    /// # Errors
    /// See [`Kafka::producer`].
    pub fn dead_letters(&self, metrics: EventLogMetrics) -> Result<Arc<dyn Producer>, OpenError> {
        self.start(Role::DeadLetters, metrics)
    }

    fn start(&self, role: Role, metrics: EventLogMetrics) -> Result<Arc<dyn Producer>, OpenError> {
        self.read_files().map_err(|error| OpenError::Refused(error.into()))?;
        let started = KafkaProducer::start(self.clone(), role, metrics);
        Ok(Arc::new(started.map_err(|error| OpenError::Refused(error.into()))?))
    }

    /// That the files of certificates can be read: OpenSSL would not say which one can't.
    pub(super) fn read_files(&self) -> Result<(), FileError> {
        let security = &self.config.security;
        for file in [&security.ca_file, &security.certificate_file, &security.key_file].into_iter().flatten()
        {
            let read = std::fs::File::open(file);
            read.map_err(|source| FileError { path: file.clone(), source })?;
        }
        Ok(())
    }

    /// A client that can ask for metadata and watermarks. Making one is not asking: it connects in the background.
    /// It must be polled for [`Reports::refusal`] to say something.
    pub(super) fn inquirer(&self) -> KafkaResult<BaseProducer<Reports>> {
        let mut config = self.config.client();
        config.set("statistics.interval.ms", "0");
        BaseProducer::from_config_and_context(&config, Reports::new(Role::Inquirer, &self.metrics))
    }
}

/// A file that is named in the configuration and can't be read.
#[derive(Debug, Error)]
#[error("can't read {path}", path = path.display())]
pub(super) struct FileError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// What a client is for; a label of its metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Sends events.
    Producer,
    /// Sends dead letters.
    DeadLetters,
    /// Reads events.
    Consumer,
    /// Asks for metadata and goes.
    Inquirer,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::DeadLetters => "dead_letters",
            Self::Consumer => "consumer",
            Self::Inquirer => "inquirer",
        }
    }
}

/// An error of librdkafka with what it says about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}: {reason}")]
pub(super) struct Failure {
    pub(super) code: RDKafkaErrorCode,
    pub(super) reason: String,
}

impl Failure {
    /// What the brokers or the network will not let pass until a person mends it.
    pub(super) fn is_refusal(&self) -> bool {
        use RDKafkaErrorCode as E;
        matches!(
            self.code,
            E::Authentication
                | E::SaslAuthenticationFailed
                | E::UnsupportedSASLMechanism
                | E::IllegalSASLState
                | E::SSL
                | E::UnsupportedFeature
        )
    }
}

/// Takes what a client reports to where it is seen. A client with a context of its own holds one and hands on to it.
#[derive(Debug)]
pub(super) struct Reports {
    role: Role,
    metrics: EventLogMetrics,
    stats: StatsObserver,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    last: Option<(Failure, Instant)>,
    logged: Option<(RDKafkaErrorCode, Instant)>,
    fatal: Option<Failure>,
    disturbed: Option<Instant>,
}

impl Reports {
    pub(super) fn new(role: Role, metrics: &EventLogMetrics) -> Self {
        let stats = StatsObserver::new(role, metrics);
        Self { role, metrics: metrics.clone(), stats, seen: Mutex::default() }
    }

    /// The last that was said of connections, and when.
    pub(super) fn last(&self) -> Option<(Failure, Instant)> {
        self.seen().last.clone()
    }

    /// Why the brokers refuse us, if that is the last that was said.
    pub(super) fn refusal(&self) -> Option<Failure> {
        self.last().map(|(failure, _)| failure).filter(Failure::is_refusal)
    }

    /// Why this client can't go on: it is of no use any more.
    pub(super) fn fatal(&self) -> Option<Failure> {
        self.seen().fatal.clone()
    }

    /// Whether a connection broke, or an answer was late, at that time or later; `None` is the beginning.
    pub(super) fn disturbed_since(&self, since: Option<Instant>) -> bool {
        self.seen().disturbed.is_some_and(|last| since.is_none_or(|since| last >= since))
    }

    /// Guards plain values only, so a panic elsewhere leaves nothing half done.
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to say it again.
    fn may_log(&self, failure: &Failure) -> bool {
        let mut seen = self.seen();
        let said = seen.logged.is_some_and(|(code, at)| code == failure.code && at.elapsed() < LOG_EVERY);
        if !said {
            seen.logged = Some((failure.code, Instant::now()));
        }
        !said
    }
}

impl ClientContext for Reports {
    /// For whoever looks for the cause of something: what matters comes as an error as well.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = self.role.name();
        match level {
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Debug => {
                tracing::trace!(client, facility, message, "librdkafka");
            }
            _ => tracing::debug!(client, facility, message, "librdkafka warns"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.stats.observe(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let failure = Failure { code, reason: reason.to_owned() };
        self.metrics.kafka.connection_failed(self.role, &failure);
        {
            let mut seen = self.seen();
            // That all are down says less than why each of them is.
            let says_less = code == RDKafkaErrorCode::AllBrokersDown && seen.last.is_some();
            if !says_less {
                seen.last = Some((failure.clone(), Instant::now()));
            }
            if is_passing(code) || failure.is_refusal() {
                seen.disturbed = Some(Instant::now());
            }
            if code == RDKafkaErrorCode::Fatal {
                seen.fatal.get_or_insert_with(|| failure.clone());
            }
        }
        let client = self.role.name();
        if failure.is_refusal() && self.may_log(&failure) {
            tracing::error!(
                client,
                error = &failure as &dyn std::error::Error,
                "Kafka refuses the connection"
            );
        } else {
            tracing::debug!(
                client,
                error = &failure as &dyn std::error::Error,
                "a connection to Kafka failed"
            );
        }
    }
}

/// An inquirer sends nothing, so nothing is delivered.
impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Whether an error heals by itself: brokers away, leaders moving, answers late.
pub(super) fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::BrokerTransportFailure
            | E::AllBrokersDown
            | E::Resolve
            | E::OperationTimedOut
            | E::TimedOutQueue
            | E::MessageTimedOut
            | E::WaitingForCoordinator
            | E::LeaderNotAvailable
            | E::NotLeaderForPartition
            | E::RequestTimedOut
            | E::BrokerNotAvailable
            | E::ReplicaNotAvailable
            | E::NetworkException
            | E::CoordinatorLoadInProgress
            | E::CoordinatorNotAvailable
            | E::NotCoordinator
            | E::NotEnoughReplicas
            | E::NotEnoughReplicasAfterAppend
            | E::KafkaStorageError
            | E::NotController
            | E::ThrottlingQuotaExceeded
            | E::QueueFull
            | E::Retry
    )
}
