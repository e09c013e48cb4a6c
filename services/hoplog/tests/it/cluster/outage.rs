//! ClickHouse is there, and does not take anything: for each way in which that happens nothing is dropped, nothing is
//! committed past, a metric says so soon enough for a page, and once it is mended all goes on without a hand.

use std::time::{Duration, Instant};

use testbed::Mode;

use super::deployment::{CONSUMED, Deployment};
use super::traffic::Traffic;
use crate::random::setting;

/// How long each of them lasts in a run of the test suite; `TEST_OUTAGE_S` asks for more, and `TEST_OUTAGE` for one of them
/// by its name.
const OUTAGE_S: u64 = 8;
/// Until a metric has to show it.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// From when on the collector's README has an alert fire.
const STALLED_S: f64 = 15.0;

/// How long it is looked whether anything is stored: several ranges' time.
const QUIET: Duration = Duration::from_secs(3);

struct Outage {
    name: &'static str,
    begin: fn(&Deployment),
    end: fn(&Deployment),
    /// Whether a person has to mend it, as far as the collector can tell.
    closes_the_gate: bool,
}

const OUTAGES: [Outage; 5] = [
    Outage {
        name: "nobody listens",
        begin: |deployment| deployment.proxy.set_mode(Mode::Refuse),
        end: |deployment| deployment.proxy.set_mode(Mode::Forward),
        closes_the_gate: false,
    },
    Outage {
        name: "no answer",
        begin: |deployment| deployment.proxy.set_mode(Mode::Stall),
        end: |deployment| {
            deployment.proxy.set_mode(Mode::Forward);
            deployment.proxy.cut_all();
        },
        closes_the_gate: false,
    },
    Outage {
        name: "status 500",
        begin: |deployment| deployment.proxy.plan("POST ", testbed::Fault::Answer(500), usize::MAX),
        end: |deployment| deployment.proxy.clear_plans(),
        closes_the_gate: false,
    },
    Outage {
        name: "no table",
        begin: |deployment| _ = deployment.query("RENAME TABLE clicks_by_hour TO hidden"),
        end: |deployment| _ = deployment.query("RENAME TABLE hidden TO clicks_by_hour"),
        closes_the_gate: true,
    },
    Outage {
        name: "a table with another column",
        begin: |deployment| _ = deployment.query("ALTER TABLE requests RENAME COLUMN host TO host_name"),
        end: |deployment| _ = deployment.query("ALTER TABLE requests RENAME COLUMN host_name TO host"),
        closes_the_gate: true,
    },
];

impl Deployment {
    /// Messages in stored ranges.
    fn stored(&self) -> u64 {
        self.number("SELECT sum(last_offset - first_offset + 1) FROM ingest_ledger")
    }

    /// The same once it stands still. The metric may show an outage while a range that began before it still goes on: its
    /// rows went in, its entry in the ledger did not yet. More than the few partitions' ranges that can be under way is no
    /// quiet, and the last look is returned for the test to fail on.
    fn stored_when_quiet(&self) -> u64 {
        let begun = Instant::now();
        let mut stored = self.stored();
        loop {
            std::thread::sleep(QUIET);
            let now = self.stored();
            if now == stored || begun.elapsed() > SEEN_WITHIN {
                return now;
            }
            stored = now;
        }
    }
}

#[test]
fn whatever_clickhouse_does_nothing_is_passed_over_and_somebody_is_told() {
    let length = Duration::from_secs(setting("TEST_OUTAGE_S", OUTAGE_S));
    let Some(mut deployment) = Deployment::start() else { return };
    deployment.add_collector();
    let traffic = Traffic::start(deployment.log(), 1_000);
    deployment.wait_for_metric(0, CONSUMED, |messages| messages > 0.0);
    let only = std::env::var("TEST_OUTAGE").ok();
    for outage in OUTAGES.iter().filter(|outage| only.as_ref().is_none_or(|only| only == outage.name)) {
        (outage.begin)(&deployment);
        let begun = Instant::now();
        match outage.closes_the_gate {
            true => deployment.wait_for_metric(0, "hoplog_collector_gate_open", |open| open == 0.0),
            false => deployment
                .wait_for_metric(0, "hoplog_collector_stalled_seconds", |stalled| stalled > STALLED_S),
        }
        let seen_after = begun.elapsed();
        let (stored, accepted) = (deployment.stored_when_quiet(), traffic.accepted());
        std::thread::sleep(length.saturating_sub(begun.elapsed()).max(QUIET));
        assert_eq!(deployment.stored(), stored, "{}: a range was stored meanwhile", outage.name);
        assert!(traffic.accepted() > accepted, "{}: the log takes no more", outage.name);
        let lasted = begun.elapsed();
        (outage.end)(&deployment);
        let ended = Instant::now();
        deployment.wait_for_metric(0, "hoplog_collector_gate_open", |open| open == 1.0);
        deployment.wait_for_metric(0, "hoplog_collector_lag_messages", |lag| lag < 100.0);
        deployment.wait_for_metric(0, "hoplog_collector_stalled_seconds", |stalled| stalled < 1.0);
        println!(
            "{}: {lasted:.1?} long, to be seen after {seen_after:.1?} (wanted: {SEEN_WITHIN:?}), made up for {:.1?} after its end",
            outage.name,
            ended.elapsed()
        );
    }
    traffic.end().assert_stored(&deployment);
}
