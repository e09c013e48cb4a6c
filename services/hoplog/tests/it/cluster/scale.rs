//! Collectors come and go under load: nothing twice, and nobody waits for longer than the group takes to share anew.

use std::time::{Duration, Instant};

use super::deployment::{CONSUMED, Deployment, SESSION};
use super::traffic::Traffic;

/// Events a second.
const EVENTS_PER_S: u64 = 5_000;

/// The longest time in which the ledger did not move, until told to end.
fn watch_pauses(deployment: &Deployment, until: &dyn Fn() -> bool) -> Duration {
    let (mut last, mut since, mut longest) = (0, Instant::now(), Duration::ZERO);
    while !until() {
        let ranges = deployment.number("SELECT count() FROM ingest_ledger");
        if ranges != last {
            longest = longest.max(since.elapsed());
            (last, since) = (ranges, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    longest.max(since.elapsed())
}

/// Watches for a while.
fn watch_for(deployment: &Deployment, time: Duration) -> Duration {
    let begun = Instant::now();
    watch_pauses(deployment, &|| begun.elapsed() > time)
}

#[test]
fn collectors_come_and_go_and_nothing_is_there_twice() {
    let Some(mut deployment) = Deployment::start() else { return };
    deployment.add_collector();
    let traffic = Traffic::start(deployment.log(), EVENTS_PER_S);
    deployment.wait_for_metric(0, CONSUMED, |count| count > 0.0);
    let steady = watch_for(&deployment, Duration::from_secs(4));
    for number in 1..=2 {
        deployment.add_collector();
        let before = Instant::now();
        let pause = watch_for(&deployment, Duration::from_secs(5));
        println!("collector {number} joined: longest pause {pause:?}, steady {steady:?}");
        deployment.wait_for_metric(number, CONSUMED, |count| count > 0.0);
        println!("it had work after {:?} at most", before.elapsed());
    }
    for number in [2, 0] {
        deployment.collectors[number].stop();
        let pause = watch_for(&deployment, Duration::from_secs(5));
        println!("collector {number} left in good order: longest pause {pause:?}");
    }
    deployment.collectors[0].start();
    deployment.collectors[1].kill();
    let pause = watch_for(&deployment, SESSION * 2);
    println!("collector 1 was killed: longest pause {pause:?}, its session lasts {SESSION:?}");
    println!("{} events so far", traffic.accepted());
    let accepted = traffic.end();
    accepted.assert_stored(&deployment);
}
