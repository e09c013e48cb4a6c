//! The arithmetic of error budgets, in one place: rules, texts and `hoplog slo` all mean the same by a burn rate.
//! Nothing here knows what an SLI is.

use std::fmt;

use crate::Severity;

/// A length of time, as Prometheus writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// Its length in seconds.
    pub seconds: u32,
}

impl Window {
    const fn minutes(minutes: u32) -> Self {
        Self { seconds: minutes * 60 }
    }

    const fn hours(hours: u32) -> Self {
        Self::minutes(hours * 60)
    }

    const fn days(days: u32) -> Self {
        Self::hours(days * 24)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3_600 == 0 => write!(f, "{}h", s / 3_600),
            s => write!(f, "{}m", s / 60),
        }
    }
}

/// What a budget is for: four whole weeks, so that each has the same number of weekends.
pub const PERIOD: Window = Window::days(28);

/// The shortest window. It is recorded as rates a second, of which all longer ones are sums.
pub const SHORTEST: Window = Window::minutes(5);

/// All windows that are recorded, the shortest first.
pub const WINDOWS: [Window; 8] = [
    SHORTEST,
    Window::minutes(30),
    Window::hours(1),
    Window::hours(2),
    Window::hours(6),
    Window::days(1),
    Window::days(3),
    PERIOD,
];

/// How often rules of SLOs are evaluated, and so how far apart the recorded rates are.
pub const STEP: Window = Window::minutes(1);

/// Failures that an alert needs in its long window, beside the burn rate. One failure of three requests in a quiet night
/// is a burn rate of hundreds and no reason to wake anybody. Counting failures and not requests lets a service with
/// few callers still page when all of them are failed: at one a minute after five minutes.
pub const FAILURES_MIN: u32 = 5;

/// What is compared with: sums of rates are whole numbers but for what rounding and the ends of windows do to them.
#[must_use]
pub fn failures_above() -> f64 {
    f64::from(FAILURES_MIN) - 0.5
}

/// When a budget burns too fast: by the share of it that is gone by the end of the long window. The short window, a twelfth
/// of it, ends the alert soon after the burning has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// What is done about it.
    pub severity: Severity,
    /// Where the burn rate has to be above the threshold, and where failures are counted.
    pub long: Window,
    /// Where the burn rate has to be above the threshold as well.
    pub short: Window,
    /// Share of the period's budget that such a long window takes, in percent.
    pub budget_percent: u32,
}

impl Threshold {
    /// The burn rate: 1 spends the budget in exactly the period.
    #[must_use]
    pub fn burn_rate(&self) -> f64 {
        f64::from(self.budget_percent) / 100.0 * f64::from(PERIOD.seconds) / f64::from(self.long.seconds)
    }

    /// Whether the budget burns too fast, by the counts of both windows.
    #[must_use]
    pub fn is_crossed(&self, long: Counts, short: Counts, budget: f64) -> bool {
        let above = |counts: Counts| counts.burn_rate(budget).is_some_and(|rate| rate > self.burn_rate());
        above(long) && above(short) && long.bad > failures_above()
    }
}

/// All thresholds, the most urgent first: 13.44 and 5.6 page, 2.8 and 0.9333 make a ticket.
pub const THRESHOLDS: [Threshold; 4] = [
    Threshold {
        severity: Severity::Page,
        long: Window::hours(1),
        short: Window::minutes(5),
        budget_percent: 2,
    },
    Threshold {
        severity: Severity::Page,
        long: Window::hours(6),
        short: Window::minutes(30),
        budget_percent: 5,
    },
    Threshold {
        severity: Severity::Ticket,
        long: Window::days(1),
        short: Window::hours(2),
        budget_percent: 10,
    },
    Threshold {
        severity: Severity::Ticket,
        long: Window::days(3),
        short: Window::hours(6),
        budget_percent: 10,
    },
];

/// Events and failures among them, of some window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// All events that the SLO is about. Fractions come from weighted rows.
    pub total: f64,
    /// Those that broke it.
    pub bad: f64,
}

impl Counts {
    /// Share of failures; none without events.
    #[must_use]
    pub fn bad_ratio(&self) -> Option<f64> {
        (self.total > 0.0).then(|| self.bad / self.total)
    }

    /// How fast the budget burns: 1 spends it in exactly the period. None without events.
    #[must_use]
    pub fn burn_rate(&self, budget: f64) -> Option<f64> {
        self.bad_ratio().map(|ratio| ratio / budget)
    }

    /// What is left of the budget, if these are the counts of the whole period: 1 untouched, 0 spent, negative overspent.
    #[must_use]
    pub fn budget_left(&self, budget: f64) -> Option<f64> {
        self.burn_rate(budget).map(|rate| 1.0 - rate)
    }
}

/// Seconds until what is left of the budget is spent at a burn rate; none where nothing burns, 0 where nothing is left.
#[must_use]
pub fn exhaustion_s(budget_left: f64, burn_rate: f64) -> Option<f64> {
    (burn_rate > 0.0).then(|| budget_left.max(0.0) * f64::from(PERIOD.seconds) / burn_rate)
}

/// Share of the period's budget that a window takes at a burn rate.
#[must_use]
pub fn budget_spent(burn_rate: f64, window: Window) -> f64 {
    burn_rate * f64::from(window.seconds) / f64::from(PERIOD.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_those_of_the_shares() {
        let rates = THRESHOLDS.map(|threshold| format!("{:.4}", threshold.burn_rate()));
        assert_eq!(rates, ["13.4400", "5.6000", "2.8000", "0.9333"]);
        for threshold in THRESHOLDS {
            assert_eq!(threshold.long.seconds, 12 * threshold.short.seconds);
            assert!(WINDOWS.contains(&threshold.long) && WINDOWS.contains(&threshold.short));
            let spent = budget_spent(threshold.burn_rate(), threshold.long) * 100.0;
            assert!((spent - f64::from(threshold.budget_percent)).abs() < 1e-9);
        }
        assert!(WINDOWS.is_sorted());
    }

    #[test]
    fn windows_read_as_in_prometheus() {
        let all = WINDOWS.map(|window| window.to_string()).join(" ");
        assert_eq!(all, "5m 30m 1h 2h 6h 1d 3d 28d");
    }

    #[test]
    fn a_threshold_needs_both_windows_and_some_failures() {
        let page = THRESHOLDS[0];
        let counts = |total, bad| Counts { total, bad };
        for (long, short, crossed) in [
            (counts(1_000.0, 20.0), counts(100.0, 2.0), true),
            (counts(1_000.0, 13.0), counts(100.0, 2.0), false),
            (counts(1_000.0, 20.0), counts(100.0, 1.0), false),
            (counts(1_000.0, 20.0), counts(0.0, 0.0), false),
            (counts(4.0, 4.0), counts(1.0, 1.0), false),
            (counts(5.0, 5.0), counts(1.0, 1.0), true),
        ] {
            assert_eq!(page.is_crossed(long, short, 0.001), crossed, "{long:?} {short:?}");
        }
    }

    #[test]
    fn budgets_add_up() {
        let counts = Counts { total: 10_000.0, bad: 5.0 };
        assert_eq!((counts.bad_ratio(), Counts::default().bad_ratio()), (Some(0.0005), None));
        assert_eq!((counts.burn_rate(0.001), counts.budget_left(0.001)), (Some(0.5), Some(0.5)));
        // Half of the budget is left, and it burns twice as fast as it may: a quarter of the period.
        assert_eq!(exhaustion_s(0.5, 2.0), Some(7.0 * 86_400.0));
        assert_eq!((exhaustion_s(0.5, 0.0), exhaustion_s(-0.2, 3.0)), (None, Some(0.0)));
    }
}
