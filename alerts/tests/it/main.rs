//! Rules in the real Prometheus (promtool), SQL in the real engine.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail loudly, and says what it could not cover

mod alertmanager;
mod complete;
mod incidents;
mod promtool;
mod runbooks;
mod sql;
