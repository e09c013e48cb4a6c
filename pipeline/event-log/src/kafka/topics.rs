//! Topics at the start: made where they are missing and may be made, and checked for what would lose or refuse
//! messages later. Changes no topic that exists.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use thiserror::Error;

use super::client::{Failure, FileError, Kafka, Reports, is_passing};
use super::config::KafkaConfig;
use super::topic_rules::{Found, Rules, check};
use crate::OpenError;

/// How long the brokers are tried until the start says that they are away: a broker's start takes less.
const PATIENCE: Duration = Duration::from_secs(15);
/// One question. Longer than a slow broker's answer, short enough to notice a refusal of the connection between two.
const QUESTION_MAX: Duration = Duration::from_secs(3);
/// Making a topic, on the controller.
const CREATE_MAX: Duration = Duration::from_secs(30);
/// Between two looks at a topic that is coming into being.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a topic can't be used.
#[derive(Debug, Error)]
pub(super) enum TopicError {
    #[error("brokers {brokers} can't be reached")]
    Unreachable {
        brokers: String,
        #[source]
        last: Option<Failure>,
    },
    #[error("the brokers refuse the connection")]
    Connection(#[source] Failure),
    #[error("topic {0} is missing, and create_topics is off")]
    Missing(String),
    #[error("topic {topic} can't be made")]
    Create {
        topic: String,
        #[source]
        error: KafkaError,
    },
    #[error("topic {topic} can't be looked at")]
    Look {
        topic: String,
        #[source]
        error: KafkaError,
    },
    #[error("topic {topic}: {reason}")]
    Unfit { topic: String, reason: String },
    #[error("the client of Kafka can't be made")]
    Client(#[source] KafkaError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the process is ending")]
    Ending,
}

impl TopicError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Ending => true,
            Self::Create { error, .. } | Self::Look { error, .. } => {
                // A topic that was made and is not known everywhere yet.
                let made = Some(RDKafkaErrorCode::UnknownTopicOrPartition);
                error.rdkafka_error_code() == made || error.rdkafka_error_code().is_some_and(is_passing)
            }
            Self::Connection(_) | Self::Missing(_) | Self::Unfit { .. } | Self::Client(_) | Self::File(_) => {
                false
            }
        }
    }
}

impl From<TopicError> for OpenError {
    fn from(error: TopicError) -> Self {
        if error.is_passing() { Self::Unavailable(error.into()) } else { Self::Refused(error.into()) }
    }
}

/// Makes and checks both topics.
pub(super) async fn open(kafka: &Kafka) -> Result<(), TopicError> {
    let config = &kafka.config;
    kafka.read_files()?;
    let admin = AdminClient::from_config(&config.client()).map_err(TopicError::Client)?;
    for topic in [&config.topic, &config.dead_letters_topic] {
        let mut copies = look(kafka, topic, false).await?;
        if copies.is_none() {
            if !config.create_topics {
                return Err(TopicError::Missing(topic.clone()));
            }
            create(&admin, config, topic).await?;
            copies = look(kafka, topic, true).await?;
        }
        let copies = copies.ok_or_else(|| TopicError::Missing(topic.clone()))?;
        inspect(&admin, config, topic, &copies).await?;
    }
    // Joins a thread.
    let _ = tokio::task::spawn_blocking(move || drop(admin)).await;
    Ok(())
}

/// Copies of each partition; `None` if there is no such topic. One that was `made` just now is waited for.
async fn look(kafka: &Kafka, topic: &str, made: bool) -> Result<Option<Vec<usize>>, TopicError> {
    let (kafka, topic) = (kafka.clone(), topic.to_owned());
    let task = tokio::task::spawn_blocking(move || {
        let client = kafka.inquirer().map_err(TopicError::Client)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match ask(&client, &topic) {
                Ok(Some(copies)) => return Ok(Some(copies)),
                Ok(None) if !made => return Ok(None),
                Ok(None) => KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition),
                Err(error) => error,
            };
            // Takes in what was said meanwhile, which an asking client doesn't by itself.
            client.poll(LOOK_EVERY);
            give_up(&client, &kafka.config, &topic, error, made, Instant::now() > deadline)?;
        }
    });
    task.await.unwrap_or(Err(TopicError::Ending))
}

/// One question; blocks.
fn ask(client: &BaseProducer<Reports>, topic: &str) -> Result<Option<Vec<usize>>, KafkaError> {
    let metadata = client.client().fetch_metadata(Some(topic), QUESTION_MAX)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(Some(found.partitions().iter().map(|partition| partition.replicas().len()).collect())),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok(None),
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}

/// Whether asking once more is of no use.
fn give_up(
    client: &BaseProducer<Reports>,
    config: &KafkaConfig,
    topic: &str,
    error: KafkaError,
    made: bool,
    late: bool,
) -> Result<(), TopicError> {
    if let Some(refusal) = client.context().refusal() {
        return Err(TopicError::Connection(refusal));
    }
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
    let spreading = made && code == RDKafkaErrorCode::UnknownTopicOrPartition;
    match code {
        _ if spreading && !late => Ok(()),
        code if !is_passing(code) => Err(TopicError::Look { topic: topic.to_owned(), error }),
        _ if !late => Ok(()),
        RDKafkaErrorCode::LeaderNotAvailable => Err(TopicError::Look { topic: topic.to_owned(), error }),
        _ => Err(TopicError::Unreachable {
            brokers: config.brokers.clone(),
            last: client.context().last().map(|(failure, _)| failure),
        }),
    }
}

/// Makes a topic; another process may be first.
async fn create(
    admin: &AdminClient<DefaultClientContext>,
    config: &KafkaConfig,
    topic: &str,
) -> Result<(), TopicError> {
    let failed = |error| TopicError::Create { topic: topic.to_owned(), error };
    let rules = Rules::from(config);
    // -1: as the brokers have it set.
    let copies = if config.replication == 0 { -1 } else { i32::from(config.replication) };
    let partitions = i32::try_from(config.partitions).unwrap_or(i32::MAX);
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
    let entries = rules.entries();
    for (name, value) in &entries {
        new = new.set(name, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(CREATE_MAX)).request_timeout(Some(CREATE_MAX));
    let results = admin.create_topics([&new], &options).await.map_err(failed)?;
    match results.into_iter().next() {
        Some(Ok(_)) => {
            tracing::info!(topic, partitions, "topic made");
            Ok(())
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(()),
        Some(Err((_, code))) => Err(failed(KafkaError::AdminOp(code))),
    }
}

/// Refuses what would lose messages, and warns of what may.
async fn inspect(
    admin: &AdminClient<DefaultClientContext>,
    config: &KafkaConfig,
    topic: &str,
    copies: &[usize],
) -> Result<(), TopicError> {
    let options = AdminOptions::new().request_timeout(Some(CREATE_MAX));
    let answer = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await;
    let resource = answer.and_then(|resources| match resources.into_iter().next() {
        Some(resource) => resource.map_err(KafkaError::AdminOp),
        None => Err(KafkaError::AdminOp(RDKafkaErrorCode::NoEnt)),
    });
    let found = match &resource {
        Ok(resource) => {
            let value = |name: &str| resource.get(name).and_then(|entry| entry.value.clone());
            Found::new(copies, value)
        }
        // May not look, or a broker that can't tell: no reason not to work.
        Err(error) => {
            let error = error as &dyn std::error::Error;
            tracing::warn!(topic, error, "the topic's configuration can't be read: it is not checked");
            Found::new(copies, |_| None)
        }
    };
    let report = check(&Rules::from(config), &found);
    for warning in &report.warnings {
        tracing::warn!(topic, "{warning}");
    }
    match report.refusals.is_empty() {
        true => Ok(()),
        false => Err(TopicError::Unfit { topic: topic.to_owned(), reason: report.refusals.join("; ") }),
    }
}
