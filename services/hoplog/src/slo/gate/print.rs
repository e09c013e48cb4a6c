//! How `hoplog slo gate` says what it found: for people, or as JSON.

use anyhow::Result;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::Finding;
use super::compare::{Check, Interval, Measure};
use super::versions::Pair;

/// Prints a finding.
///
/// # Errors
/// When it can't be written as JSON.
#[allow(clippy::print_stdout)] // the report is what was asked for
pub(super) fn finding(finding: &Finding, as_json: bool) -> Result<()> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(&as_value(finding))?);
        return Ok(());
    }
    if let Some(pair) = &finding.pair {
        println!("{}", of_pair(pair)?);
        println!(
            "{:<32} {:>10} {:>10} {:>10} {:>10}  {:<28} {:>8}",
            "", "old n", "new n", "old", "new", "added, with 99 % certainty", "at most"
        );
    }
    for check in &finding.checks {
        println!("{}", of_check(check));
    }
    println!("{}: {}", finding.verdict.as_str(), finding.reason);
    Ok(())
}

fn of_pair(pair: &Pair) -> Result<String> {
    let clock = |seconds: u32| -> Result<String> {
        let at = OffsetDateTime::from_unix_timestamp(i64::from(seconds))?;
        Ok(at.format(format_description!("[year]-[month]-[day] [hour]:[minute]"))?)
    };
    let Pair { new, old, new_since_s, old_since_s, minutes } = pair;
    let beside = if new_since_s == old_since_s {
        "at the same time".to_owned()
    } else {
        format!("for as long from {}", clock(*old_since_s)?)
    };
    Ok(format!("version {new} for {minutes} min from {} UTC, against {old} {beside}", clock(*new_since_s)?))
}

fn of_check(check: &Check) -> String {
    let value = |value: f64| match check.measure {
        Measure::Microseconds => format!("{value:.0} us"),
        Measure::Share => format!("{:.3} %", value * 100.0),
    };
    let added = match check.added {
        Interval::NothingToCompare => "nothing to compare".to_owned(),
        Interval::Unknown => "not known yet".to_owned(),
        Interval::Between { low, likely, high } => {
            format!("{:+.2} % ({:+.2} … {:+.2})", likely * 100.0, low * 100.0, high * 100.0)
        }
    };
    format!(
        "{:<32} {:>10} {:>10} {:>10} {:>10}  {added:<28} {:>8}  {}",
        check.name,
        check.requests[0],
        check.requests[1],
        value(check.old),
        value(check.new),
        format!("{:.2} %", check.added_max * 100.0),
        check.verdict().as_str()
    )
}

fn as_value(finding: &Finding) -> Value {
    let pair = finding.pair.as_ref().map(|pair| {
        json!({
            "new": pair.new, "old": pair.old, "new_since_s": pair.new_since_s, "old_since_s": pair.old_since_s,
            "minutes": pair.minutes,
        })
    });
    let checks = finding.checks.iter().map(|check| {
        let added = match check.added {
            Interval::NothingToCompare | Interval::Unknown => Value::Null,
            Interval::Between { low, likely, high } => json!({"low": low, "likely": likely, "high": high}),
        };
        let unit = match check.measure {
            Measure::Microseconds => "us",
            Measure::Share => "share",
        };
        json!({
            "check": check.name, "unit": unit, "old": check.old, "new": check.new, "old_requests": check.requests[0],
            "new_requests": check.requests[1], "added": added, "added_max": check.added_max,
            "verdict": check.verdict().as_str(),
        })
    });
    json!({
        "verdict": finding.verdict.as_str(), "reason": finding.reason, "versions": pair,
        "checks": checks.collect::<Vec<_>>(),
    })
}
