//! Overload: requests are refused before any work is done for them, what is heavy first, then the management API, and
//! redirects last of all.
//! Limits by client are not here; this one protects the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::LimitsConfig;
use crate::metrics::Metrics;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A redirect, a preview, a page: what visitors see.
    Visit,
    /// The management API.
    Api,
    /// What of it takes long: bulk calls, statistics.
    Bulk,
}

/// Counts requests under way and refuses those above the limits.
#[derive(Debug)]
pub struct Admission {
    in_flight: AtomicUsize,
    visit_max: usize,
    api_max: usize,
    bulk_max: usize,
    metrics: Metrics,
}

/// A place under the limits, given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Admission>);

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{places} requests are under way, the most that {limiter} allows")]
pub struct Full {
    /// Name of the limit.
    pub limiter: &'static str,
    /// Its places.
    pub places: usize,
}

impl Admission {
    /// With these limits.
    pub fn new(limits: &LimitsConfig, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicUsize::new(0),
            visit_max: limits.in_flight_max,
            api_max: limits.api_in_flight_max,
            bulk_max: limits.bulk_in_flight_max.min(limits.api_in_flight_max),
            metrics,
        })
    }

    /// A place, unless the limit of the class is reached.
    pub fn admit(self: &Arc<Self>, class: Class) -> Result<Place, Full> {
        let (places, limiter) = match class {
            Class::Visit => (self.visit_max, LIMITER_VISIT),
            Class::Api => (self.api_max, LIMITER_API),
            Class::Bulk => (self.bulk_max, LIMITER_BULK),
        };
        // Counted first and taken back: two requests can't both see the last place as free.
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= places {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            self.metrics.shed(limiter);
            return Err(Full { limiter, places });
        }
        self.metrics.in_flight(1);
        Ok(Place(Arc::clone(self)))
    }
}

/// Name of the limit of redirects.
pub const LIMITER_VISIT: &str = "in_flight";
/// Name of the limit of the management API.
pub const LIMITER_API: &str = "api_in_flight";
/// Name of the limit of what takes long.
pub const LIMITER_BULK: &str = "bulk_in_flight";

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.in_flight(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heavy_is_refused_first_and_places_come_back() {
        let limits = LimitsConfig {
            in_flight_max: 4,
            api_in_flight_max: 2,
            bulk_in_flight_max: 1,
            ..LimitsConfig::default()
        };
        let admission = Admission::new(&limits, Metrics::default());
        let first = admission.admit(Class::Bulk).unwrap();
        assert!(admission.admit(Class::Bulk).is_err());
        let second = admission.admit(Class::Api).unwrap();
        assert!(admission.admit(Class::Api).is_err());
        let visits = [admission.admit(Class::Visit).unwrap(), admission.admit(Class::Visit).unwrap()];
        assert!(admission.admit(Class::Visit).is_err());
        drop((first, second));
        assert!(admission.admit(Class::Api).is_err(), "visits count for the API's limit");
        assert!(admission.admit(Class::Visit).is_ok());
        drop(visits);
        assert!(admission.admit(Class::Bulk).is_ok());
    }
}
