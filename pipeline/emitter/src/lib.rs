#![doc = include_str!("../README.md")]

#[cfg(feature = "axum")]
mod axum;
mod batch;
mod body;
mod config;
mod durations;
mod emitter;
mod exemplars;
mod head;
mod hop;
mod identity;
mod layer;
mod metrics;
mod publisher;
mod queue;
mod record;
mod requests;
mod sequence;
mod state;
mod wait;

#[cfg(feature = "axum")]
pub use crate::axum::{RouteLabel, RouteLabelLayer};
pub use body::{HopBody, RequestBody};
pub use config::EmitterConfig;
pub use emitter::{Emitter, PeerAddr, StartError};
pub use hop::Hop;
pub use layer::{EmitterLayer, EmitterService, ResponseFuture};
pub use metrics::EmitterMetrics;
pub use publisher::{Flushed, PublisherDied, PublisherHandle};
pub use wait::Wait;
pub use wide_event::stages::System;
