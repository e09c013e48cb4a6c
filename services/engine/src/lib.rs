#![doc = include_str!("../README.md")]

mod compress;
mod config;
mod deduplication;
mod engine;
mod exception;
mod ffi;
mod format;
mod http;
mod metrics;
mod query;
mod server;
mod session;
mod statement;
mod users;

pub use config::{EngineConfig, LIBRARY_PACKAGE, LIBRARY_VERSION, library_default};
pub use engine::EngineError;
pub use ffi::LoadError;
pub use server::serve;
pub use users::{Password, User};
