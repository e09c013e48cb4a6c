//! Rules in the real Prometheus (promtool), SQL in the real engine.
#![allow(clippy::unwrap_used)] // a test may fail loudly

mod alertmanager;
mod complete;
mod runbooks;
