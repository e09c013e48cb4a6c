//! A call of something that a hop depends on, and how long it held the hop up. When to call, and what to do when it fails, is for
//! who calls.

use std::time::{Duration, Instant};

use wide_event::stages::System;

/// What a hop waited for; see [`Hop::waited`](crate::Hop::waited).
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// What was asked.
    pub system: System,
    /// What for, in snake case and at most 24 bytes; one of a fixed set, since it becomes the name of spans.
    pub operation: &'static str,
    /// When the hop began to wait.
    pub began: Instant,
    /// For how long.
    pub took: Duration,
    /// Whether it was for nothing.
    pub failed: bool,
}

impl Wait {
    /// One that is over now.
    #[must_use]
    pub fn since(began: Instant, system: System, operation: &'static str, failed: bool) -> Self {
        Self { system, operation, began, took: began.elapsed(), failed }
    }
}
