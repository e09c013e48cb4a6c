//! The logs through their public interface: the spool across processes and crashes, Kafka across faults.

// Clippy takes only the tests themselves for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod consume;
mod crash;
mod damage;
mod kafka_consume;
mod kafka_consume_faults;
mod kafka_crew;
mod kafka_faults;
mod kafka_group;
mod kafka_member;
mod kafka_outbox;
mod kafka_real;
mod kafka_security;
mod kafka_topic;
mod packed;
mod retain;

use std::path::Path;
use std::time::Duration;

use event_log::spool::{Spool, SpoolConfig, SpoolConsumer};
use event_log::{Consumer, Delivery, Position, Record};

/// Long enough for a slow machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(180);

fn config(dir: &Path) -> SpoolConfig {
    SpoolConfig { path: dir.join("spool"), ..SpoolConfig::default() }
}

fn spool(dir: &Path) -> Spool {
    let config = config(dir);
    assert_eq!(config.check(), []);
    Spool::new(config)
}

fn position(offset: u64, metadata: &str) -> Position {
    Position { offset, metadata: metadata.to_owned() }
}

/// Bytes that nothing makes fewer, so that they take as many in the file.
fn noise(bytes: usize) -> Vec<u8> {
    (0..).flat_map(|at: u32| at.wrapping_mul(0x9e37_79b9).to_be_bytes()).take(bytes).collect()
}

/// The next records of any partition.
async fn records(consumer: &mut SpoolConsumer) -> Vec<Record> {
    loop {
        match consumer.next(PATIENCE).await.unwrap() {
            Delivery::Records { records, .. } => return records,
            Delivery::Assigned { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
