//! The commit protocol as a model, tried exhaustively: every order of steps, crashes, rebalances and late requests within
//! small bounds. See "The protocol, checked" in the README. What is modelled is the protocol; that the code follows it is
//! for the other tests.
#![allow(clippy::unwrap_used)] // a test may fail loudly

mod actions;
mod checks;
mod clickhouse;
mod group;
mod inserts;
mod properties;
mod protocol;
mod state;
mod steps;
