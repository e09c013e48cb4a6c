//! How `hoplog slo` prints budgets: for people, or as JSON.

use alerts::burn::{PERIOD, WINDOWS, Window};
use anyhow::Result;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::status::Status;

/// Windows whose burn rates are printed: 1h, 6h, 1d, 3d, the long ones of the alerts.
const SHOWN: [Window; 4] = [WINDOWS[2], WINDOWS[4], WINDOWS[5], WINDOWS[6]];

/// Prints where each SLO stands, and where nothing was stored of late since when, in seconds since 1970 (0: never).
///
/// # Errors
/// When it can't be written as JSON.
#[allow(clippy::print_stdout)] // the report is what was asked for
pub(super) fn statuses(statuses: &[Status], quiet_since_s: Option<u32>, as_json: bool) -> Result<()> {
    if as_json {
        let slos: Vec<_> = statuses.iter().map(as_value).collect();
        let all = json!({ "slos": slos, "quiet_since_s": quiet_since_s });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    let burns = SHOWN.map(|window| format!("{window:>6} burn", window = window.to_string())).join("");
    println!(
        "{:<22} {:>9}  {:>11} {burns}  {:>12}  state",
        "SLO", "objective", "budget left", "exhausted in"
    );
    for status in statuses {
        let none = || "-".to_owned();
        let burns = SHOWN.map(|window| {
            let rate = status.burn_rate(window).map_or_else(none, |rate| format!("{rate:.2}"));
            format!("{rate:>11}")
        });
        println!(
            "{:<22} {:>9}  {:>11} {}  {:>12}  {}",
            status.name,
            format!("{} %", status.objective_percent),
            status.budget_left().map_or_else(none, |left| format!("{:.1} %", left * 100.0)),
            burns.join(""),
            status.exhaustion_s().map_or_else(none, length),
            status.state.as_str()
        );
    }
    println!("a burn rate of 1 spends the budget in exactly {PERIOD}");
    match quiet_since_s {
        None => {}
        Some(0) => {
            println!("NOT KNOWN: nothing was ever stored. Was there no request, or is there no collector?")
        }
        Some(since_s) => {
            let since = OffsetDateTime::from_unix_timestamp(i64::from(since_s))?.format(&Rfc3339)?;
            println!(
                "NOT KNOWN since {since}: nothing was stored. Was there no request, or is there no collector?"
            );
        }
    }
    Ok(())
}

fn as_value(status: &Status) -> Value {
    let windows = status.windows.iter().map(|(window, counts)| {
        let value = json!({
            "total": counts.total, "bad": counts.bad, "burn_rate": counts.burn_rate(status.budget),
        });
        (window.to_string(), value)
    });
    json!({
        "slo": status.name, "promise": status.promise, "objective_percent": status.objective_percent,
        "state": status.state.as_str(), "budget_left": status.budget_left(),
        "exhaustion_s": status.exhaustion_s(), "windows": windows.collect::<serde_json::Map<_, _>>(),
    })
}

/// A length of time in its two largest units: `3d 4h`.
fn length(seconds: f64) -> String {
    // Budgets that last for ever are no number of days worth reading.
    if seconds > 3650.0 * 86_400.0 {
        return "> 10 years".to_owned();
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded above, and never negative
    let seconds = seconds as u64;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, _, _) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn lengths_have_two_units() {
        let all = [0.0, 61.5, 4_000.0, 300_000.0, 1e10].map(length);
        assert_eq!(all, ["0s", "1m 1s", "1h 6m", "3d 11h", "> 10 years"]);
    }
}
