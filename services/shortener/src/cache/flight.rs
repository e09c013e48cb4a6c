//! Reads under way: one a link, whoever waits for it. What a read brings reaches those who wait; whether it reaches the
//! cache too depends on whether a change has overtaken it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use emitter::Wait;
use tokio::sync::watch;

use super::{CachedLink, LookupError};
use wide_event::Cache as Tier;

pub(super) type Outcome = Result<Option<Arc<CachedLink>>, LookupError>;

/// What a read brought, and how.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) tier: Tier,
    pub(super) waits: Vec<Wait>,
    pub(super) breaker: Option<&'static str>,
}

/// A read under way: what waits for it listens here.
pub(super) type Flight = Arc<watch::Sender<Option<Answer>>>;

pub(super) type Listening = watch::Receiver<Option<Answer>>;

/// All of them.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Box<str>, Flight>>);

impl Flights {
    /// Nothing under this lock leaves the map half changed, and nobody waits under it.
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The read of a code that is under way, or else a new one, which the caller has to fly.
    pub(super) fn join(&self, code: &str) -> (Listening, Option<Flight>) {
        match self.lock().entry(code.into()) {
            Entry::Occupied(flight) => (flight.get().subscribe(), None),
            Entry::Vacant(place) => {
                let (sender, listening) = watch::channel(None);
                let flight = Arc::new(sender);
                place.insert(Arc::clone(&flight));
                (listening, Some(flight))
            }
        }
    }
}

/// Takes a flight off the map, whatever became of its read: else everybody after would wait for nothing.
pub(super) struct Landing<'a> {
    pub(super) flights: &'a Flights,
    pub(super) code: &'a str,
    pub(super) flight: &'a Flight,
}

impl Landing<'_> {
    /// Does something with what was read, unless a change has overtaken it. Whether it did.
    pub(super) fn land(&self, keep: impl FnOnce()) -> bool {
        let mut flights = self.flights.lock();
        let current = flights.get(self.code).is_some_and(|current| Arc::ptr_eq(current, self.flight));
        if current {
            flights.remove(self.code);
            keep();
        }
        current
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.land(|| {});
    }
}
