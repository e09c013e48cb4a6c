//! `hoplog slo gate`: whether a new version may go on. Reads what both versions did in their minutes, has it judged, prints
//! the verdict. The statistics are `compare`'s, which versions and minutes are compared is decided in `versions`.

mod compare;
mod print;
mod versions;

use std::process::ExitCode;

use alerts::burn::THRESHOLDS;
use alerts::{Bad, Sli, Slo};
use anyhow::{Result, bail};
use warehouse::Warehouse;

use super::{EXIT_STOP, EXIT_WAIT, QUIET_S, now_s};
use crate::cli::Gate;
use compare::{Check, Minute};
use versions::{Choice, Pair};

/// The most failures that may be added where nobody says otherwise, as a share: a version that pages is stopped before.
const ADDED_MAX: f64 = 0.01;
/// How many more requests may end otherwise than well, also by their callers' fault: of that, versions that serve side by
/// side get different shares, so only what no caller can have caused counts.
const NOT_OK_ADDED_MAX: f64 = 0.05;
/// How many more look-ups may go beyond memory, once it is warm: which codes a process is asked for makes a difference, and a
/// cache that does not work one of nearly all.
const MISSES_ADDED_MAX: f64 = 0.25;

/// What follows for the new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It is no worse than the limits, with certainty.
    Promote,
    /// Too little is known.
    Wait,
    /// It is worse, with certainty.
    RollBack,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Wait => "wait",
            Self::RollBack => "roll back",
        }
    }
}

/// What the gate found.
#[derive(Debug)]
pub(super) struct Finding {
    verdict: Verdict,
    /// Why, as a sentence.
    reason: String,
    /// Versions and minutes that were compared; none where there are no two.
    pair: Option<Pair>,
    checks: Vec<Check>,
}

pub(super) async fn run(
    options: &Gate,
    slos: &[Slo],
    service: &str,
    warehouse: &Warehouse,
    as_json: bool,
) -> Result<ExitCode> {
    let measured: Vec<_> = slos.iter().filter_map(|slo| Some((slo, slo.sli.by_version()?))).collect();
    if measured.is_empty() {
        bail!("no SLO of requests was named: versions are compared by these");
    }
    let finding = match versions::choose(options, service, warehouse, now_s()?).await? {
        Choice::Wait(reason) => Finding { verdict: Verdict::Wait, reason, pair: None, checks: Vec::new() },
        Choice::Compare(pair) => {
            let checks = checks(options, &measured, &pair, service, warehouse).await?;
            judge(pair, checks, options)
        }
    };
    print::finding(&finding, as_json)?;
    Ok(match finding.verdict {
        Verdict::Promote => ExitCode::SUCCESS,
        Verdict::Wait => ExitCode::from(EXIT_WAIT),
        Verdict::RollBack => ExitCode::from(EXIT_STOP),
    })
}

/// Everything in which the two are compared.
async fn checks(
    options: &Gate,
    measured: &[(&Slo, String)],
    pair: &Pair,
    service: &str,
    warehouse: &Warehouse,
) -> Result<Vec<Check>> {
    let (mut checks, mut answered) = (Vec::new(), Vec::new());
    for (slo, sql) in measured {
        let minutes = pair.read(service, warehouse, sql).await?;
        let pages = THRESHOLDS[1].burn_rate() * slo.objective.budget();
        let added_max = options.added_failures_max.map_or(pages.min(ADDED_MAX), |percent| percent / 100.0);
        checks.push(compare::failures(&slo.name, &minutes, added_max));
        if let Some(sql) = slo.sli.not_ok_by_version() {
            let all = pair.read(service, warehouse, &sql).await?;
            checks.push(compare::failures(&format!("{}: not ok", slo.name), &all, NOT_OK_ADDED_MAX));
        }
        // The latency of what was answered well is in the SLOs that limit it.
        if matches!(&slo.sli, Sli::Requests { bad: Bad::SlowerThanMs(_), .. }) {
            if minutes.iter().any(Minute::looks_beyond_memory) {
                let name = format!("{}: not from memory", slo.name);
                checks.push(compare::misses(&name, &minutes, MISSES_ADDED_MAX));
            }
            answered.push(minutes);
        }
    }
    if !answered.is_empty() {
        checks.push(compare::latency(&compare::merge(answered), options.added_latency_max / 100.0));
    }
    Ok(checks)
}

/// The worst of what was checked decides; nothing is promoted before its time.
fn judge(pair: Pair, checks: Vec<Check>, options: &Gate) -> Finding {
    let (bake, baked) = (options.bake.as_secs() / 60, u64::from(pair.minutes));
    let names = |which: &dyn Fn(&Check) -> bool| {
        let names: Vec<_> =
            checks.iter().filter(|check| which(check)).map(|check| check.name.as_str()).collect();
        names.join(", ")
    };
    let worse = names(&|check| check.verdict() == Verdict::RollBack && (baked >= bake || !check.warms_up));
    let open = names(&|check| check.verdict() == Verdict::Wait && !check.is_no_worse());
    let (verdict, reason) = if !worse.is_empty() {
        (Verdict::RollBack, format!("it is certainly worse in {worse}"))
    } else if baked < bake {
        (Verdict::Wait, format!("it has served for {baked} whole minutes of {bake}"))
    } else if !open.is_empty() {
        (Verdict::Wait, format!("it may be worse, and there were too few requests to be certain, in {open}"))
    } else if checks.iter().all(|check| check.verdict() == Verdict::Wait) {
        (Verdict::Wait, "there were too few requests to be certain of anything".to_owned())
    } else {
        (Verdict::Promote, "it is within all limits, and nothing speaks against it".to_owned())
    };
    Finding { verdict, reason, pair: Some(pair), checks }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::compare::{Check, Interval, Measure};
    use super::*;

    fn check(low: f64, likely: f64, high: f64, warms_up: bool) -> Check {
        Check {
            name: "x".to_owned(),
            measure: Measure::Share,
            old: 0.0,
            new: 0.0,
            requests: [0, 0],
            added: Interval::Between { low, likely, high },
            added_max: 0.01,
            warms_up,
        }
    }

    #[test]
    fn the_worst_decides_and_nothing_before_its_time() {
        let (good, bad) = (check(-0.01, 0.0, 0.005, false), check(0.02, 0.03, 0.04, false));
        let (cold, quiet, open) =
            (check(0.02, 0.03, 0.04, true), check(-0.1, 0.0, 0.1, false), check(-0.1, 0.005, 0.1, false));
        let options = Gate {
            bake: Duration::from_secs(600),
            new_version: None,
            old_version: None,
            added_failures_max: None,
            added_latency_max: 15.0,
        };
        for (minutes, checks, verdict) in [
            (10, vec![&good, &good], Verdict::Promote),
            (9, vec![&good, &good], Verdict::Wait),
            (3, vec![&good, &bad], Verdict::RollBack),
            (3, vec![&good, &cold], Verdict::Wait),
            (10, vec![&good, &cold], Verdict::RollBack),
            (10, vec![&good, &quiet], Verdict::Promote),
            (10, vec![&good, &open], Verdict::Wait),
            (10, vec![&quiet, &quiet], Verdict::Wait),
            (10, vec![], Verdict::Wait),
        ] {
            let pair =
                Pair { new: "2".to_owned(), old: "1".to_owned(), new_since_s: 0, old_since_s: 0, minutes };
            let checks: Vec<Check> = checks.into_iter().cloned().collect();
            let finding = judge(pair, checks, &options);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
        }
    }
}
