//! The histogram of durations with its exemplars, in OpenMetrics' text format. Written here, since the library that writes all other
//! metrics lets its collectors give no exemplars; all but those is as that writes it, which a test compares.

use std::fmt::Write as _;
use std::time::Duration;

use wide_event::latency::BOUNDS_US;

use crate::exemplars::{BUCKETS, Exemplar};

/// Its name behind the prefix.
const NAME: &str = "request_duration_seconds";
const HELP: &str = "From a request's head to the end of its answer.";

/// A histogram's numbers, as they are at this moment.
pub(crate) struct Durations {
    /// Counts of each bucket by itself.
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) sum_us: u64,
    pub(crate) exemplars: [Option<Exemplar>; BUCKETS],
}

/// Appends what stands before the histograms.
pub(crate) fn head(prefix: &str, text: &mut String) {
    // Here and below: writing to a string can't fail.
    let _ = write!(
        text,
        "# HELP {prefix}_{NAME} {HELP}\n# TYPE {prefix}_{NAME} histogram\n# UNIT {prefix}_{NAME} seconds\n"
    );
}

/// Appends the histogram of these labels.
pub(crate) fn histogram(prefix: &str, labels: &[(&str, &str)], durations: &Durations, text: &mut String) {
    let labels: Vec<_> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    let labels = labels.join(",");
    let count: u64 = durations.buckets.iter().sum();
    let _ = writeln!(text, "{prefix}_{NAME}_sum{{{labels}}} {:?}", seconds(durations.sum_us));
    let _ = writeln!(text, "{prefix}_{NAME}_count{{{labels}}} {count}");
    let mut below = 0;
    for (at, (count, exemplar)) in durations.buckets.iter().zip(&durations.exemplars).enumerate() {
        below += count;
        let bound = BOUNDS_US.get(at).map_or_else(|| "+Inf".to_owned(), |us| format!("{:?}", seconds(*us)));
        let _ = write!(text, "{prefix}_{NAME}_bucket{{le=\"{bound}\",{labels}}} {below}");
        if let Some(Exemplar { trace_id, took_us, at }) = exemplar {
            let (took, at) = (seconds(*took_us), seconds(at.0.unsigned_abs()));
            let _ = write!(text, " # {{trace_id=\"{trace_id}\"}} {took:?} {at:?}");
        }
        text.push('\n');
    }
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

/// Routes are templates of ours, but whoever uses this may name them as they like.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::{Registry, Unit};
    use wide_event::{Timestamp, TraceId};

    #[test]
    fn it_is_written_as_the_library_writes_it() {
        let labels =
            vec![("route".to_owned(), "/{code}\"\\\n".to_owned()), ("outcome".to_owned(), "ok".to_owned())];
        let family: Family<Vec<(String, String)>, Histogram> =
            Family::new_with_constructor(|| Histogram::new(BOUNDS_US.map(seconds)));
        let mut durations = Durations { buckets: [0; BUCKETS], sum_us: 0, exemplars: [None; BUCKETS] };
        for us in [100, 5_000, 250_000, 11_000_000] {
            family.get_or_create(&labels).observe(seconds(us));
            durations.buckets[crate::exemplars::bucket(us)] += 1;
            durations.sum_us += us;
        }
        let mut registry = Registry::default();
        let help = HELP.trim_end_matches('.');
        registry.sub_registry_with_prefix("hoplog").register_with_unit(
            "request_duration",
            help,
            Unit::Seconds,
            family,
        );
        let mut theirs = String::new();
        text::encode_registry(&mut theirs, &registry).unwrap();
        let mut ours = String::new();
        head("hoplog", &mut ours);
        let borrowed: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        histogram("hoplog", &borrowed, &durations, &mut ours);
        assert_eq!(ours, theirs);
    }

    #[test]
    fn an_exemplar_stands_behind_its_bucket() {
        let mut exemplars = [None; BUCKETS];
        exemplars[BUCKETS - 1] = Some(Exemplar {
            trace_id: TraceId(7),
            took_us: 12_000_001,
            at: Timestamp(1_763_764_620_123_456),
        });
        let durations = Durations { buckets: [1; BUCKETS], sum_us: 1, exemplars };
        let mut text = String::new();
        histogram("x", &[("route", "/a")], &durations, &mut text);
        let with: Vec<_> = text.lines().filter(|line| line.contains('#')).collect();
        let expected = "x_request_duration_seconds_bucket{le=\"+Inf\",route=\"/a\"} 17 \
                        # {trace_id=\"00000000000000000000000000000007\"} 12.000001 1763764620.123456";
        assert_eq!(with, [expected]);
    }
}
