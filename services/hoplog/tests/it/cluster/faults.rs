//! Exactly once, proven: whatever dies, and whenever, what Kafka took is in ClickHouse, once.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testbed::Fault;

use super::deployment::{CONSUMED, Deployment, SESSION};
use super::traffic::Traffic;
use crate::random::{Random, setting};

/// Faults in a run of the test suite; `TEST_FAULTS` asks for more.
const FAULTS: u64 = 24;
/// Events a second; `TEST_EVENTS_PER_S` asks for more. Most of them wait for the collectors while these are being hit.
const EVENTS_PER_S: u64 = 5_000;

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// `kill -9` of a collector, which is started again, soon or late.
    KillCollector,
    /// A collector is halted for longer than its session lasts, and goes on as if nothing had been.
    HaltCollector,
    /// `kill -9` of the broker.
    KillBroker,
    /// The broker is stopped in good order and started again.
    RestartBroker,
    /// `kill -9` of ClickHouse.
    KillEngine,
    /// Connections end in the middle of an insert.
    CutInsert,
    /// Connections end after the insert, before the answer is there.
    CutAnswer,
    /// All connections to ClickHouse end at once.
    CutAll,
    /// A server on the way up or down answers, or nobody does.
    NoAnswer,
}

/// As often as each is listed: what is cheap and hits the protocol itself more often than what takes seconds.
const KINDS: [Kind; 14] = [
    Kind::KillCollector,
    Kind::KillCollector,
    Kind::KillCollector,
    Kind::HaltCollector,
    Kind::KillBroker,
    Kind::RestartBroker,
    Kind::KillEngine,
    Kind::KillEngine,
    Kind::CutInsert,
    Kind::CutInsert,
    Kind::CutAnswer,
    Kind::CutAnswer,
    Kind::CutAll,
    Kind::NoAnswer,
];

const TABLES: [&str; 12] = [
    "requests",
    "requests_by_minute",
    "clicks_by_hour",
    "clicks_by_day",
    "clicks_by_link",
    "clicks",
    "visits_by_hour",
    "visits_by_day",
    "orphan_visits",
    "producer_sequences",
    "otel_traces",
    "ingest_ledger",
];

impl Deployment {
    fn inject(&mut self, kind: Kind, random: &mut Random) {
        let which = random.below(self.collectors.len() as u64) as usize;
        let part = format!("INSERT+INTO+{}+", TABLES[random.below(TABLES.len() as u64) as usize]);
        let times = 1 + random.below(3) as usize;
        match kind {
            Kind::KillCollector => {
                self.collectors[which].kill();
                // At once: the group still waits for the dead one. Late: the other has its partitions.
                std::thread::sleep(SESSION.mul_f64(random.below(150) as f64 / 100.0));
                self.collectors[which].start();
            }
            Kind::HaltCollector => {
                self.collectors[which].signal("STOP");
                std::thread::sleep(SESSION + Duration::from_millis(500 + random.below(3_000)));
                self.collectors[which].signal("CONT");
            }
            Kind::KillBroker => {
                self.kafka.kill();
                std::thread::sleep(Duration::from_millis(random.below(2_000)));
                self.kafka.restart();
            }
            Kind::RestartBroker => self.kafka.restart(),
            Kind::KillEngine => {
                self.engine.kill();
                std::thread::sleep(Duration::from_millis(random.below(2_000)));
                self.engine.restart();
            }
            Kind::CutInsert => {
                self.proxy.plan(&part, Fault::CutRequest(random.below(100_000) as usize), times)
            }
            Kind::CutAnswer => self.proxy.plan(&part, Fault::CutAnswer(random.below(100) as usize), times),
            Kind::CutAll => _ = self.proxy.cut_all(),
            Kind::NoAnswer if random.below(2) == 0 => self.proxy.plan(&part, Fault::Answer(503), times),
            Kind::NoAnswer => self.proxy.plan(&part, Fault::Hang, 1),
        }
    }
}

#[test]
fn whatever_dies_what_kafka_took_is_in_clickhouse_once() {
    let seed = setting("TEST_SEED", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
    let faults = setting("TEST_FAULTS", FAULTS);
    println!("{faults} faults with TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let Some(mut deployment) = Deployment::start() else { return };
    deployment.add_collector();
    deployment.add_collector();
    let traffic = Traffic::start(deployment.log(), setting("TEST_EVENTS_PER_S", EVENTS_PER_S));
    for collector in 0..2 {
        deployment.wait_for_metric(collector, CONSUMED, |messages| messages > 0.0);
    }
    let begun = Instant::now();
    for number in 0..faults {
        std::thread::sleep(Duration::from_millis(100 + random.below(900)));
        let kind = KINDS[random.below(KINDS.len() as u64) as usize];
        println!("fault {number} at {:.1} s: {kind:?}", begun.elapsed().as_secs_f64());
        deployment.inject(kind, &mut random);
    }
    deployment.proxy.clear_plans();
    let accepted = traffic.end();
    println!("{} events accepted; {:?}", accepted.events, deployment.proxy.injected());
    accepted.assert_stored(&deployment);
    for collector in &mut deployment.collectors {
        println!("{}", collector.name());
        collector.stop();
    }
}
