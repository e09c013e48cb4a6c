//! The consumer of a group: turns what happened into deliveries, one after the other. Holds no records: what is not
//! delivered stays in the partitions' queues. How partitions come and go is `membership.rs`'.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::Consumer as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::Kafka;
use super::commit::KafkaCommitter;
use super::fault;
use super::lag::{Ends, Marks, now_us};
use super::membership::{Membership, Turn};
use super::next::{Happened, Open, happening};
use super::outage::Outage;
use super::owned::Owned;
use super::session::{self, Client, Queue};
use crate::{Committer, ConsumeError, Consumer, Delivery, Lag, Record};

/// How long closing waits for the group to hear of it: twice what librdkafka gives the brokers to answer.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// Reads the topic of events for a group: the partitions that the group gives it.
pub struct KafkaConsumer {
    pub(super) kafka: Kafka,
    pub(super) group: String,
    pub(super) state: Membership,
    pub(super) turn: Turn,
    pub(super) owned: Arc<Owned>,
    pub(super) held: BTreeMap<u32, Held>,
    /// To be told before anything else.
    pub(super) told: VecDeque<Delivery>,
    pub(super) ends: Arc<Ends>,
    pub(super) outage: Outage,
    committer: Arc<KafkaCommitter>,
    /// Why a partition can't be read on; told when what was read before it is delivered.
    broken: Option<ConsumeError>,
    /// Partition read last: the next one is another's turn.
    last: u32,
}

/// A partition that is ours.
pub(super) struct Held {
    pub(super) queue: Arc<Queue>,
    /// Next offset to deliver.
    pub(super) next: u64,
    pub(super) marks: Marks,
    pub(super) paused: bool,
    pub(super) revoking: bool,
    /// Whether the caller knows of it.
    pub(super) told: bool,
}

/// Joins a group; returns when the topic is known to be there.
///
/// # Errors
/// See [`ConsumeError`].
pub(super) async fn join(kafka: &Kafka, group: &str) -> Result<KafkaConsumer, ConsumeError> {
    let (joining, name) = (kafka.clone(), group.to_owned());
    let client = session::blocking(move || session::join(&joining, &name)).await.map_err(fault::asking)?;
    let owned = Arc::new(Owned::default());
    let session = Duration::from_millis(kafka.config.consumer.session_ms.into());
    let committer = KafkaCommitter::new(kafka.config.topic.clone(), Arc::clone(&owned), session);
    Ok(KafkaConsumer {
        kafka: kafka.clone(),
        group: group.to_owned(),
        state: Membership::Joined(client),
        turn: Turn::Nothing,
        owned,
        held: BTreeMap::new(),
        told: VecDeque::new(),
        ends: Arc::default(),
        outage: Outage::default(),
        committer: Arc::new(committer),
        broken: None,
        last: u32::MAX,
    })
}

impl KafkaConsumer {
    fn tell(&mut self, delivery: Delivery) -> Delivery {
        if let Delivery::Assigned { partition, .. } = &delivery
            && let Some(held) = self.held.get_mut(partition)
        {
            held.told = true;
        }
        delivery
    }

    /// `None`: all of them were delivered before.
    fn deliver(&mut self, partition: u32, mut records: Vec<Record>) -> Option<Delivery> {
        let held = self.held.get_mut(&partition)?;
        // Around a rebalance librdkafka may begin a little early again.
        records.retain(|record| record.offset >= held.next);
        held.next = records.last()?.offset + 1;
        held.marks.delivered(&records);
        self.owned.delivered(partition, held.next);
        self.ends.at_least(partition, held.next);
        self.outage.over();
        self.last = partition;
        Some(Delivery::Records { partition, records })
    }

    /// The queues to be read, the one after the last read first.
    fn open(&self) -> Vec<Open> {
        let after = self.held.iter().filter(|(partition, _)| **partition > self.last);
        let before = self.held.iter().filter(|(partition, _)| **partition <= self.last);
        after
            .chain(before)
            .filter(|(_, held)| !held.paused && !held.revoking)
            .map(|(&partition, held)| Open { partition, queue: Arc::clone(&held.queue) })
            .collect()
    }

    /// Waits for one thing and does what it takes. `None`: there is nothing to tell of it.
    async fn step(
        &mut self,
        client: &Arc<Client>,
        deadline: Instant,
    ) -> Result<Option<Delivery>, ConsumeError> {
        let open = self.open();
        let config = &self.kafka.config.consumer;
        let limits = (config.fetch_messages_max as usize, config.fetch_bytes_max);
        let happened = timeout_at(deadline, happening(client, &open, &mut self.turn, limits)).await;
        match happened {
            Err(_) => return self.idle(client).map(Some),
            Ok(Happened::News) => {}
            Ok(Happened::Turned(done)) => self.turned(done)?,
            Ok(Happened::Astray) => self.lose("a message came beside its partition's queue"),
            Ok(Happened::Records { partition, records, error }) => {
                let held = self.held.get(&partition).map_or(0, |held| held.next);
                let next = records.last().map_or(held, |record| record.offset + 1);
                if let Some(code) = error {
                    let said = client.context().reports.last().map(|(failure, _)| failure.reason);
                    self.broken = fault::in_partition(partition, next, code, &said.unwrap_or_default());
                }
                return Ok(self.deliver(partition, records));
            }
        }
        Ok(None)
    }

    /// Nothing happened in time. Brokers that are away for long are an error, although librdkafka goes on trying.
    fn idle(&mut self, client: &Arc<Client>) -> Result<Delivery, ConsumeError> {
        if self.outage.is_on() {
            let partitions = if self.held.is_empty() { vec![0] } else { self.held.keys().copied().collect() };
            self.ends.refresh(client, &self.kafka.config.topic, partitions);
        }
        self.outage.check(&self.ends).map_or(Ok(Delivery::Idle), Err)
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    fn topic(&self) -> &str {
        &self.kafka.config.topic
    }

    fn system(&self) -> &'static str {
        "kafka"
    }

    async fn next(&mut self, wait: Duration) -> Result<Delivery, ConsumeError> {
        let deadline = Instant::now() + wait;
        loop {
            self.follow()?;
            if let Some(delivery) = self.told.pop_front() {
                return Ok(self.tell(delivery));
            }
            if let Some(error) = self.broken.take() {
                return Err(self.stop(error));
            }
            let Some(client) = self.joined(deadline).await? else {
                return self.outage.check(&self.ends).map_or(Ok(Delivery::Idle), Err);
            };
            if let Some(delivery) = self.step(&client, deadline).await? {
                return Ok(delivery);
            }
        }
    }

    fn committer(&self) -> Arc<dyn Committer> {
        Arc::clone(&self.committer) as _
    }

    fn pause(&mut self, partition: u32) {
        if let Some(held) = self.held.get_mut(&partition) {
            held.paused = true;
        }
    }

    fn resume(&mut self, partition: u32) {
        if let Some(held) = self.held.get_mut(&partition) {
            held.paused = false;
        }
    }

    fn release(&mut self, partition: u32) {
        self.give_up(partition);
    }

    async fn lag(&mut self) -> Result<Vec<Lag>, ConsumeError> {
        if let Membership::Joined(client) = &self.state {
            let partitions = self.held.keys().copied().collect();
            self.ends.refresh(client, &self.kafka.config.topic, partitions);
        }
        let now_us = now_us();
        let mut lags = Vec::with_capacity(self.held.len());
        for (&partition, held) in &mut self.held {
            let Some(mut committed) = self.owned.committed(partition) else { continue };
            if committed == held.next {
                // Marks of transactions are never delivered, and so never committed past.
                committed = self.ends.behind_marks(partition, committed);
            }
            let end = self.ends.end(partition).max(held.next).max(committed);
            let oldest_appended_at_us = held.marks.oldest(committed, held.next, end, now_us);
            lags.push(Lag { partition, committed, end, oldest_appended_at_us });
        }
        Ok(lags)
    }

    async fn close(mut self: Box<Self>) {
        self.owned.clear();
        self.held.clear();
        let left = self.part(Membership::Apart(Instant::now()));
        if timeout(CLOSE_MAX, left).await.is_err() {
            tracing::warn!(group = self.group, "the group was not told in time that this member leaves");
        }
    }
}

/// Not closed, it still leaves, as soon as it can; nobody waits for that.
impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.owned.clear();
        self.held.clear();
        drop(self.part(Membership::Apart(Instant::now())));
    }
}
