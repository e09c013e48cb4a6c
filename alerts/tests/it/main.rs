//! Rules in the real Prometheus (promtool), SQL in the real engine.
// A test may fail loudly, and says what it could not cover.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod alertmanager;
mod complete;
mod incidents;
mod promtool;
mod runbooks;
mod sql;
