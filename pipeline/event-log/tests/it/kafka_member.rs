//! A collector in small, for tests of groups: intent, store, commit, as the collector does, with the checks that a
//! model has. What it stores into knows tokens, as ClickHouse does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_log::kafka::Kafka;
use event_log::{CommitError, Committer, ConsumeError, Consumer, Delivery, EventLog, Position, Record};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What a member is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Leaves in good order, ranges half done or not.
    Leave,
    /// Stops polling for some time, as a task that was halted.
    Halt(Duration),
}

/// Stores ranges, each token once.
#[derive(Debug, Default)]
pub(crate) struct Store {
    ranges: Mutex<BTreeMap<(u32, u64, u64), Vec<Record>>>,
    /// How often a member was asked for a partition.
    pub(crate) revoking: AtomicUsize,
}

impl Store {
    fn insert(&self, partition: u32, first: u64, records: &[Record]) {
        let last = records.last().unwrap().offset;
        let mut ranges = self.ranges.lock().unwrap();
        if let Some(stored) = ranges.insert((partition, first, last), records.to_vec()) {
            assert_eq!(stored, records, "one token, two contents");
        }
    }

    pub(crate) fn records(&self) -> usize {
        self.ranges.lock().unwrap().values().map(Vec::len).sum()
    }

    /// That each offset of each partition was stored exactly once.
    pub(crate) fn assert_exactly_once(&self, ends: &BTreeMap<u32, u64>) {
        let mut next: BTreeMap<u32, u64> = BTreeMap::new();
        for ((partition, first, last), records) in &*self.ranges.lock().unwrap() {
            let next = next.entry(*partition).or_default();
            assert_eq!(
                *first, *next,
                "partition {partition}: ranges overlap or leave a gap at {first}-{last}"
            );
            assert_eq!(records.len() as u64, last - first + 1);
            *next = last + 1;
        }
        assert_eq!(&next, ends);
    }
}

/// A generator that repeats; splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(crate) fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap()
    }
}

/// What is held of a partition.
#[derive(Debug)]
struct Held {
    /// Which of this member's assignments it is.
    assignment: u64,
    /// Where the next range begins.
    first: u64,
    /// Where the next record must be.
    next: u64,
    intent: Option<u64>,
    records: VecDeque<Record>,
    storing: bool,
    revoking: bool,
}

/// Whether the range is committed, or the partition another's.
type Stored = (u32, u64, Option<u64>);

/// A member of a group.
pub(crate) struct Member {
    consumer: Box<dyn Consumer>,
    store: Arc<Store>,
    chance: Chance,
    held: BTreeMap<u32, Held>,
    storing: JoinSet<Stored>,
    assignments: u64,
    /// What it was told, for whoever looks.
    pub(crate) seen: Seen,
}

/// How often things happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) assigned: usize,
    pub(crate) replays: usize,
    pub(crate) revoking: usize,
    pub(crate) revoked: usize,
    pub(crate) fenced_commits: usize,
}

impl Member {
    pub(crate) async fn join(kafka: &Kafka, group: &str, store: &Arc<Store>, seed: u64) -> Self {
        let consumer = EventLog::consumer(kafka, group).await.unwrap();
        let (store, chance) = (Arc::clone(store), Chance(seed));
        let (held, storing, seen) = (BTreeMap::new(), JoinSet::new(), Seen::default());
        Self { consumer, store, chance, held, storing, assignments: 0, seen }
    }

    /// Works until told to end.
    pub(crate) async fn work(mut self, mut end: mpsc::UnboundedReceiver<End>) -> Seen {
        loop {
            self.begin();
            tokio::select! {
                Some(told) = end.recv() => match told {
                    // Ranges go on meanwhile, as inserts do that are already on their way.
                    End::Halt(halt) => tokio::time::sleep(halt).await,
                    End::Leave => {
                        self.storing.abort_all();
                        self.consumer.close().await;
                        return self.seen;
                    }
                },
                Some(stored) = self.storing.join_next() => self.stored(stored.unwrap()),
                delivery = self.consumer.next(Duration::from_millis(200)) => match delivery {
                    Ok(delivery) => self.delivered(delivery),
                    Err(ConsumeError::Unavailable(_)) => {}
                    Err(error) => panic!("{error:?}"),
                },
            }
        }
    }

    fn delivered(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Idle => {}
            Delivery::Assigned { partition, position } => self.assigned(partition, &position),
            Delivery::Records { partition, records } => {
                let held = self.held.get_mut(&partition).expect("records of a partition that is ours");
                assert!(!held.revoking, "records of a partition that is being revoked");
                for record in &records {
                    // This topic has no transactions, so there must be no gap.
                    assert_eq!(record.offset, held.next, "partition {partition}");
                    held.next += 1;
                }
                held.records.extend(records);
            }
            Delivery::Revoking { partition } => {
                self.seen.revoking += 1;
                self.store.revoking.fetch_add(1, Ordering::Relaxed);
                let held = self.held.get_mut(&partition).expect("only what is ours is revoked");
                held.revoking = true;
                if !held.storing {
                    self.release(partition);
                }
            }
            Delivery::Revoked { partition } => {
                self.seen.revoked += 1;
                assert!(self.held.remove(&partition).is_some(), "only what is ours is lost");
            }
        }
    }

    fn assigned(&mut self, partition: u32, position: &Position) {
        self.seen.assigned += 1;
        self.assignments += 1;
        let intent = (!position.metadata.is_empty()).then(|| position.metadata.parse().unwrap());
        self.seen.replays += usize::from(intent.is_some());
        let held = Held {
            assignment: self.assignments,
            first: position.offset,
            next: position.offset,
            intent,
            records: VecDeque::new(),
            storing: false,
            revoking: false,
        };
        assert!(self.held.insert(partition, held).is_none(), "assigned twice");
    }

    fn release(&mut self, partition: u32) {
        self.held.remove(&partition);
        self.consumer.release(partition);
    }

    /// Begins ranges where there is something to store.
    fn begin(&mut self) {
        for (&partition, held) in &mut self.held {
            if held.storing || held.revoking {
                continue;
            }
            let count = match held.intent {
                Some(last) if held.next > last => usize::try_from(last + 1 - held.first).unwrap(),
                Some(_) => continue,
                None => (1 + self.chance.pick(40)).min(held.records.len()),
            };
            if count == 0 {
                continue;
            }
            let records: Vec<_> = held.records.drain(..count).collect();
            held.storing = true;
            let pauses = [self.chance.below(20), self.chance.below(20)].map(Duration::from_millis);
            let range =
                Range { partition, first: held.first, records, begun: held.intent.take().is_some(), pauses };
            let (committer, store) = (self.consumer.committer(), Arc::clone(&self.store));
            let assignment = held.assignment;
            self.storing.spawn(async move {
                let next = range.run(&*committer, &store).await;
                (range.partition, assignment, next)
            });
        }
    }

    fn stored(&mut self, (partition, assignment, next): Stored) {
        self.seen.fenced_commits += usize::from(next.is_none());
        let Some(held) = self.held.get_mut(&partition).filter(|held| held.assignment == assignment) else {
            return;
        };
        // Fenced: the consumer says so as well, a little later.
        let Some(next) = next else { return };
        (held.first, held.storing) = (next, false);
        if held.revoking {
            self.release(partition);
        }
    }
}

struct Range {
    partition: u32,
    first: u64,
    records: Vec<Record>,
    begun: bool,
    pauses: [Duration; 2],
}

impl Range {
    /// Where the next range begins; `None` if the partition is another's.
    async fn run(&self, committer: &dyn Committer, store: &Store) -> Option<u64> {
        let last = self.records.last().unwrap().offset;
        if !self.begun {
            self.commit(committer, self.first, last.to_string()).await?;
        }
        tokio::time::sleep(self.pauses[0]).await;
        store.insert(self.partition, self.first, &self.records);
        tokio::time::sleep(self.pauses[1]).await;
        self.commit(committer, last + 1, String::new()).await?;
        Some(last + 1)
    }

    async fn commit(&self, committer: &dyn Committer, offset: u64, metadata: String) -> Option<()> {
        loop {
            let position = Position { offset, metadata: metadata.clone() };
            match committer.commit(self.partition, position).await {
                Ok(()) => return Some(()),
                Err(CommitError::Fenced) => return None,
                Err(CommitError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) => panic!("partition {}, offset {offset}: {error:?}", self.partition),
            }
        }
    }
}
