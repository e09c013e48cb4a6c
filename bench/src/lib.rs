#![doc = include_str!("../README.md")]

pub mod access_log;
pub mod connection;
pub mod error;
pub mod links;
pub mod mapping;
pub mod plan;
pub mod replay;
pub mod report;
pub mod rng;
pub mod run;
pub mod schedule;
pub mod workload;
pub mod zipf;

pub use connection::Target;
pub use error::LoadError;
pub use replay::{Replay, ReplayReport, Speed, replay};
pub use report::Report;
pub use run::run;
pub use workload::Workload;
