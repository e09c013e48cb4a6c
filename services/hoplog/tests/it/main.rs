//! The product as its users meet it: one binary, started on an empty directory.

// Clippy takes the helpers of an integration test for no tests.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::cast_possible_truncation)]

mod blackbox;
mod cluster;
mod counts;
mod deploy;
mod dlq;
mod first_hop;
mod harness;
mod instances;
mod kill;
mod on_kafka;
mod outage;
mod page;
mod probe;
mod proof;
mod random;
mod replay;
mod runbooks;
mod schemathesis;
mod shlink;
mod slo;
mod start;
mod trace;
mod traces;
mod traffic;
