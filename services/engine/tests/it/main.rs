//! The engine over real HTTP against the real library, in a child process: a process opens one data path.
//!
//! Each test file is a topic. Most tests share an engine and use a database of their own; those about
//! limits, users and dying start one for themselves.

#![allow(clippy::unwrap_used)] // The lint's exception for tests does not reach their helpers.

mod clickhouse_crate;
mod deduplication;
mod durability;
mod harness;
mod hostile;
mod insert;
mod protocol;
mod query;
mod session;
mod settings;
mod start;
mod users;
