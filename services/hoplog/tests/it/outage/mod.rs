//! Redis, PostgreSQL, both, and then Kafka and ClickHouse too are killed under a constant load: no link fails that an
//! instance has had, what comes back is not run down, and the events say who answered.
//!
//! By hand, in full: `TEST_LINKS=100000 TEST_RATE_PER_S=2000 TEST_OUTAGE_S=60`.

mod load;
mod parts;
mod tiers;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::load::{CONNECTIONS, Load, Plan, Seen};
use self::parts::{INSTANCES, Parts};
use crate::random::setting;

/// Links in use, visits a second and the length of each outage in a run of the test suite; the variables of the same names
/// with `TEST_` before them ask for more.
const LINKS: u64 = 10_000;
const RATE_PER_S: u64 = 400;
const OUTAGE_S: u64 = 6;

/// Links beside those in use that are there to be asked for once.
const COLD_LINKS: u64 = 50_000;

/// Of its fresh time, how much passes before a link is read again: the least that the cache may do.
const READ_AGAIN_FROM: f64 = 0.7;

/// What is killed.
struct Outage {
    name: &'static str,
    redis: bool,
    store: bool,
    /// Kafka and ClickHouse.
    pipeline: bool,
}

const OUTAGES: [Outage; 4] = [
    Outage { name: "redis", redis: true, store: false, pipeline: false },
    Outage { name: "postgresql", redis: false, store: true, pipeline: false },
    Outage { name: "redis+postgresql", redis: true, store: true, pipeline: false },
    Outage { name: "all+kafka", redis: true, store: true, pipeline: true },
];

struct Scenario<'a> {
    parts: &'a Parts,
    load: &'a Load,
    length: Duration,
    fresh: Duration,
}

impl Scenario<'_> {
    fn run(&self) {
        self.load.enter("steady", false);
        self.pass(self.length / 2);
        for outage in &OUTAGES {
            self.strike(outage);
            self.pass(self.length);
            self.mend(outage);
        }
        println!("at the end: {}", self.load.latencies());
    }

    fn pass(&self, time: Duration) {
        std::thread::sleep(time);
        println!("{}: {}", self.load.phase(), self.load.latencies());
    }

    fn strike(&self, outage: &Outage) {
        self.load.enter(&format!("{}:falls", outage.name), outage.store);
        if outage.redis {
            self.parts.redis.kill();
        }
        if outage.store {
            self.parts.postgres.kill();
        }
        if outage.pipeline {
            self.parts.kafka.kill();
            self.parts.engine.kill();
        }
        self.load.enter(outage.name, outage.store);
    }

    fn mend(&self, outage: &Outage) {
        self.load.enter(&format!("{}:returns", outage.name), outage.store);
        if outage.pipeline {
            self.parts.kafka.restart();
            self.parts.engine.restart();
        }
        let began = Instant::now();
        self.load.ask_anew();
        let reads: Vec<_> = (0..INSTANCES).map(|at| watch::reads(self.parts, at)).collect();
        if outage.store {
            self.parts.postgres.restart();
        }
        if outage.redis {
            self.parts.redis.restart();
        }
        self.parts.wait_until_asked_again();
        self.load.enter(&format!("{}:after", outage.name), false);
        self.pass(self.length / 2);
        for (instance, before) in reads.into_iter().enumerate() {
            let made = watch::reads(self.parts, instance) - before;
            self.assert_each_read_once(outage, instance, made, began.elapsed());
        }
    }

    /// What comes back is asked for each link that is in use, once in the time for which it is fresh; all others wait for
    /// that one, or are served what there is.
    fn assert_each_read_once(&self, outage: &Outage, instance: usize, reads: u64, time: Duration) {
        let asked = self.load.asked(instance);
        let times = 1 + (time.as_secs_f64() / (self.fresh.as_secs_f64() * READ_AGAIN_FROM)) as u64;
        // Messages may have been lost while Redis was away, so what was read before is read again.
        let times = times + u64::from(outage.redis);
        // A breaker lets a few calls through each second to find out; all of them may fail.
        let tried = 2 * (time.as_secs() + 1);
        println!(
            "after {}, instance {instance}: {reads} reads in {time:.1?} for {asked} links that were asked for",
            outage.name
        );
        assert!(reads <= asked * times + tried + CONNECTIONS as u64, "{reads} reads for {asked} links");
    }
}

#[test]
fn no_known_link_fails_whatever_is_killed_and_nothing_is_run_down_when_it_returns() {
    let links = setting("TEST_LINKS", LINKS);
    let length = Duration::from_secs(setting("TEST_OUTAGE_S", OUTAGE_S));
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let plan =
        Plan { links, per_s: setting("TEST_RATE_PER_S", RATE_PER_S), seed: setting("TEST_SEED", seed) };
    println!("{plan:?}, outages of {length:?}");
    // So that all that is known is past its time well before an outage ends.
    let fresh = length / 2;
    let Some(parts) = Parts::start(links + COLD_LINKS, fresh) else { return };
    let began = Instant::now();
    let load = Load::start(plan, parts.instances.iter().map(|instance| instance.base).collect());
    println!("each link was seen once at each instance after {:.1?}", began.elapsed());
    let over = AtomicBool::new(false);
    let seconds = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch::watch(&parts, &load, &over));
        let scenario = Scenario { parts: &parts, load: &load, length, fresh };
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario.run()));
        over.store(true, Ordering::SeqCst);
        let seconds = watching.join().unwrap();
        ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        seconds
    });
    let seen = load.end();
    watch::assert_no_herd(&seconds);
    assert_told(&parts, &seen);
    assert!(
        seen.failures.is_empty(),
        "{} failed:\n{}\n{}",
        seen.failed,
        seen.failures.join("\n"),
        parts.said()
    );
}

/// The books balance, and the events say who answered.
fn assert_told(parts: &Parts, seen: &Seen) {
    let report = parts.verified();
    let dropped: u64 = (0..INSTANCES).map(|at| parts.metric(at, "hoplog_events_dropped_total", "")).sum();
    println!("{dropped} events were dropped; verify: {report}");
    assert_eq!(report["producer_gaps"], dropped, "what was dropped is a gap, and nothing else is");
    let told = tiers::told(parts);
    tiers::print(&told, &seen.answers);
    tiers::assert_all_told(&told, &seen.answers, dropped);
    assert!(tiers::count(&told, load::FIRST, |_| true) > 0);
    for outage in &OUTAGES {
        tiers::assert_served_by(&told, outage.name, !outage.redis, !outage.store);
    }
}
