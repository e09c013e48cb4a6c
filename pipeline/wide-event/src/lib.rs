#![doc = include_str!("../README.md")]

pub mod agent;
mod canonical;
pub mod codec;
pub mod event;
mod json;
pub mod latency;
pub mod producer;
mod recent;
pub mod redact;
pub mod registry;
pub mod scrub;
pub mod span_ids;
pub mod stages;
pub mod timestamp;
pub mod value;

pub use event::{Event, FIELDS, Resource, Symbol, Value};
pub use producer::BootEnd;
pub use timestamp::Timestamp;
pub use value::{Cache, Host, Network, Orphan, Outcome, SpanId, Text, TraceId, Visitor};
