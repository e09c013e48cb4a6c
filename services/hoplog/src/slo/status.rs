//! Where each SLO stands: counts of all windows in one query an SLO, and what follows from them. Pure but for the query.

use std::process::ExitCode;

use alerts::burn::{self, Counts, PERIOD, THRESHOLDS, WINDOWS, Window};
use alerts::{Severity, Slo};
use anyhow::{Context as _, Result};
use clickhouse::Row;
use serde::Deserialize;
use warehouse::Warehouse;

use super::{EXIT_STOP, EXIT_WAIT, QUIET_S, now_s, report};

/// When something was last stored; 0 if never.
const STORED_UNTIL: &str = "SELECT toUInt32(max(collected_at)) AS stored_until_s FROM ingest_ledger";

/// Burn rates of an hour say how long the budget will last: shorter ones jump, longer ones come too late.
const FORECAST: Window = Window { seconds: 3600 };

/// What an SLO's budget looks like.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Status {
    pub name: String,
    pub promise: String,
    pub objective_percent: f64,
    /// Of each of [`WINDOWS`].
    pub windows: Vec<(Window, Counts)>,
    pub budget: f64,
    pub state: State,
}

/// What follows from it, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Nothing happened in the whole period that the SLO is about.
    NoEvents,
    /// Within its budget.
    Ok,
    /// Burning so that somebody should look at it in working hours.
    Ticket,
    /// Nothing is left of the budget.
    Spent,
    /// Burning so that somebody is woken.
    Page,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NoEvents => "no events",
            Self::Ok => "ok",
            Self::Ticket => "ticket",
            Self::Spent => "spent",
            Self::Page => "page",
        }
    }
}

impl Status {
    fn new(slo: &Slo, windows: Vec<(Window, Counts)>) -> Self {
        let budget = slo.objective.budget();
        let mut status = Self {
            name: slo.name.clone(),
            promise: slo.promise.clone(),
            objective_percent: slo.objective.percent(),
            windows,
            budget,
            state: State::Ok,
        };
        status.state = status.judge();
        status
    }

    fn judge(&self) -> State {
        let crossed = THRESHOLDS.iter().filter(|threshold| {
            threshold.is_crossed(self.counts(threshold.long), self.counts(threshold.short), self.budget)
        });
        let severities: Vec<_> = crossed.map(|threshold| threshold.severity).collect();
        let period = self.counts(PERIOD);
        let spent = self.budget_left().is_some_and(|left| left <= 0.0);
        if severities.contains(&Severity::Page) {
            State::Page
        } else if spent && period.bad > burn::failures_above() {
            State::Spent
        } else if !severities.is_empty() {
            State::Ticket
        } else if period.total > 0.0 {
            State::Ok
        } else {
            State::NoEvents
        }
    }

    /// Counts of a window; none of one that is not among them.
    pub(super) fn counts(&self, window: Window) -> Counts {
        self.windows.iter().find(|(known, _)| *known == window).map(|(_, counts)| *counts).unwrap_or_default()
    }

    pub(super) fn burn_rate(&self, window: Window) -> Option<f64> {
        self.counts(window).burn_rate(self.budget)
    }

    pub(super) fn budget_left(&self) -> Option<f64> {
        self.counts(PERIOD).budget_left(self.budget)
    }

    /// Until the budget is spent if the last hour goes on.
    pub(super) fn exhaustion_s(&self) -> Option<f64> {
        burn::exhaustion_s(self.budget_left()?, self.burn_rate(FORECAST)?)
    }
}

pub(super) async fn run(
    slos: &[Slo],
    service: &str,
    warehouse: &Warehouse,
    as_json: bool,
) -> Result<ExitCode> {
    let now_s = now_s()?;
    let mut statuses = Vec::with_capacity(slos.len());
    for slo in slos {
        let windows = read(slo, service, warehouse, now_s)
            .await
            .with_context(|| format!("could not count {}", slo.name))?;
        statuses.push(Status::new(slo, windows));
    }
    let stored_until_s =
        warehouse.rows::<u32>(STORED_UNTIL, &[]).await?.into_iter().next().unwrap_or_default();
    let quiet_s = now_s.saturating_sub(stored_until_s);
    report::statuses(&statuses, (quiet_s > QUIET_S).then_some(stored_until_s), as_json)?;
    Ok(if statuses.iter().any(|status| status.state >= State::Spent) {
        ExitCode::from(EXIT_STOP)
    } else if quiet_s > QUIET_S {
        ExitCode::from(EXIT_WAIT)
    } else {
        ExitCode::SUCCESS
    })
}

/// Totals and failures of each of [`WINDOWS`].
#[derive(Debug, Row, Deserialize)]
struct Sums {
    windows: Vec<(f64, f64)>,
}

async fn read(slo: &Slo, service: &str, warehouse: &Warehouse, now_s: u32) -> Result<Vec<(Window, Counts)>> {
    // Whole minutes, as the rollups have them: the one that has begun is the last of each window.
    let until_s = now_s - now_s % 60 + 60;
    let sums = WINDOWS.map(|window| {
        let since = until_s.saturating_sub(window.seconds);
        format!("(sumIf(total, minute >= toDateTime({since})), sumIf(bad, minute >= toDateTime({since})))")
    });
    let sql = format!("SELECT [{}] AS windows\nFROM (\n{}\n)", sums.join(", "), slo.sli.sql().minutes);
    let since_s = until_s.saturating_sub(PERIOD.seconds).to_string();
    let parameters = [("since_s", since_s.as_str()), ("until_s", &until_s.to_string()), ("service", service)];
    let rows = warehouse.rows::<Sums>(&sql, &parameters).await?;
    let sums = rows.into_iter().next().context("no sums")?;
    Ok(WINDOWS.into_iter().zip(sums.windows.into_iter().map(|(total, bad)| Counts { total, bad })).collect())
}

#[cfg(test)]
mod tests {
    use alerts::Slos;

    use super::*;

    fn status(of: impl Fn(Window) -> (f64, f64)) -> Status {
        let slos = Slos::built_in().unwrap();
        let windows = WINDOWS.into_iter().map(|window| {
            let (total, bad) = of(window);
            (window, Counts { total, bad })
        });
        Status::new(slos.find("redirect-availability").unwrap(), windows.collect())
    }

    #[test]
    fn states_follow_from_counts() {
        assert_eq!(status(|_| (0.0, 0.0)).state, State::NoEvents);
        let calm = status(|window| (f64::from(window.seconds) * 100.0, f64::from(window.seconds) * 0.02));
        assert_eq!(calm.state, State::Ok);
        assert!((calm.budget_left().unwrap() - 0.8).abs() < 1e-9);
        // Four fifths of the budget at a fifth of its pace: 112 days.
        assert!((calm.exhaustion_s().unwrap() / 86_400.0 - 112.0).abs() < 1e-6);
        let an_outage = status(|window| {
            let seconds = f64::from(window.seconds);
            (seconds * 100.0, seconds.min(600.0) * 50.0)
        });
        assert_eq!(an_outage.state, State::Page);
        let long_ago = status(|window| {
            let seconds = f64::from(window.seconds);
            (seconds * 100.0, if window == PERIOD { seconds * 0.2 } else { 0.0 })
        });
        assert_eq!((long_ago.state, long_ago.exhaustion_s()), (State::Spent, None));
        let slowly = status(|window| (f64::from(window.seconds) * 100.0, f64::from(window.seconds) * 0.095));
        assert_eq!(slowly.state, State::Ticket);
    }
}
