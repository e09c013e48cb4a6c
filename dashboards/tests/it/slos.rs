//! What recording rules say of the day, made from its share of bad events: with windows of up to 28 days no rule could be
//! run here. Their names are those of `alerts/prometheus/slos.yml`.

use crate::day::{MINUTES, busy, is_bad};
use crate::samples::{Samples, series};

/// Windows by name, in minutes.
const WINDOWS: [(&str, usize); 8] = [
    ("5m", 5),
    ("30m", 30),
    ("1h", 60),
    ("2h", 120),
    ("6h", 360),
    ("1d", 1440),
    ("3d", 3 * 1440),
    ("28d", 28 * 1440),
];

/// SLOs: objective, and the share of bad events in the incident; otherwise it is a tenth of what is allowed.
pub(crate) const SLOS: [(&str, f64, f64); 6] = [
    ("redirect-availability", 0.999, 0.09),
    ("redirect-latency", 0.999, 0.08),
    ("api-availability", 0.999, 0.09),
    ("api-latency", 0.99, 0.2),
    ("event-freshness", 0.99, 0.004),
    ("event-completeness", 0.9999, 0.001),
];

/// Events by second on the busiest minute.
const RATE_MAX: f64 = 4.0;

pub(crate) fn add(samples: &mut Samples) {
    for (slo, objective, in_incident) in SLOS {
        let labels = [("slo", slo)];
        let calm = (1.0 - objective) / 10.0;
        for minute in 0..MINUTES {
            let mut set = |name: &str, value: f64| samples.set(series(name, &labels), minute, value);
            let rate = busy(minute) * RATE_MAX;
            set("slo:objective:ratio", objective);
            set("slo:total:rate5m", rate);
            set("slo:bad:rate5m", rate * if is_bad(minute) { in_incident } else { calm });
            let mut burn_1h = 0.0;
            for (window, minutes) in WINDOWS {
                let bad = (0..minutes.min(minute + 1)).filter(|back| is_bad(minute - back)).count() as f64;
                let share = bad / minutes as f64;
                let ratio = share * in_incident + (1.0 - share) * calm;
                let burn = ratio / (1.0 - objective);
                set(&format!("slo:bad:ratio_{window}"), ratio);
                set(&format!("slo:burn_rate:{window}"), burn);
                match window {
                    "1h" => burn_1h = burn,
                    "28d" => {
                        set("slo:budget_left:ratio", 1.0 - burn);
                        set("slo:exhaustion:seconds", (1.0 - burn).max(0.0) * 28.0 * 86_400.0 / burn_1h);
                    }
                    _ => {}
                }
            }
        }
    }
    alert(samples, "RedirectAvailabilityBurn", "page", 3);
    alert(samples, "ApiAvailabilityBurn", "page", 3);
    alert(samples, "RedirectAvailabilityBurn", "ticket", 20);
}

/// An alert fires some minutes after things went wrong, until some minutes after they were mended.
fn alert(samples: &mut Samples, name: &str, severity: &str, late: usize) {
    let labels = [
        ("alertname", name),
        ("alertstate", "firing"),
        ("component", "redirect"),
        ("severity", severity),
        ("slo", "redirect-availability"),
    ];
    for minute in (late..MINUTES).filter(|minute| is_bad(minute - late)) {
        samples.set(series("ALERTS", &labels), minute, 1.0);
    }
}
