//! The testbed's own parts, used as other tests use them.
#![allow(clippy::unwrap_used)] // a test may fail loudly

mod engine;
mod kafka;
mod proxy;
mod zookeeper;
