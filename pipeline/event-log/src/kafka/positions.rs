//! Looks at the log from outside the group: where partitions begin and end, how far a group is, how many events there
//! are. Joins no group and commits nothing.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::{ClientConfig, Offset};
use tokio::task::spawn_blocking;

use super::client::{Kafka, Reports, Role};
use super::commit::number;
use super::fault::{self, Wrong};
use super::record::{announced, record};
use super::session;
use crate::{ConsumeError, PartitionState};

/// How long a count waits for the next message: as long as a broker may be away without anybody being told.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a count looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

impl ConsumerContext for Reports {}

type Onlooker = BaseConsumer<Reports>;

/// Where the partitions begin and end and how far a group is, in ascending order.
///
/// # Errors
/// See [`ConsumeError`].
pub(super) async fn partitions(kafka: &Kafka, group: &str) -> Result<Vec<PartitionState>, ConsumeError> {
    let (kafka, group) = (kafka.clone(), group.to_owned());
    let found = session::blocking(move || {
        let numbers = session::partitions(&kafka)?;
        session::find(&onlooker(&kafka, &group)?, &kafka.config.topic, &numbers)
    });
    let found = found.await.map_err(fault::asking)?;
    let state = |(partition, found): (u32, session::Found)| PartitionState {
        partition,
        first_offset: found.first,
        committed_offset: found.committed.map_or(found.first, |(offset, _)| offset),
        end_offset: found.end,
    };
    Ok(found.into_iter().map(state).collect())
}

/// How many events were announced in the messages `[first, until)`, as the collector counts them. Reads them all.
///
/// # Errors
/// See [`ConsumeError`]; [`ConsumeError::Broken`] where some of them are not in the log.
pub(super) async fn count_events(
    kafka: &Kafka,
    partition: u32,
    first: u64,
    until: u64,
) -> Result<u64, ConsumeError> {
    if first >= until {
        return Ok(0);
    }
    let kafka = kafka.clone();
    // Dropped with this future: then nobody wants the count any more.
    let wanted = Arc::new(());
    let still = Arc::downgrade(&wanted);
    let counting = spawn_blocking(move || Count::new(&kafka, partition, first, until)?.run(&still));
    let counted = counting.await.unwrap_or_else(|join| Err(ConsumeError::Unavailable(Box::new(join))));
    drop(wanted);
    counted
}

/// A client that asks in the name of a group without being in it.
fn onlooker(kafka: &Kafka, group: &str) -> KafkaResult<Onlooker> {
    let mut config: ClientConfig = kafka.config.consumer_client(group);
    config.remove("group.instance.id");
    config.set("statistics.interval.ms", "0").set("enable.partition.eof", "true");
    Onlooker::from_config_and_context(&config, Reports::new(Role::Inquirer, &kafka.metrics))
}

struct Count {
    consumer: Onlooker,
    partition: u32,
    next: u64,
    until: u64,
}

impl Count {
    /// Blocks.
    fn new(kafka: &Kafka, partition: u32, first: u64, until: u64) -> Result<Self, ConsumeError> {
        let topic = &kafka.config.topic;
        // A group of that name never comes into being: it takes one to be able to read.
        let group = format!("{}.count", kafka.config.client_id);
        let consumer = onlooker(kafka, &group).map_err(fault::asking)?;
        let edge = |which| -> Result<u64, ConsumeError> {
            let edges = session::edges(&consumer, topic, &[partition], which).map_err(fault::asking)?;
            let missing = || Wrong::broken(format!("{topic} has no partition {partition}"));
            edges.get(&partition).copied().ok_or_else(missing)
        };
        let (begin, end) = (edge(Offset::Beginning)?, edge(Offset::End)?);
        if first < begin || until > end {
            return Err(Wrong::broken(format!(
                "messages {first} to {} of {topic}, partition {partition}, are not all there: it holds {begin} to {}",
                until - 1,
                end.saturating_sub(1)
            )));
        }
        let mut assignment = TopicPartitionList::with_capacity(1);
        let offset = Offset::Offset(i64::try_from(first).unwrap_or(i64::MAX));
        assignment.add_partition_offset(topic, number(partition), offset).map_err(fault::asking)?;
        consumer.assign(&assignment).map_err(fault::asking)?;
        Ok(Self { consumer, partition, next: first, until })
    }

    /// Blocks.
    fn run(mut self, wanted: &Weak<()>) -> Result<u64, ConsumeError> {
        let (mut events, mut moved) = (0, Instant::now());
        while self.next < self.until {
            if wanted.strong_count() == 0 || moved.elapsed() > PATIENCE {
                let text = format!("partition {} can't be read on from offset {}", self.partition, self.next);
                return Err(Wrong::unavailable(text));
            }
            match self.consumer.poll(LOOK) {
                Some(Ok(message)) => {
                    let offset = u64::try_from(message.offset()).unwrap_or(0);
                    if offset >= self.until {
                        break;
                    }
                    if offset >= self.next {
                        events += announced(&record(&message));
                        self.next = offset + 1;
                    }
                    moved = Instant::now();
                }
                // What is left are marks of transactions.
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => self.failed(&error)?,
                None => {}
            }
        }
        Ok(events)
    }

    fn failed(&self, error: &KafkaError) -> Result<(), ConsumeError> {
        let code = error.rdkafka_error_code().unwrap_or(rdkafka::error::RDKafkaErrorCode::Unknown);
        // The group's coordinator is of no interest here, nor is a right to the group.
        if code == rdkafka::error::RDKafkaErrorCode::GroupAuthorizationFailed {
            return Ok(());
        }
        let said = self.consumer.context().last().map(|(failure, _)| failure.reason).unwrap_or_default();
        fault::in_partition(self.partition, self.next, code, &said).map_or(Ok(()), Err)
    }
}
