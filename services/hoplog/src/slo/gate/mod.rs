//! `hoplog slo gate`: whether a new version may go on. Reads what both versions did in their minutes, has it judged, prints
//! the verdict. The statistics are `compare`'s, which versions and minutes are compared is decided in `versions`.

mod compare;
mod print;
mod versions;

use std::process::ExitCode;

use alerts::{Bad, Sli, Slo};
use anyhow::{Result, bail};
use warehouse::Warehouse;

use super::{EXIT_STOP, EXIT_WAIT, now_s};
use crate::cli::Gate;
use compare::{Check, Interval, Minute};
use versions::{Choice, Pair};

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
            let mut checks = Vec::with_capacity(measured.len() + 1);
            let mut answered = Vec::new();
            for (slo, sql) in measured {
                let minutes = pair.read(warehouse, &sql).await?;
                checks.push(compare::failures(&slo.name, &minutes, options.added_failures_max / 100.0));
                // The latency of what was answered well is in the SLOs that limit it.
                if matches!(&slo.sli, Sli::Requests { bad: Bad::SlowerThanMs(_), .. }) {
                    answered.push(minutes);
                }
            }
            if !answered.is_empty() {
                let minutes = compare::merge(answered);
                checks.push(compare::latency(&minutes, options.added_latency_max / 100.0));
            }
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

/// The worst of what was checked decides; nothing is promoted before its time.
fn judge(pair: Pair, checks: Vec<Check>, options: &Gate) -> Finding {
    let of = |verdict| -> Vec<&str> {
        checks.iter().filter(|check| check.verdict() == verdict).map(|check| check.name.as_str()).collect()
    };
    let (worse, unknown) = (of(Verdict::RollBack), of(Verdict::Wait));
    let (bake, baked) = (options.bake.as_secs() / 60, u64::from(pair.minutes));
    let (verdict, reason) = if !worse.is_empty() {
        (Verdict::RollBack, format!("it is certainly worse in {}", worse.join(", ")))
    } else if baked < bake {
        (Verdict::Wait, format!("it has served for {baked} whole minutes of {bake}"))
    } else if !unknown.is_empty() {
        (Verdict::Wait, format!("there were too few requests to be certain of {}", unknown.join(", ")))
    } else if checks.iter().all(|check| matches!(check.added, Interval::NothingToCompare)) {
        (Verdict::Wait, "neither version was asked for anything that the other was asked for, too".to_owned())
    } else {
        (Verdict::Promote, "it is within all limits, with certainty".to_owned())
    };
    Finding { verdict, reason, pair: Some(pair), checks }
}
