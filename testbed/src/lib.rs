#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, reason = "NOT COVERED is said to whoever runs the tests")]

mod java;
mod kafka;
mod place;
mod process;

pub use kafka::{Kafka, KafkaOptions, shared_kafka};
pub use place::free_port;

use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with something else. Never a statement about speed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Says that a part can't be had, in the words that `cargo xtask test` looks for.
fn not_covered(part: &str, why: &str) {
    println!("NOT COVERED: {part}: {why}");
}

/// Asks every few milliseconds until the answer is yes.
///
/// # Panics
/// When two minutes pass without; `state` then says what is known.
fn wait_until(what: &str, mut ask: impl FnMut() -> bool, state: impl Fn() -> String) {
    let started = Instant::now();
    while !ask() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}\n{}", state());
        std::thread::sleep(Duration::from_millis(20));
    }
}
