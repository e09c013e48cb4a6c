//! Property test: whatever order things happen in, the spool does what a plain list does.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::append::Call;
use super::consume::SpoolConsumer;
use super::writer::Writer;
use super::{Spool, SpoolConfig, Synchronous};
use crate::{Consumer, Delivery, EventLogMetrics, Message, Position};

const PARTITIONS: u32 = 2;

#[derive(Debug, Clone)]
enum Step {
    /// Calls of one group, each with the sizes of its messages.
    Append(Vec<Vec<usize>>),
    Consume,
    /// This share (of 100) of what was delivered and is not committed.
    Commit(u64),
    RestartConsumer,
    RestartWriter,
    Upkeep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let calls = prop::collection::vec(prop::collection::vec(0_usize..9000, 1..4), 1..4);
    let step = prop_oneof![
        4 => calls.prop_map(Step::Append),
        6 => Just(Step::Consume),
        3 => (0_u64..=100).prop_map(Step::Commit),
        1 => Just(Step::RestartConsumer),
        1 => Just(Step::RestartWriter),
        3 => Just(Step::Upkeep),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Default)]
struct Partition {
    messages: Vec<Message>,
    delivered: u64,
    committed: Position,
    /// Committed when the consumer started.
    started: Position,
}

struct Model {
    spool: Spool,
    writer: Writer,
    consumer: SpoolConsumer,
    partitions: Vec<Partition>,
    appended: u32,
    transactions: u32,
}

impl Model {
    async fn new(path: std::path::PathBuf) -> Self {
        let config = SpoolConfig {
            path,
            partitions: PARTITIONS,
            retain_bytes: 10_000,
            synchronous: Synchronous::Normal,
            fetch_messages_max: 3,
            fetch_bytes_max: 12_000,
            ..SpoolConfig::default()
        };
        let spool = Spool::new(config);
        let consumer = spool.consumer("model").await.unwrap();
        let writer = Writer::new(spool.clone(), EventLogMetrics::default());
        let partitions = (0..PARTITIONS).map(|_| Partition::default()).collect();
        Self { spool, writer, consumer, partitions, appended: 0, transactions: 0 }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Append(calls) => self.append(calls).await,
            Step::Consume => {
                self.consume().await;
            }
            Step::Commit(share) => self.commit(*share).await,
            Step::RestartConsumer => self.restart_consumer().await,
            Step::RestartWriter => {
                let writer = Writer::new(self.spool.clone(), EventLogMetrics::default());
                std::mem::replace(&mut self.writer, writer).close().await;
                self.transactions = 0;
            }
            Step::Upkeep => self.writer.upkeep(Instant::now() + Duration::from_secs(1)).await,
        }
    }

    async fn append(&mut self, calls: &[Vec<usize>]) {
        let partition = &mut self.partitions[(self.transactions % PARTITIONS) as usize];
        self.transactions += 1;
        let mut group = Vec::new();
        for sizes in calls {
            let mut messages = Vec::new();
            for size in sizes {
                self.appended += 1;
                let payload = format!("{:>width$}", self.appended, width = *size);
                messages.push(Message::events(payload, self.appended));
            }
            partition.messages.extend(messages.iter().cloned());
            group.push(Call::of(messages));
        }
        for answer in self.writer.append(&group).await {
            answer.unwrap();
        }
    }

    /// Whether anything was delivered.
    async fn consume(&mut self) -> bool {
        match self.consumer.next(Duration::ZERO).await.unwrap() {
            Delivery::Assigned { partition, position } => {
                assert_eq!(position, self.partitions[partition as usize].started);
                true
            }
            Delivery::Records { partition, records } => {
                let partition = &mut self.partitions[partition as usize];
                assert!((1..=3).contains(&records.len()), "{} records", records.len());
                let bytes: usize = records[..records.len() - 1].iter().map(|r| r.payload.len()).sum();
                assert!(bytes < 12_000, "{bytes} bytes before the last");
                for record in records {
                    assert_eq!(record.offset, partition.delivered);
                    let message = &partition.messages[index(partition.delivered)];
                    assert_eq!(record.payload, message.payload);
                    assert_eq!(record.events, Some(message.events));
                    partition.delivered += 1;
                }
                true
            }
            other @ (Delivery::Revoking { .. } | Delivery::Revoked { .. }) => panic!("{other:?}"),
            Delivery::Idle => {
                assert!(
                    self.partitions.iter().all(|p| p.delivered == p.messages.len() as u64),
                    "idle too early"
                );
                false
            }
        }
    }

    async fn commit(&mut self, share: u64) {
        for (number, partition) in (0..).zip(&mut self.partitions) {
            let ahead = partition.delivered - partition.committed.offset;
            let offset = partition.committed.offset + ahead * share / 100;
            partition.committed = Position { offset, metadata: format!("intent {share}") };
            self.consumer.committer().commit(number, partition.committed.clone()).await.unwrap();
        }
    }

    async fn restart_consumer(&mut self) {
        self.consumer = self.spool.consumer("model").await.unwrap();
        for partition in &mut self.partitions {
            partition.delivered = partition.committed.offset;
            partition.started = partition.committed.clone();
        }
    }

    async fn check_totals(&self) {
        let all = self.spool.totals().await.unwrap();
        assert_eq!(all.len(), self.partitions.len());
        for (totals, model) in all.iter().zip(&self.partitions) {
            let events = |messages: &[Message]| messages.iter().map(|m| u64::from(m.events)).sum::<u64>();
            assert_eq!(totals.end_offset, model.messages.len() as u64);
            assert_eq!(totals.events_total, events(&model.messages));
            assert_eq!(
                totals.bytes_total,
                model.messages.iter().map(|m| m.payload.len() as u64).sum::<u64>()
            );
            assert!(totals.first_offset <= model.committed.offset, "unconsumed messages were deleted");
            let group = &totals.groups[0];
            assert_eq!((group.offset, &group.metadata), (model.committed.offset, &model.committed.metadata));
            assert_eq!(group.events_consumed, events(&model.messages[..index(group.offset)]));
        }
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_spool_is_a_list(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let mut model = Model::new(dir.path().join("spool")).await;
            for step in &steps {
                model.step(step).await;
                model.check_totals().await;
            }
            model.restart_consumer().await;
            while model.consume().await {}
            model.step(&Step::Commit(100)).await;
            model.step(&Step::Upkeep).await;
            model.check_totals().await;
        });
    }
}
