//! The result, for scripts and for people.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Options;
use crate::counters::Counters;
use crate::measure::{Measured, State};
use crate::topic::Topic;

/// All that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) measured: Vec<Measured>,
    /// Requests that were redirected.
    pub(crate) requests: u64,
    /// Requests that were refused.
    pub(crate) refused: u64,
    pub(crate) counters: Counters,
    pub(crate) topic: Topic,
}

impl Found {
    /// Medians of the rounds, and what became of the events.
    pub(crate) fn summary(&self, options: &Options) -> Value {
        json!({
            "connections": options.connections,
            "seconds": options.seconds,
            "open_loop_rate_per_s": options.rate,
            "failures_per_s": options.failures_per_s,
            "states": State::ALL.map(|state| self.state(state)),
            "failures": { "answered": self.refused, "in_topic": self.topic.refused },
            "events": {
                "requests": self.requests + self.refused,
                "published": self.counters.published,
                "dropped": self.counters.dropped,
                "in_topic": self.topic.events,
            },
        })
    }

    fn state(&self, state: State) -> Value {
        let (rates, lates) = (self.of(state, throughput), self.of(state, p99));
        let running = (median(self.of(State::Running, throughput)), median(self.of(State::Running, p99)));
        let (rate, late) = (median(rates.clone()), median(lates.clone()));
        let thousandths = |value: f64| (value * 1000.0).round() / 1000.0;
        let measured = || self.measured.iter().filter(|one| one.state == state);
        let mut dropped = BTreeMap::<&str, u64>::new();
        for (reason, count) in measured().flat_map(|one| &one.dropped) {
            *dropped.entry(reason).or_default() += count;
        }
        json!({
            "state": state.name(),
            "requests_per_s": rate,
            "requests_per_s_rounds": rates,
            "p99_us": late,
            "p99_us_rounds": lates,
            "throughput_to_running": thousandths(rate / running.0),
            "p99_to_running": thousandths(late / running.1),
            "failures": measured().map(|one| one.failures).sum::<u64>(),
            "dropped": dropped,
            "kept_up": measured().map(|one| one.open.kept_up).collect::<Vec<_>>(),
        })
    }

    fn of(&self, state: State, value: fn(&Measured) -> f64) -> Vec<f64> {
        self.measured.iter().filter(|one| one.state == state).map(value).collect()
    }
}

fn throughput(one: &Measured) -> f64 {
    one.closed.rate_per_s.round()
}

#[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^53")]
fn p99(one: &Measured) -> f64 {
    one.open.latency_us.p99 as f64
}

/// The middle one; of an even number, the upper of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The same for people.
pub(crate) fn table(summary: &Value) -> String {
    let row = |cells: [String; 6]| {
        let [state, rate, p99, rate_ratio, p99_ratio, dropped] = cells;
        format!("{state:<9}{rate:>12}{p99:>10}{rate_ratio:>22}{p99_ratio:>16}  {dropped}")
    };
    let head =
        ["Kafka", "requests/s", "p99 µs", "throughput / running", "p99 / running", "dropped by reason"];
    let mut lines = vec![row(head.map(str::to_owned))];
    for one in summary["states"].as_array().into_iter().flatten() {
        let cell = |name: &str| one[name].to_string();
        let name = one["state"].as_str().unwrap_or_default().to_owned();
        let ratios = (cell("throughput_to_running"), cell("p99_to_running"));
        lines.push(row([name, cell("requests_per_s"), cell("p99_us"), ratios.0, ratios.1, cell("dropped")]));
    }
    lines.push(format!("failures: {}", summary["failures"]));
    lines.push(format!("events: {}", summary["events"]));
    lines.join("\n")
}
