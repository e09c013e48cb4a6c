//! Which events are kept whole, and how many each of them stands for. Decided from the event, the counts of its range
//! and the policy, and from nothing else: the same range under the same policy decides the same.
//!
//! An event is kept with a probability that depends on its stratum's count only; its weight is one over that, so sums
//! of weights are unbiased (Horvitz and Thompson). What is always kept has weight 1 and is no part of any stratum.

use rustc_hash::FxHashMap;
use wide_event::{Event, Outcome};

use crate::policy::Rules;
use crate::rollup::Key;
use crate::symbols::EMPTY;

/// Why an event was kept: as stored in `sample_reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// Somebody asked for it.
    Forced,
    /// The service failed its caller.
    Failure,
    /// It took long.
    Slow,
    /// The caller was at fault; all of these were kept.
    ClientError,
    /// The caller was at fault, with many others; some were kept.
    Flood,
    /// Few events were like it.
    Rare,
    /// One of the many.
    Base,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Forced => "forced",
            Self::Failure => "failure",
            Self::Slow => "slow",
            Self::ClientError => "client_error",
            Self::Flood => "flood",
            Self::Rare => "rare",
            Self::Base => "base",
        }
    }
}

/// An event's fate before the counts are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// Kept, with weight 1.
    Always(Reason),
    /// One of a stratum; kept if its number is below the stratum's threshold.
    Drawn { stratum: u32, draw: u64 },
}

/// What a stratum's events have in common: errors of callers by route, status and outcome, successes by version too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct StratumKey {
    service: u32,
    route: u32,
    status: u16,
    outcome: Outcome,
    version: u32,
}

#[derive(Debug)]
struct Stratum {
    caller_at_fault: bool,
    events: u64,
}

/// A series of the rollup, as far as sampling cares.
#[derive(Debug, Clone, Copy)]
struct Series {
    stratum: u32,
    slow_us: u64,
}

/// The strata of a range while it is read.
#[derive(Debug, Default)]
pub(crate) struct Strata {
    numbers: FxHashMap<StratumKey, u32>,
    strata: Vec<Stratum>,
    series: Vec<Series>,
}

impl Strata {
    /// Notes an event of the rollup's series with that number.
    pub(crate) fn add(
        &mut self,
        rules: &Rules,
        event: &Event<'_>,
        number: u32,
        key: &Key,
        route: &str,
    ) -> Candidate {
        if self.series.len() == number as usize {
            let stratum = self.stratum(key);
            self.series.push(Series { stratum, slow_us: rules.slow_us(route) });
        }
        let series = self.series[number as usize];
        if event.forced {
            return Candidate::Always(Reason::Forced);
        }
        if event.outcome.is_failure() {
            return Candidate::Always(Reason::Failure);
        }
        if event.duration_us >= series.slow_us {
            return Candidate::Always(Reason::Slow);
        }
        self.strata[series.stratum as usize].events += 1;
        Candidate::Drawn { stratum: series.stratum, draw: draw(event) }
    }

    fn stratum(&mut self, key: &Key) -> u32 {
        let caller_at_fault = matches!(key.outcome, Outcome::ClientError | Outcome::RateLimited);
        let version = if caller_at_fault { EMPTY } else { key.version };
        let Key { service, route, status, outcome, .. } = *key;
        *self.numbers.entry(StratumKey { service, route, status, outcome, version }).or_insert_with(|| {
            self.strata.push(Stratum { caller_at_fault, events: 0 });
            // There are not more strata than series.
            #[allow(clippy::cast_possible_truncation)]
            let number = (self.strata.len() - 1) as u32;
            number
        })
    }

    /// The decisions, now that all events are counted.
    pub(crate) fn decide(&self, rules: &Rules) -> Decisions {
        Decisions(self.strata.iter().map(|stratum| Decision::of(stratum, rules)).collect())
    }
}

/// What holds for the events of each stratum.
#[derive(Debug)]
pub(crate) struct Decisions(Vec<Decision>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Decision {
    /// Draws below it are kept; `None`: all are.
    threshold: Option<u64>,
    weight: f64,
    reason: Reason,
}

impl Decision {
    #[allow(clippy::cast_precision_loss)] // counts of a range are far below 2^53
    fn of(stratum: &Stratum, rules: &Rules) -> Self {
        let events = stratum.events.max(1) as f64;
        let (probability, reason) = if stratum.caller_at_fault {
            let probability = rules.client_errors.keep_max as f64 / events;
            (probability, if probability < 1.0 { Reason::Flood } else { Reason::ClientError })
        } else {
            let (rate, rare) = (rules.successes.rate, rules.successes.rare_keep / events);
            (rate.max(rare), if rare > rate { Reason::Rare } else { Reason::Base })
        };
        if probability >= 1.0 {
            return Self { threshold: None, weight: 1.0, reason };
        }
        // 2^64: draws are uniform below it. The cast rounds down, by less than 2^-11 of a millionth.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let threshold = (probability * 18_446_744_073_709_551_616.0) as u64;
        Self { threshold: Some(threshold), weight: 1.0 / probability, reason }
    }
}

impl Decisions {
    /// Weight and reason of an event that is kept.
    pub(crate) fn fate(&self, candidate: Candidate) -> Option<(f64, Reason)> {
        match candidate {
            Candidate::Always(reason) => Some((1.0, reason)),
            Candidate::Drawn { stratum, draw } => {
                let decision = self.0[stratum as usize];
                decision
                    .threshold
                    .is_none_or(|threshold| draw < threshold)
                    .then_some((decision.weight, decision.reason))
            }
        }
    }
}

/// The event's number in the draw: from its trace, so that what else is sampled by trace decides alike; where it has
/// none, from its producer's numbering.
fn draw(event: &Event<'_>) -> u64 {
    let trace = event.trace_id.0;
    if trace != 0 {
        #[allow(clippy::cast_possible_truncation)] // the two halves
        return mix((trace >> 64) as u64 ^ mix(trace as u64));
    }
    let boot = event.boot_id.as_str().bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    mix(boot ^ mix(event.seq))
}

/// SplitMix64's finaliser after its increment: every bit of the input changes about half of the output's.
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
