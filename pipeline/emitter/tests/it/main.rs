//! The emitter from outside: services behind its layer, events in a log.

// The allowances of clippy.toml reach test functions, not what they share.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod faults;
mod hang_up;
mod http;
mod kill;
mod log;
mod metrics;
mod outcomes;
mod privacy;
mod spool;
