//! The collector with the real engine and the real spool: each test has a database, a spool and a proxy of its own; the
//! engine is one process for all. `cargo build --release -p engine` provides it.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a test may fail loudly

mod consumer;
mod corruption;
mod crash;
mod dead_letters;
mod end_to_end;
mod faults;
mod group;
mod guard;
mod many;
mod outage;
mod poison;
mod proxy;
mod revocation;
mod spans;
mod traces;
mod world;
