//! Groups under load at a real broker, while members come, go, fall silent, and the broker is killed: everything is
//! stored exactly once, and no position goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use event_log::{CommitError, Delivery, EventLog};
use testbed::{KafkaOptions, shared_kafka};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::kafka_consume::{assigned, numbers};
use crate::kafka_group::{Topic, tells};
use crate::kafka_member::{Chance, End, Member, Seen, Store};
use crate::{PATIENCE, position};

/// Members that come and go.
struct Crew {
    working: Vec<(mpsc::UnboundedSender<End>, JoinHandle<Seen>)>,
    left: Vec<Seen>,
}

impl Crew {
    fn hire(&mut self, member: Member) {
        let (end, told) = mpsc::unbounded_channel();
        self.working.push((end, tokio::spawn(member.work(told))));
    }

    async fn dismiss(&mut self, index: usize) {
        let (end, work) = self.working.remove(index);
        end.send(End::Leave).unwrap();
        self.left.push(work.await.unwrap());
    }

    fn halt(&self, index: usize, halt: Duration) {
        self.working[index].0.send(End::Halt(halt)).unwrap();
    }
}

/// Load and a look at the committed offsets, while members come and go.
struct Watched {
    topic: Arc<Topic>,
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Watched {
    fn begin(topic: Topic) -> Self {
        let topic = Arc::new(topic);
        let mut watched = Self { topic, sent: Arc::default(), stop: Arc::default(), tasks: Vec::new() };
        for partition in 0..watched.topic.config.partitions {
            let (topic, sent, stop) =
                (Arc::clone(&watched.topic), Arc::clone(&watched.sent), Arc::clone(&watched.stop));
            watched.tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    topic.send(partition, numbers(0..3)).await;
                    sent.fetch_add(3, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }));
        }
        let (topic, stop) = (Arc::clone(&watched.topic), Arc::clone(&watched.stop));
        watched.tasks.push(tokio::spawn(async move {
            let mut before = BTreeMap::new();
            while !stop.load(Ordering::Relaxed) {
                for state in topic.states("g").await {
                    let known = before.insert(state.partition, state.committed_offset).unwrap_or(0);
                    assert!(known <= state.committed_offset, "{state:?} was at {known}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }));
        watched
    }

    /// Ends the load and waits until everything is stored.
    async fn end(self, store: &Store) -> BTreeMap<u32, u64> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let sent = self.sent.load(Ordering::Relaxed);
        let started = Instant::now();
        while store.records() < sent {
            assert!(started.elapsed() < PATIENCE, "{} of {sent} are stored", store.records());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let states = self.topic.states("g").await;
        states.iter().map(|state| (state.partition, state.end_offset)).collect()
    }
}

fn seed() -> u64 {
    let seed = std::env::var("HOPLOG_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("HOPLOG_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_and_goes_everything_is_stored_exactly_once() {
    let Some(broker) = shared_kafka() else { return };
    let topic = Topic::new(&broker.bootstrap(), "crew", 6).await;
    let (store, mut chance) = (Arc::new(Store::default()), Chance(seed()));
    let kafka = topic.kafka.clone();
    let watched = Watched::begin(topic);
    let mut crew = Crew { working: Vec::new(), left: Vec::new() };
    crew.hire(Member::join(&kafka, "g", &store, chance.below(u64::MAX)).await);
    let started = Instant::now();
    // On a busy machine they come and go faster than the group notices.
    for step in 1.. {
        if step > 24 && store.revoking.load(Ordering::Relaxed) > 0 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "nobody is asked for a partition");
        tokio::time::sleep(Duration::from_millis(chance.below(if step > 24 { 9000 } else { 900 }))).await;
        match (chance.below(4), crew.working.len()) {
            (_, 0 | 1) | (0 | 1, 2 | 3) => {
                crew.hire(Member::join(&kafka, "g", &store, chance.below(u64::MAX)).await);
            }
            (2, count) => {
                crew.halt(chance.pick(count), Duration::from_millis(chance.below(9000)));
            }
            (_, count) => crew.dismiss(chance.pick(count)).await,
        }
    }
    let ends = watched.end(&store).await;
    while !crew.working.is_empty() {
        crew.dismiss(0).await;
    }
    store.assert_exactly_once(&ends);
    let total = crew.left.iter().fold(Seen::default(), |mut total, seen| {
        total.assigned += seen.assigned;
        total.replays += seen.replays;
        total.revoking += seen.revoking;
        total.revoked += seen.revoked;
        total.fenced_commits += seen.fenced_commits;
        total
    });
    eprintln!("{total:?}, {} records", store.records());
    assert!(total.revoking > 0 && total.assigned > 6, "{total:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_or_halted_costs_nothing_but_time() {
    let options = KafkaOptions::default();
    let Some(broker) = testbed::Kafka::start(options) else { return };
    let topic = Topic::new(&broker.bootstrap(), "killed", 4).await;
    let store = Arc::new(Store::default());
    let (one, two) = (topic.named("one"), topic.kafka.clone());
    let watched = Watched::begin(topic);
    let mut crew = Crew { working: Vec::new(), left: Vec::new() };
    crew.hire(Member::join(&one, "g", &store, 1).await);
    crew.hire(Member::join(&two, "g", &store, 2).await);
    let progress = async || {
        let before = store.records();
        let started = Instant::now();
        while store.records() < before + 200 {
            assert!(started.elapsed() < PATIENCE, "nothing goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    progress().await;
    broker.kill();
    broker.restart();
    progress().await;
    // Longer than a session: everybody is forgotten.
    broker.pause();
    tokio::time::sleep(Duration::from_secs(8)).await;
    broker.resume();
    progress().await;
    broker.stop();
    tokio::time::sleep(Duration::from_secs(7)).await;
    broker.restart();
    progress().await;
    let ends = watched.end(&store).await;
    while !crew.working.is_empty() {
        crew.dismiss(0).await;
    }
    store.assert_exactly_once(&ends);
    eprintln!("{:?}", crew.left);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_while_a_revocation_is_pending_takes_everything() {
    let Some(broker) = shared_kafka() else { return };
    for named in [false, true] {
        let topic = Topic::new(&broker.bootstrap(), &format!("pending-{named}"), 2).await;
        let named = |instance: &str| if named { topic.named(instance) } else { topic.kafka.clone() };
        let mut old = EventLog::consumer(&named("old"), "g").await.unwrap();
        assigned(&mut old, 2).await;
        let committer = old.committer();
        let mut new = EventLog::consumer(&named("new"), "g").await.unwrap();
        let told = tokio::select! {
            told = tells(&mut old) => told,
            told = tells(&mut new) => told,
        };
        let Delivery::Revoking { partition } = told else { panic!("{told:?}") };
        committer.commit(partition, position(0, "open")).await.unwrap();
        // Not polled any more it is forgotten; while librdkafka waits for the release it tells nobody of that.
        assert_eq!(assigned(&mut new, 2).await[&partition], position(0, "open"));
        for partition in 0..2 {
            new.committer().commit(partition, position(0, "new")).await.unwrap();
            let refused = committer.commit(partition, position(0, "zombie")).await;
            assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
        }
        let lost = [tells(&mut old).await, tells(&mut old).await];
        assert_eq!(lost, [0, 1].map(|partition| Delivery::Revoked { partition }));
        old.release(partition);
        // It comes back, and they share.
        let mut owners = BTreeMap::from([(0, "new"), (1, "new")]);
        while owners.len() < 2 || owners.values().collect::<BTreeSet<_>>().len() < 2 {
            let (told, owner) = tokio::select! {
                told = tells(&mut old) => (told, "old"),
                told = tells(&mut new) => (told, "new"),
            };
            match told {
                Delivery::Assigned { partition, .. } => {
                    assert_eq!(owners.insert(partition, owner), None, "two owners");
                }
                Delivery::Revoking { partition } => {
                    owners.remove(&partition);
                    if owner == "old" { old.release(partition) } else { new.release(partition) }
                }
                Delivery::Revoked { partition } => {
                    owners.remove(&partition);
                }
                other => panic!("{other:?}"),
            }
        }
        for (partition, owner) in owners {
            let committer = if owner == "old" { old.committer() } else { new.committer() };
            committer.commit(partition, position(0, owner)).await.unwrap();
        }
        old.close().await;
        new.close().await;
    }
}
