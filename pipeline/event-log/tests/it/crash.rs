//! Several processes on one spool, killed at any moment. The children are this test binary again, with a role.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use event_log::spool::{Spool, SpoolConfig};
use event_log::{Consumer, Delivery, EventLogMetrics, Message, Producer};

use crate::{PATIENCE, config, position, records};

const ROUNDS: usize = 25;
const DIR: &str = "HOPLOG_TEST_SPOOL_DIR";
const RUN: &str = "HOPLOG_TEST_SPOOL_RUN";

/// The child's role, if this is one.
fn role() -> Option<(PathBuf, String)> {
    Some((PathBuf::from(std::env::var_os(DIR)?), std::env::var(RUN).ok()?))
}

/// Kills its process when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL; it fails only if the child is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This test again as a child; what it says line by line, until it ends.
fn child(test: &str, dir: &Path, run: &str) -> (Running, Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(RUN, run)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (said, heard) = channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some((_, word)) = line.split_once("ack ") {
                // The parent may have stopped listening.
                let _ = said.send(word.to_owned());
            }
        }
    });
    (Running(child), heard)
}

fn acknowledge(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ack {word}").and_then(|()| out.flush()).unwrap();
}

fn kept(dir: &Path) -> Spool {
    Spool::new(SpoolConfig { retain_bytes: 1 << 30, partitions: 2, ..config(dir) })
}

/// Four tasks append as fast as they can and say what was acknowledged.
async fn write_until_killed(dir: &Path, run: &str) {
    let producer = kept(dir).producer(EventLogMetrics::default());
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let (producer, run) = (producer.clone(), run.to_owned());
            tokio::spawn(async move {
                for n in 0.. {
                    let name = format!("{run}/{task}/{n}");
                    let messages = ["a", "b"].map(|half| Message::events(format!("{name}/{half}"), 1));
                    // As every caller does: what was refused for now was not written, and is tried again.
                    while let Err(error) = producer.append(messages.to_vec()).await {
                        assert!(error.is_retryable(), "{error:?}");
                        eprintln!("{name} again: {error:?}");
                    }
                    acknowledge(&name);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9_once() {
    if let Some((dir, run)) = role() {
        return write_until_killed(&dir, &run).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    let mut seen: HashMap<String, Vec<(u32, u64)>> = HashMap::new();
    let mut next = HashMap::new();
    let mut consumer = kept(dir.path()).consumer("g").await.unwrap();
    for round in 0..ROUNDS {
        // Two writing processes at once, and this one reads.
        let name = "crash::what_was_acknowledged_survives_kill_9_once";
        let children: Vec<_> = ["x", "y"].map(|c| child(name, dir.path(), &format!("{round}{c}"))).into();
        let mut wanted = 20 + round * 37 % 60;
        for (_, heard) in children.iter().cycle() {
            acknowledged.insert(heard.recv_timeout(PATIENCE).expect("a writer starves or died"));
            wanted -= 1;
            if wanted == 0 {
                break;
            }
        }
        for (running, heard) in children {
            drop(running);
            acknowledged.extend(heard);
        }
        loop {
            match consumer.next(Duration::ZERO).await.unwrap() {
                Delivery::Records { partition, records } => {
                    for record in records {
                        let expected = next.entry(partition).or_insert(0);
                        assert_eq!(record.offset, *expected, "partition {partition}");
                        *expected += 1;
                        let text = String::from_utf8(record.payload.to_vec()).unwrap();
                        let (name, _) = text.rsplit_once('/').unwrap();
                        seen.entry(name.to_owned()).or_default().push((partition, record.offset));
                    }
                }
                Delivery::Assigned { .. } => {}
                _ => break,
            }
        }
    }
    for name in &acknowledged {
        assert!(seen.contains_key(name), "{name} was acknowledged and is not there");
    }
    for (name, places) in &seen {
        let [(p, first), (q, second)] = places[..] else { panic!("{name} is there at {places:?}") };
        assert!(p == q && second == first + 1, "{name}: a call is whole and in order: {places:?}");
    }
    let totals = kept(dir.path()).totals().await.unwrap();
    assert_eq!(totals.iter().map(|t| t.events_total).sum::<u64>(), 2 * seen.len() as u64);
    eprintln!("{} acknowledged, {} there", acknowledged.len(), seen.len());
}

/// Consumes and commits, and says how far.
async fn consume_until_killed(dir: &Path) {
    let mut consumer = Spool::new(SpoolConfig { fetch_messages_max: 5, retain_bytes: 0, ..config(dir) })
        .consumer("g")
        .await
        .unwrap();
    loop {
        let last = records(&mut consumer).await.last().unwrap().offset;
        consumer.committer().commit(0, position(last + 1, &format!("done {last}"))).await.unwrap();
        acknowledge(&(last + 1).to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_consumer_is_followed_at_its_position_with_retention_at_work() {
    if let Some((dir, _)) = role() {
        return consume_until_killed(&dir).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(SpoolConfig { retain_bytes: 0, ..config(dir.path()) });
    let producer = spool.producer(EventLogMetrics::default());
    let appending = tokio::spawn({
        let producer = producer.clone();
        async move { while producer.append(vec![Message::events(vec![b'x'; 2000], 7)]).await.is_ok() {} }
    });
    let mut committed = 0;
    for round in 0..8 {
        let name = "crash::a_killed_consumer_is_followed_at_its_position_with_retention_at_work";
        let (running, heard) = child(name, dir.path(), "");
        let first: u64 = heard.recv_timeout(PATIENCE).expect("the consumer does nothing").parse().unwrap();
        assert!(first > committed, "round {round}: {first} after {committed}");
        let said: Vec<u64> = heard.iter().take(10 + round).map(|word| word.parse().unwrap()).collect();
        drop(running);
        committed = said.into_iter().chain(heard.iter().map(|word| word.parse().unwrap())).max().unwrap();
        let totals = spool.totals().await.unwrap().remove(0);
        let group = &totals.groups[0];
        assert!((committed..=committed + 5).contains(&group.offset), "{group:?}, said {committed}");
        assert_eq!(group.metadata, format!("done {}", group.offset - 1));
        assert_eq!(group.events_consumed, 7 * group.offset);
        assert!(totals.first_offset <= group.offset, "{totals:?}");
    }
    producer.close().await;
    appending.await.unwrap();
    let mut consumer = spool.consumer("g").await.unwrap();
    let end = spool.totals().await.unwrap()[0].end_offset;
    let mut offset = spool.totals().await.unwrap()[0].groups[0].offset;
    while offset < end {
        for record in records(&mut consumer).await {
            assert_eq!(record.offset, offset);
            offset += 1;
        }
    }
}
