//! Overload: requests are refused before any work is done for them, what is heavy first, then the management API, and
//! redirects last of all.
//! Limits by client are not here; this one protects the process.

use std::ops::Deref;

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
    visit_max: usize,
    api_max: usize,
    bulk_max: usize,
    /// Holds the count: what is shown is what is decided by.
    metrics: Metrics,
}

/// A place under the limits, given back when dropped. Whoever stays where the limits are borrows them.
#[derive(Debug)]
pub struct Place<A: Deref<Target = Admission>>(A);

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
    pub fn new(limits: &LimitsConfig, metrics: Metrics) -> Self {
        Self {
            visit_max: limits.in_flight_max,
            api_max: limits.api_in_flight_max,
            bulk_max: limits.bulk_in_flight_max.min(limits.api_in_flight_max),
            metrics,
        }
    }

    /// A place, unless the limit of the class is reached.
    pub fn admit<A: Deref<Target = Self>>(this: A, class: Class) -> Result<Place<A>, Full> {
        let (places, limiter) = match class {
            Class::Visit => (this.visit_max, LIMITER_VISIT),
            Class::Api => (this.api_max, LIMITER_API),
            Class::Bulk => (this.bulk_max, LIMITER_BULK),
        };
        // Counted first and taken back: two requests can't both see the last place as free.
        let before = this.metrics.requests_in_flight.inc();
        if usize::try_from(before).is_ok_and(|before| before >= places) {
            this.metrics.requests_in_flight.dec();
            this.metrics.shed(limiter);
            return Err(Full { limiter, places });
        }
        Ok(Place(this))
    }
}

/// Name of the limit of redirects.
pub const LIMITER_VISIT: &str = "in_flight";
/// Name of the limit of the management API.
pub const LIMITER_API: &str = "api_in_flight";
/// Name of the limit of what takes long.
pub const LIMITER_BULK: &str = "bulk_in_flight";

impl<A: Deref<Target = Admission>> Drop for Place<A> {
    fn drop(&mut self) {
        self.0.metrics.requests_in_flight.dec();
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
        let first = Admission::admit(&admission, Class::Bulk).unwrap();
        assert!(Admission::admit(&admission, Class::Bulk).is_err());
        let second = Admission::admit(&admission, Class::Api).unwrap();
        assert!(Admission::admit(&admission, Class::Api).is_err());
        let visits = [
            Admission::admit(&admission, Class::Visit).unwrap(),
            Admission::admit(&admission, Class::Visit).unwrap(),
        ];
        assert!(Admission::admit(&admission, Class::Visit).is_err());
        drop((first, second));
        assert!(Admission::admit(&admission, Class::Api).is_err(), "visits count for the API's limit");
        assert!(Admission::admit(&admission, Class::Visit).is_ok());
        drop(visits);
        assert!(Admission::admit(&admission, Class::Bulk).is_ok());
    }
}
