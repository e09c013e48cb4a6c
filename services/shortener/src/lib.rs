#![doc = include_str!("../README.md")]

pub mod access;
pub mod admission;
mod api;
pub mod breaker;
pub mod cache;
pub mod client_addr;
pub mod codes;
pub mod config;
pub mod domain;
mod domains;
mod entrance;
mod housekeeping;
pub mod keyring;
pub mod keys;
pub mod limits;
pub mod link;
pub mod links;
pub mod listener;
pub mod metrics;
pub mod probe;
mod redirect;
pub mod rule;
mod service;
pub mod shared;
pub mod statistics;
pub mod store;
pub mod target;

pub use config::ShortenerConfig;
pub use entrance::Entrance;
pub use redirect::VISIT_ROUTES;
pub use service::{OpenError, Parts, Readiness, Shortener};
