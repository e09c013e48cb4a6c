//! How much worse a new version is than an old one, and how certain that is. Shares of failures by Newcombe's interval of a
//! difference; latency by the mean of log durations among like requests, minute by minute, so that what slows both down
//! (or another mixture of requests) is in neither's disfavour. Pure.

use std::collections::BTreeMap;

use super::Verdict;

/// 99 % of what chance does stays below so many standard errors: a gate that is asked a hundred times is wrong about once.
const Z: f64 = 2.326;
/// The same by Student's distribution, for 1, 2, … degrees of freedom; [`Z`] beyond them is off by 6 % at most.
#[allow(clippy::approx_constant)] // 2.718 is not meant to be e
const STUDENT: [f64; 30] = [
    31.821, 6.965, 4.541, 3.747, 3.365, 3.143, 2.998, 2.896, 2.821, 2.764, 2.718, 2.681, 2.650, 2.624, 2.602,
    2.583, 2.567, 2.552, 2.539, 2.528, 2.518, 2.508, 2.500, 2.492, 2.485, 2.479, 2.473, 2.467, 2.462, 2.457,
];

/// What both versions did in the same minute.
#[derive(Debug, Clone, Default)]
pub(super) struct Minute {
    pub new: Side,
    pub old: Side,
}

impl Minute {
    /// Whether any link was looked up beyond memory.
    pub(super) fn looks_beyond_memory(&self) -> bool {
        self.new.cold + self.old.cold > 0
    }
}

/// What one version did.
#[derive(Debug, Clone, Default)]
pub(super) struct Side {
    requests: u64,
    bad: u64,
    /// Requests whose link was not in memory.
    cold: u64,
    /// By what makes requests alike: how many, and the sum of the logarithms of their microseconds.
    strata: BTreeMap<String, (f64, f64)>,
}

impl Side {
    /// Adds requests (all, bad, cold), with their histogram: inclusive upper bounds in microseconds and counts. A bound
    /// stands for its bucket: both versions are off by the same.
    #[allow(clippy::cast_precision_loss)] // counts of a minute
    pub(super) fn add(
        &mut self,
        stratum: String,
        [requests, bad, cold]: [u64; 3],
        histogram: impl Iterator<Item = (u32, u64)>,
    ) {
        self.requests += requests;
        self.bad += bad;
        self.cold += cold;
        let (number, sum) = self.strata.entry(stratum).or_default();
        for (bound_us, count) in histogram {
            *number += count as f64;
            *sum += f64::from(bound_us.max(1)).ln() * count as f64;
        }
    }

    fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.bad += other.bad;
        self.cold += other.cold;
        for (stratum, (number, sum)) in other.strata {
            let mine = self.strata.entry(stratum).or_default();
            (mine.0, mine.1) = (mine.0 + number, mine.1 + sum);
        }
    }

    /// Geometric mean, microseconds.
    fn typical_us(&self) -> f64 {
        let (number, sum) = self.strata.values().fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1));
        if number > 0.0 { (sum / number).exp() } else { 0.0 }
    }
}

/// What a check's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// Share of requests that are bad by an SLO.
    Share,
    /// Geometric mean of durations in microseconds.
    Microseconds,
}

/// One thing in which versions are compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Check {
    pub name: String,
    pub measure: Measure,
    pub old: f64,
    pub new: f64,
    pub requests: [u64; 2],
    /// How much the new one adds: of shares the difference, of latency the ratio less one.
    pub added: Interval,
    /// What it may add.
    pub added_max: f64,
    /// Whether a cold start is no reason to call it worse: then nothing is, before its time.
    pub warms_up: bool,
}

/// Where something lies, each end with 99 % certainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Interval {
    /// Neither was asked for it, or the old one never was.
    NothingToCompare,
    /// Asked for, but too little to say anything.
    Unknown,
    /// Between these, most likely there.
    Between { low: f64, likely: f64, high: f64 },
}

impl Check {
    /// What is certain.
    pub(super) fn verdict(&self) -> Verdict {
        match self.added {
            Interval::Between { low, .. } if low > self.added_max => Verdict::RollBack,
            Interval::Between { high, .. } if high <= self.added_max => Verdict::Promote,
            Interval::Between { .. } | Interval::Unknown | Interval::NothingToCompare => Verdict::Wait,
        }
    }

    /// Whether nothing that was seen speaks against it. Of an API that is hardly asked, nothing is ever certain: that is no
    /// reason to wait for ever.
    pub(super) fn is_no_worse(&self) -> bool {
        match self.added {
            Interval::Between { likely, .. } => likely <= 0.0,
            Interval::NothingToCompare => true,
            Interval::Unknown => false,
        }
    }
}

/// Adds up what several SLOs say of the same minutes.
pub(super) fn merge(all: Vec<Vec<Minute>>) -> Vec<Minute> {
    let length = all.iter().map(Vec::len).max().unwrap_or_default();
    let mut merged = vec![Minute::default(); length];
    for minutes in all {
        for (into, minute) in merged.iter_mut().zip(minutes) {
            into.new.merge(minute.new);
            into.old.merge(minute.old);
        }
    }
    merged
}

/// Compares shares of bad requests.
pub(super) fn failures(name: &str, minutes: &[Minute], added_max: f64) -> Check {
    shares(name, minutes, |side| side.bad, added_max)
}

/// Compares shares of look-ups that memory did not answer: among like requests alone, a version whose cache does not work
/// would not be slower.
pub(super) fn misses(name: &str, minutes: &[Minute], added_max: f64) -> Check {
    Check { warms_up: true, ..shares(name, minutes, |side| side.cold, added_max) }
}

#[allow(clippy::cast_precision_loss)] // counts are far below 2^53
fn shares(name: &str, minutes: &[Minute], of: fn(&Side) -> u64, added_max: f64) -> Check {
    let sum = |of: &dyn Fn(&Minute) -> u64| minutes.iter().map(of).sum::<u64>();
    let (new, old) = (sum(&|minute| minute.new.requests), sum(&|minute| minute.old.requests));
    let (new_bad, old_bad) = (sum(&|minute| of(&minute.new)), sum(&|minute| of(&minute.old)));
    let share = |bad: u64, all: u64| if all > 0 { bad as f64 / all as f64 } else { 0.0 };
    let (new_share, old_share) = (share(new_bad, new), share(old_bad, old));
    let added = match (new, old) {
        (_, 0) => Interval::NothingToCompare,
        // The old one is asked for it, and the new one should be.
        (0, _) => Interval::Unknown,
        _ => newcombe((new_share, new as f64), (old_share, old as f64)),
    };
    Check {
        name: name.to_owned(),
        measure: Measure::Share,
        old: old_share,
        new: new_share,
        requests: [old, new],
        added,
        added_max,
        warms_up: false,
    }
}

/// The difference of two shares with the numbers that they are of. R. G. Newcombe, Interval estimation for the difference
/// between independent proportions, Statistics in Medicine 17 (1998), method 10: from Wilson's interval of each.
fn newcombe(new: (f64, f64), old: (f64, f64)) -> Interval {
    let ((new_low, new_high), (old_low, old_high)) = (wilson(new), wilson(old));
    let likely = new.0 - old.0;
    Interval::Between {
        low: likely - (new.0 - new_low).hypot(old_high - old.0),
        likely,
        high: likely + (new_high - new.0).hypot(old.0 - old_low),
    }
}

/// Wilson's interval of a share.
fn wilson((share, number): (f64, f64)) -> (f64, f64) {
    let z2 = Z * Z / number;
    let middle = (share + z2 / 2.0) / (1.0 + z2);
    let half = (z2 * share * (1.0 - share) + z2 * z2 / 4.0).sqrt() / (1.0 + z2);
    (middle - half, middle + half)
}

/// Compares durations: the mean difference of logarithms among like requests, each minute a measurement of its own, weighted
/// by what it says. Requests of a minute are not independent of each other, minutes nearly are.
pub(super) fn latency(minutes: &[Minute], added_max: f64) -> Check {
    let differences: Vec<_> = minutes.iter().filter_map(difference).collect();
    let whole = minutes.iter().cloned().fold(Minute::default(), |mut whole, minute| {
        whole.new.merge(minute.new);
        whole.old.merge(minute.old);
        whole
    });
    let added = if differences.is_empty() {
        Interval::NothingToCompare
    } else {
        student(&differences).unwrap_or(Interval::Unknown)
    };
    Check {
        name: "latency".to_owned(),
        measure: Measure::Microseconds,
        old: whole.old.typical_us(),
        new: whole.new.typical_us(),
        requests: [whole.old.requests, whole.new.requests],
        added,
        added_max,
        warms_up: true,
    }
}

/// Difference of mean logarithms, and its weight: of each stratum that both have, by the harmonic mean of their numbers, which
/// is how much is known of the difference.
fn difference(minute: &Minute) -> Option<(f64, f64)> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (stratum, (new, new_sum)) in &minute.new.strata {
        let Some((old, old_sum)) = minute.old.strata.get(stratum) else { continue };
        if *new > 0.0 && *old > 0.0 {
            let weight = new * old / (new + old);
            sum += weight * (new_sum / new - old_sum / old);
            weights += weight;
        }
    }
    (weights > 0.0).then(|| (sum / weights, weights))
}

/// None of fewer than three minutes, or of more of which one or two are nearly all: the weights say how many minutes there
/// are in effect (L. Kish, Survey Sampling, 1965).
fn student(differences: &[(f64, f64)]) -> Option<Interval> {
    let weights: f64 = differences.iter().map(|(_, weight)| weight).sum();
    let effective = weights.powi(2) / differences.iter().map(|(_, weight)| weight.powi(2)).sum::<f64>();
    // Rounding may take a hair off equal weights.
    let number = (effective + 1e-9).floor();
    if number < 3.0 {
        return None;
    }
    let mean = differences.iter().map(|(value, weight)| value * weight).sum::<f64>() / weights;
    let variance =
        differences.iter().map(|(value, weight)| weight * (value - mean).powi(2)).sum::<f64>() / weights;
    let error = (variance / (number - 1.0)).sqrt();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // minutes of a day
    let factor = STUDENT.get(number as usize - 2).copied().unwrap_or(Z);
    let ratio = |logarithm: f64| logarithm.exp() - 1.0;
    Some(Interval::Between {
        low: ratio(mean - factor * error),
        likely: ratio(mean),
        high: ratio(mean + factor * error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(requests: u64, bad: u64, us: u32) -> Side {
        let mut side = Side::default();
        side.add("GET /{code} 302 l1".to_owned(), [requests, bad, 0], [(us, requests)].into_iter());
        side
    }

    /// Minutes in which both are by turns fast and slow, and one of them slower by a factor.
    fn minutes(number: u32, factor: f64) -> Vec<Minute> {
        let minute = |at: u32| {
            let us = f64::from(400 + 300 * (at % 2));
            // Rounded, and a bit of chance for each.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let us = |factor: f64, chance: u32| (us * factor) as u32 + chance;
            Minute { new: side(500, 0, us(factor, at * 7 % 5)), old: side(900, 0, us(1.0, at * 3 % 5)) }
        };
        (0..number).map(minute).collect()
    }

    #[test]
    fn shares_are_compared_with_certainty() {
        let verdict = |new: (u64, u64), old: (u64, u64)| {
            let minute = Minute { new: side(new.0, new.1, 300), old: side(old.0, old.1, 300) };
            failures("x", &[minute], 0.01).verdict()
        };
        assert_eq!(verdict((5_000, 100), (5_000, 0)), Verdict::RollBack);
        assert_eq!(verdict((5_000, 0), (5_000, 0)), Verdict::Promote);
        assert_eq!(verdict((5_000, 100), (5_000, 90)), Verdict::Promote, "the old one fails as much");
        assert_eq!(verdict((100, 0), (5_000, 0)), Verdict::Wait, "too few to exclude one in a hundred");
        assert_eq!(verdict((100, 2), (5_000, 0)), Verdict::Wait);
        assert_eq!(verdict((20, 20), (5_000, 0)), Verdict::RollBack, "all fail: that needs no thousands");
        assert_eq!(verdict((0, 0), (5_000, 0)), Verdict::Wait, "not asked for what the old one is asked for");
    }

    #[test]
    fn newcombes_own_example() {
        // Table II of the paper, (a): 56/70 and 48/80, at 95 % on both sides: 0.0524 to 0.3339. Here with another z, so wider.
        let Interval::Between { low, likely, high } = newcombe((0.8, 70.0), (0.6, 80.0)) else { panic!() };
        assert!((likely - 0.2).abs() < 1e-12);
        assert!(low < 0.0524 && low > 0.0, "{low}");
        assert!(high > 0.3339 && high < 0.37, "{high}");
    }

    #[test]
    fn latency_is_compared_among_like_minutes_and_requests() {
        assert_eq!(latency(&minutes(10, 1.3), 0.15).verdict(), Verdict::RollBack);
        assert_eq!(latency(&minutes(10, 1.0), 0.15).verdict(), Verdict::Promote);
        assert_eq!(latency(&minutes(2, 1.3), 0.15).verdict(), Verdict::Wait);
        let Interval::Between { low, likely, high } = latency(&minutes(10, 1.3), 0.15).added else {
            panic!()
        };
        assert!(low < likely && likely < high && (likely - 0.3).abs() < 0.02, "{low} {likely} {high}");

        // The new one gets the slow requests: no fault of its own.
        let mut minutes = minutes(10, 1.0);
        for minute in &mut minutes {
            minute.new.add(
                "GET /{code} 302 store".to_owned(),
                [2_000, 0, 2_000],
                [(9_000, 2_000)].into_iter(),
            );
            minute.old.add("GET /{code} 302 store".to_owned(), [20, 0, 20], [(9_000, 20)].into_iter());
        }
        assert_eq!(latency(&minutes, 0.15).verdict(), Verdict::Promote);
        assert_eq!(misses("x", &minutes, 0.25).verdict(), Verdict::RollBack, "its cache is at fault");
        assert_eq!(misses("x", &minutes, 0.9).verdict(), Verdict::Promote);
    }

    #[test]
    fn one_minute_is_not_many_however_busy() {
        assert_eq!(student(&[(0.4, 1_000.0), (0.0, 10.0), (0.05, 10.0), (0.1, 10.0)]), None);
        let Some(Interval::Between { low, likely, high }) =
            student(&[(0.3, 10.0), (0.2, 10.0), (0.25, 10.0)])
        else {
            panic!()
        };
        // By hand: mean 0.25, standard deviation 0.05, 6.965 of its third's root.
        let half = 6.965 * 0.05 / 3f64.sqrt();
        assert!((likely - (0.25f64.exp() - 1.0)).abs() < 1e-9);
        assert!(
            (low - ((0.25 - half).exp() - 1.0)).abs() < 1e-9
                && (high - ((0.25 + half).exp() - 1.0)).abs() < 1e-9
        );
    }

    #[test]
    fn what_is_hardly_asked_does_not_hold_it_up_unless_something_speaks_against_it() {
        let check = |new: (u64, u64)| {
            let minute = Minute { new: side(new.0, new.1, 300), old: side(90, 0, 300) };
            failures("x", &[minute], 0.01)
        };
        assert_eq!((check((80, 0)).verdict(), check((80, 0)).is_no_worse()), (Verdict::Wait, true));
        assert_eq!((check((80, 1)).verdict(), check((80, 1)).is_no_worse()), (Verdict::Wait, false));
        assert!(!check((0, 0)).is_no_worse());
    }
}
