//! The testbed's own parts, used as other tests use them.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail loudly, and says what it did not cover

mod engine;
mod kafka;
mod postgres;
mod proxy;
mod redis;
mod zookeeper;
