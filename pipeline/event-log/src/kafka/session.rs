//! One membership of a group: a client of librdkafka from joining to leaving, and what blocks of it. A membership that
//! ended is never taken up again; the next one is a new client. Keeps no positions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::stream_consumer::StreamPartitionQueue;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{TopicPartitionList, TopicPartitionListElem};
use tokio::task::spawn_blocking;

use super::client::{Kafka, Reports, Role};
use super::commit::number;
use super::rebalance::{Asked, Member};

/// A member's client.
pub(super) type Client = StreamConsumer<Member>;
/// What is fetched of a partition. Its own queue, so that holding one partition back throws nothing away: librdkafka's
/// own pause drops what was fetched and fetches it again.
pub(super) type Queue = StreamPartitionQueue<Member>;

/// How long one question to the brokers may take; it is asked again.
const ASK: Duration = Duration::from_secs(5);
/// Least bytes that are fetched ahead of a partition: less and each fetch brings a handful of messages.
const QUEUE_BYTES_MIN: u64 = 256 << 10;

/// Events of a client that are looked at for a reason: more than it reports within one question.
const EVENTS_MAX: usize = 100;
/// Pauses between looks whether a client is still in use, the first and the longest: mostly it is for some milliseconds, and
/// where a commit hangs for as long as the process lives.
const SHARED: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));

/// What the brokers say about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Offset and metadata; none if the group never committed.
    pub(super) committed: Option<(u64, String)>,
    /// Oldest offset there is.
    pub(super) first: u64,
    /// Offset that the next message gets.
    pub(super) end: u64,
}

/// Joins a group. Blocks: reads certificates and asks for the topic.
pub(super) fn join(kafka: &Kafka, group: &str) -> KafkaResult<Arc<Client>> {
    let mut config = kafka.config.consumer_client(group);
    // For the line that `Member` waits for.
    let debug = config.get("debug").map_or("cgrp".to_owned(), |debug| format!("{debug},cgrp"));
    let partitions = partitions(kafka)?.len().max(1) as u64;
    // librdkafka's bound is for each queue, ours for all.
    let queue = (kafka.config.consumer.queue_bytes_max / partitions).max(QUEUE_BYTES_MIN);
    config
        .set("debug", debug)
        .set_log_level(RDKafkaLogLevel::Debug)
        .set("queued.max.messages.kbytes", (queue / 1024).to_string());
    let member = Member::new(Reports::new(Role::Consumer, &kafka.metrics));
    let client = Client::from_config_and_context(&config, member)?;
    client.subscribe(&[&kafka.config.topic])?;
    Ok(Arc::new(client))
}

/// The numbers of the topic's partitions. Blocks.
pub(super) fn partitions(kafka: &Kafka) -> KafkaResult<Vec<u32>> {
    let asking = kafka.inquirer()?;
    let metadata = asking.client().fetch_metadata(Some(&kafka.config.topic), ASK).map_err(|error| {
        // Whoever is refused hears no more than that time has passed, unless it looks.
        (0..EVENTS_MAX).for_each(|_| asking.poll(Duration::ZERO));
        asking.context().refusal().map_or(error, |refusal| KafkaError::Global(refusal.code))
    })?;
    let topic = metadata.topics().first().ok_or(KafkaError::MetadataFetch(Code::UnknownTopic))?;
    if let Some(error) = topic.error() {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let mut numbers: Vec<u32> =
        topic.partitions().iter().filter_map(|partition| u32::try_from(partition.id()).ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// A list of partitions of a topic.
pub(super) fn list(topic: &str, partitions: impl IntoIterator<Item = u32>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, number(partition));
    }
    list
}

/// What the group committed in partitions, and where they begin and end. Blocks.
pub(super) fn find<C, X>(client: &C, topic: &str, partitions: &[u32]) -> KafkaResult<BTreeMap<u32, Found>>
where
    C: Consumer<X>,
    X: rdkafka::consumer::ConsumerContext,
{
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let committed = client.committed_offsets(list(topic, partitions.iter().copied()), ASK)?;
    let first = edges(client, topic, partitions, Offset::Beginning)?;
    let ends = edges(client, topic, partitions, Offset::End)?;
    let mut found = BTreeMap::new();
    for element in committed.elements() {
        element.error()?;
        let partition = u32::try_from(element.partition()).unwrap_or(u32::MAX);
        let committed = match element.offset() {
            Offset::Offset(offset) => {
                u64::try_from(offset).ok().map(|offset| (offset, element.metadata().to_owned()))
            }
            _ => None,
        };
        let unknown = KafkaError::MetadataFetch(Code::UnknownPartition);
        let (Some(&first), Some(&end)) = (first.get(&partition), ends.get(&partition)) else {
            return Err(unknown);
        };
        found.insert(partition, Found { committed, first, end });
    }
    Ok(found)
}

/// One end of each partition. Blocks.
pub(super) fn edges<C, X>(
    client: &C,
    topic: &str,
    partitions: &[u32],
    which: Offset,
) -> KafkaResult<BTreeMap<u32, u64>>
where
    C: Consumer<X>,
    X: rdkafka::consumer::ConsumerContext,
{
    let mut asked = list(topic, partitions.iter().copied());
    asked.set_all_offsets(which)?;
    let mut edges = BTreeMap::new();
    for element in client.offsets_for_times(asked, ASK)?.elements() {
        element.error()?;
        if let (Ok(partition), Offset::Offset(offset)) =
            (u32::try_from(element.partition()), element.offset())
        {
            edges.insert(partition, u64::try_from(offset).unwrap_or(0));
        }
    }
    Ok(edges)
}

/// How far each assigned partition was read. Blocks, for as long as librdkafka's main thread takes.
pub(super) fn positions(client: &Client) -> KafkaResult<BTreeMap<u32, u64>> {
    let positions = client.position()?;
    let read = |offset| if let Offset::Offset(offset) = offset { u64::try_from(offset).ok() } else { None };
    let position = |element: &TopicPartitionListElem<'_>| {
        u32::try_from(element.partition()).ok().zip(read(element.offset()))
    };
    Ok(positions.elements().iter().filter_map(position).collect())
}

/// Takes partitions from these offsets on, each with a queue of its own.
pub(super) async fn take(
    client: &Arc<Client>,
    topic: &str,
    offsets: Vec<(u32, u64)>,
) -> KafkaResult<BTreeMap<u32, Arc<Queue>>> {
    let mut assignment = list(topic, []);
    let mut queues = BTreeMap::new();
    for (partition, offset) in offsets {
        let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        assignment.add_partition_offset(topic, number(partition), offset)?;
        // Before anything can be fetched, so that nothing comes by another way.
        let queue = client
            .split_partition_queue(topic, number(partition))
            .ok_or(KafkaError::MetadataFetch(Code::UnknownPartition))?;
        queues.insert(partition, Arc::new(queue));
    }
    let client = Arc::clone(client);
    blocking(move || answer(&client, || client.incremental_assign(&assignment))).await?;
    Ok(queues)
}

/// Gives partitions away. Nothing of them is delivered afterwards.
pub(super) async fn give(client: Arc<Client>, topic: String, partitions: Vec<u32>) -> KafkaResult<()> {
    blocking(move || answer(&client, || client.incremental_unassign(&list(&topic, partitions)))).await
}

/// Does what librdkafka waits for. It may ask for the next thing before the call returns.
fn answer(client: &Client, call: impl FnOnce() -> KafkaResult<()>) -> KafkaResult<()> {
    let asked = client.context().take_asked();
    call().inspect_err(|_| client.context().ask_again(asked))
}

/// Leaves the group. Blocks for as long as the brokers take to answer, at most about the session's time, and for as long
/// as a commit or a question is on its way.
pub(super) fn leave(client: Arc<Client>, topic: &str) {
    let member = client.context();
    member.leave();
    // librdkafka waits for an answer to what it asked, even if it is told to end.
    let answered = match member.take_asked() {
        Some(Asked::Assign) => client.incremental_assign(&TopicPartitionList::new()),
        Some(Asked::Revoke(partitions)) => client.incremental_unassign(&list(topic, partitions)),
        None => Ok(()),
    };
    if let Err(error) = answered {
        tracing::debug!(error = &error as &dyn std::error::Error, "a rebalance was under way when leaving");
    }
    // Its end blocks, so it must not be left to whoever still has it, a task perhaps.
    let (mut client, mut pause) = (client, SHARED.0);
    while let Err(shared) = Arc::try_unwrap(client) {
        client = shared;
        std::thread::sleep(pause);
        pause = (pause * 2).min(SHARED.1);
    }
}

/// Runs what blocks off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> KafkaResult<T> + Send + 'static,
) -> KafkaResult<T> {
    // A panic of rdkafka's own, e.g. about metadata that is not text, is an error like others.
    spawn_blocking(work).await.unwrap_or_else(|join| Err(KafkaError::ClientCreation(join.to_string())))
}
