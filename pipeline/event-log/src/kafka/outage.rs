//! Whether the brokers are away, and for how long. librdkafka connects anew by itself; this only says when it is time
//! that somebody hears of it.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::client::Failure;
use super::fault::Wrong;
use super::lag::Ends;
use crate::ConsumeError;

/// Brokers that are away for that long are an error: longer than a restart of one takes.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// How long refusals may be a broker's that is just starting.
const REFUSED_MAX: Duration = Duration::from_secs(10);
/// How often it is said.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// An outage, if there is one.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    said: Option<Instant>,
    reason: String,
    refused: bool,
}

impl Outage {
    /// The client said something.
    pub(super) fn failed(&mut self, failure: &Failure) {
        if failure.code == Code::AllBrokersDown || failure.is_refusal() {
            self.begin(failure.to_string(), failure.is_refusal());
        }
    }

    /// A question was not answered.
    pub(super) fn asked_in_vain(&mut self, error: &dyn std::error::Error) {
        self.begin(error.to_string(), false);
    }

    fn begin(&mut self, reason: String, refused: bool) {
        self.since.get_or_insert_with(Instant::now);
        // That all are down says less than why they refuse us.
        if refused || !self.refused {
            (self.reason, self.refused) = (reason, refused);
        }
    }

    /// The brokers answered.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// What to say of it, if it is time.
    pub(super) fn check(&mut self, ends: &Ends) -> Option<ConsumeError> {
        let since = self.since?;
        if ends.answered().is_some_and(|answered| answered > since) {
            self.over();
            return None;
        }
        let patience = if self.refused { REFUSED_MAX } else { AWAY_MAX };
        if since.elapsed() < patience || self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            return None;
        }
        self.said = Some(Instant::now());
        let text = format!("no broker for {} s: {}", since.elapsed().as_secs(), self.reason);
        Some(if self.refused { Wrong::broken(text) } else { Wrong::unavailable(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code) -> Failure {
        Failure { code, reason: "why".to_owned() }
    }

    fn after(outage: &mut Outage, passed: Duration) {
        outage.since = outage.since.map(|since| since.checked_sub(passed).unwrap());
    }

    #[test]
    fn one_broker_less_is_no_outage_and_a_short_one_is_not_said() {
        let (mut outage, ends) = (Outage::default(), Ends::default());
        outage.failed(&failure(Code::BrokerTransportFailure));
        assert!(!outage.is_on());
        outage.failed(&failure(Code::AllBrokersDown));
        assert!(outage.check(&ends).is_none());
        after(&mut outage, AWAY_MAX);
        assert!(matches!(outage.check(&ends), Some(ConsumeError::Unavailable(_))));
        assert!(outage.check(&ends).is_none(), "said twice");
        outage.over();
        assert!(outage.check(&ends).is_none());
    }

    #[test]
    fn brokers_that_refuse_us_need_a_person() {
        let (mut outage, ends) = (Outage::default(), Ends::default());
        outage.failed(&failure(Code::Authentication));
        outage.failed(&failure(Code::AllBrokersDown));
        assert!(outage.check(&ends).is_none());
        after(&mut outage, REFUSED_MAX);
        let Some(ConsumeError::Broken(error)) = outage.check(&ends) else { panic!() };
        assert!(error.to_string().contains("Authentication"), "{error}");
    }
}
