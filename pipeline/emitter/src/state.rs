//! Whether events are published at all, for readiness. Set by the publisher, read by whoever answers probes; no request
//! touches it, and none is treated differently by it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::emitter::Shared;

/// Why nothing is published, if so.
#[derive(Debug, Default)]
pub(crate) struct State(Mutex<Option<Trouble>>);

#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// By its reason; until the log takes something.
    LogRefuses(&'static str),
    /// For good.
    Died,
}

impl State {
    pub(crate) fn trouble(&self) -> Option<String> {
        match *self.lock() {
            None => None,
            Some(Trouble::LogRefuses(reason)) => {
                Some(format!("the event log refuses events for good: {reason}"))
            }
            Some(Trouble::Died) => Some("the publisher's task died".to_owned()),
        }
    }

    /// The log takes events, or will again.
    pub(crate) fn publishes(&self) {
        *self.lock() = None;
    }

    pub(crate) fn is_refused(&self, reason: &'static str) {
        *self.lock() = Some(Trouble::LogRefuses(reason));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the publisher's task: says that it died if the task ends in any other way than by a shutdown.
pub(crate) struct Alive {
    shared: Arc<Shared>,
    has_shut_down: bool,
}

impl Alive {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, has_shut_down: false }
    }

    pub(crate) fn has_shut_down(mut self) {
        self.has_shut_down = true;
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if !self.has_shut_down {
            *self.shared.state.lock() = Some(Trouble::Died);
        }
    }
}
