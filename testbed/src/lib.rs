#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, reason = "NOT COVERED is said to whoever runs the tests")]

mod engine;
mod java;
mod kafka;
mod part;
mod place;
mod postgres;
mod process;
mod proxy;
mod redis;
mod tls;
mod zookeeper;

use std::path::PathBuf;

pub use engine::{Engine, shared_engine_address};
pub use kafka::{Kafka, KafkaOptions, shared_kafka};
pub use part::Part;
pub use place::{free_port, free_ports};
pub use postgres::{Postgres, shared_postgres};
pub use proxy::{Fault, Injected, Mode, Proxy};
pub use redis::{Redis, RedisOptions, shared_redis};
pub use zookeeper::ZooKeeper;

/// Something that `cargo xtask test` has put into the tool cache, by its path there. None, said by a line
/// `NOT COVERED: …`, where it is not.
pub fn tool(path: &str, what: &str) -> Option<PathBuf> {
    let tool = java::cache().join("tools").join(path);
    if tool.exists() {
        return Some(tool);
    }
    not_covered(what, &format!("no {}; `cargo xtask test` fetches it", tool.display()));
    None
}

/// Says that a part can't be had, in the words that `cargo xtask test` looks for.
fn not_covered(part: &str, why: &str) {
    println!("NOT COVERED: {part}: {why}");
}
