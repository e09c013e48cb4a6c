//! What processes export besides their requests: which metric, with which labels, and how it goes on a day with an
//! incident. `names` holds names and labels against a running product.

use crate::day::{INSTANCES, MINUTES, busy, is_bad};
use crate::samples::{Samples, series};

/// Which process exports a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Shortener,
    Collector,
    Engine,
}

impl Role {
    /// Labels that Prometheus adds, one pair a process.
    fn processes(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Shortener => &[("shortener", "shortener-1:8081"), ("shortener", "shortener-2:8081")],
            Self::Collector => &[("collector", "collector-1:8082")],
            Self::Engine => &[("clickhouse", "clickhouse:8123")],
        }
    }
}

/// How a metric goes: on an ordinary minute, and in the incident.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// What it is.
    Gauge(f64, f64),
    /// By how much it grows.
    Counter(f64, f64),
    /// How many observations it gets, and what is typical in seconds, with these bounds.
    Histogram(&'static [f64], f64, (f64, f64)),
}
use Role::{Collector, Engine, Shortener};
use Shape::{Counter, Gauge, Histogram};

/// A metric: who, name, label with its values, how it goes.
pub(crate) type Metric = (Role, &'static str, &'static [&'static [(&'static str, &'static str)]], Shape);

/// No label of its own.
const PLAIN: &[&[(&str, &str)]] = &[&[]];
const CALLS: &[&[(&str, &str)]] = &[&[("call", "find")], &[("call", "create")], &[("call", "list")]];
const SHARED: &[&[(&str, &str)]] = &[&[("call", "get")], &[("call", "put")], &[("call", "take")]];
const CLIENTS: &[&[(&str, &str)]] = &[&[("client", "producer")]];
const TABLES: &[&[(&str, &str)]] =
    &[&[("table", "requests")], &[("table", "clicks")], &[("table", "ingest_ledger")]];
const REASONS: &[&[(&str, &str)]] =
    &[&[("reason", "queue_full")], &[("reason", "queue_full_failure")], &[("reason", "shutdown")]];

const STORE_S: &[f64] = &[2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 1.0, 5.0];
const SHARED_S: &[f64] = &[5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 2.5e-2, 0.1];
const PUBLISH_S: &[f64] = &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
const STATISTICS_S: &[f64] = &[2e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 3.0];
const FRESH_S: &[f64] = &[0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 10.0, 30.0, 300.0, 3600.0];
const INSERT_S: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

#[rustfmt::skip]
pub(crate) const METRICS: &[Metric] = &[
    (Shortener, "hoplog_link_lookups_total", &[&[("tier", "l1")], &[("tier", "redis")], &[("tier", "store")], &[("tier", "stale")], &[("tier", "negative")]], Counter(30.0, 25.0)),
    (Shortener, "hoplog_link_lookups_coalesced_total", PLAIN, Counter(1.0, 20.0)),
    (Shortener, "hoplog_link_refreshes_total", PLAIN, Counter(4.0, 1.0)),
    (Shortener, "hoplog_link_cache_entries", PLAIN, Gauge(400.0, 380.0)),
    (Shortener, "hoplog_link_store_call_seconds", CALLS, Histogram(STORE_S, 20.0, (2e-4, 0.6))),
    (Shortener, "hoplog_link_store_errors_total", &[&[("kind", "store_timeout")], &[("kind", "store_breaker_open")]], Counter(0.0, 12.0)),
    (Shortener, "hoplog_link_store_open", PLAIN, Gauge(1.0, 1.0)),
    (Shortener, "hoplog_store_pool_connections", &[&[("pool", "primary"), ("state", "busy")], &[("pool", "primary"), ("state", "idle")]], Gauge(1.0, 8.0)),
    (Shortener, "hoplog_store_pool_connections_max", &[&[("pool", "primary")]], Gauge(8.0, 8.0)),
    (Shortener, "hoplog_data_disk_available_bytes", PLAIN, Gauge(6e10, 6e10)),
    (Shortener, "hoplog_data_disk_size_bytes", PLAIN, Gauge(1e11, 1e11)),
    (Shortener, "hoplog_spool_disk_max_bytes", PLAIN, Gauge(8e9, 8e9)),
    (Shortener, "hoplog_breaker_state", &[&[("dependency", "store")], &[("dependency", "store_writes")], &[("dependency", "redis")]], Gauge(0.0, 2.0)),
    (Shortener, "hoplog_breaker_transitions_total", &[&[("dependency", "store"), ("to", "open")]], Counter(0.0, 1.0)),
    (Shortener, "hoplog_shared_call_seconds", SHARED, Histogram(SHARED_S, 40.0, (2e-4, 4e-4))),
    (Shortener, "hoplog_shared_errors_total", &[&[("kind", "shared_timeout")]], Counter(0.0, 2.0)),
    (Shortener, "hoplog_changes_heard_total", PLAIN, Counter(2.0, 1.0)),
    (Shortener, "hoplog_changes_unannounced_total", PLAIN, Counter(0.0, 1.0)),
    (Shortener, "hoplog_requests_shed_total", &[&[("limiter", "in_flight")]], Counter(0.0, 4.0)),
    (Shortener, "hoplog_requests_limited_total", &[&[("limiter", "visits")]], Counter(0.2, 0.3)),
    (Shortener, "hoplog_requests_malformed_total", &[&[("kind", "head_timeout")]], Counter(0.1, 0.1)),
    (Shortener, "hoplog_requests_in_flight", PLAIN, Gauge(1.0, 180.0)),
    (Shortener, "hoplog_connections_open", PLAIN, Gauge(40.0, 220.0)),
    (Shortener, "hoplog_connections_accepted_total", PLAIN, Counter(20.0, 90.0)),
    (Shortener, "hoplog_connections_refused_total", &[&[("reason", "client")]], Counter(0.1, 0.2)),
    (Shortener, "hoplog_statistics_query_seconds", PLAIN, Histogram(STATISTICS_S, 3.0, (2e-2, 4e-2))),
    (Shortener, "hoplog_statistics_errors_total", &[&[("kind", "timeout")]], Counter(0.0, 0.5)),
    (Shortener, "hoplog_event_log_appended_events_total", PLAIN, Counter(100.0, 100.0)),
    (Shortener, "hoplog_event_log_append_failures_total", &[&[("reason", "timeout")]], Counter(0.0, 0.2)),
    (Shortener, "hoplog_publisher_append_seconds", PLAIN, Histogram(PUBLISH_S, 50.0, (3e-3, 5e-3))),
    (Shortener, "hoplog_publisher_delay_seconds", PLAIN, Histogram(PUBLISH_S, 50.0, (0.1, 0.2))),
    (Shortener, "hoplog_spool_disk_bytes", PLAIN, Gauge(4e6, 6e6)),
    (Shortener, "hoplog_events_issued_total", PLAIN, Counter(100.0, 100.0)),
    (Shortener, "hoplog_events_published_total", PLAIN, Counter(100.0, 99.0)),
    (Shortener, "hoplog_events_dropped_total", REASONS, Counter(0.0, 0.3)),
    (Shortener, "hoplog_queue_depth_events", PLAIN, Gauge(3.0, 900.0)),
    (Shortener, "hoplog_kafka_delivery_seconds", PLAIN, Histogram(PUBLISH_S, 50.0, (3e-3, 5e-3))),
    (Shortener, "hoplog_kafka_delivery_failures_total", &[&[("reason", "timeout")]], Counter(0.0, 0.2)),
    (Shortener, "hoplog_kafka_connection_errors_total", &[&[("client", "producer"), ("reason", "transport")]], Counter(0.0, 0.1)),
    (Shortener, "hoplog_kafka_oldest_waiting_seconds", CLIENTS, Gauge(0.0, 0.4)),
    (Shortener, "hoplog_kafka_queued_bytes", CLIENTS, Gauge(2e3, 9e4)),
    (Shortener, "hoplog_kafka_brokers", &[&[("client", "producer"), ("state", "up")]], Gauge(3.0, 3.0)),
    (Shortener, "hoplog_kafka_rtt_p99_seconds", CLIENTS, Gauge(2e-3, 4e-3)),
    (Collector, "hoplog_collector_gate_open", PLAIN, Gauge(1.0, 1.0)),
    (Collector, "hoplog_collector_lag_seconds", &[&[("partition", "0")], &[("partition", "1")]], Gauge(0.6, 3.0)),
    (Collector, "hoplog_collector_freshness_seconds", PLAIN, Histogram(FRESH_S, 100.0, (0.8, 1.4))),
    (Collector, "hoplog_collector_oldest_intent_seconds", PLAIN, Gauge(0.1, 0.4)),
    (Collector, "hoplog_collector_stalled_seconds", PLAIN, Gauge(0.0, 0.4)),
    (Collector, "hoplog_collector_ranges_total", PLAIN, Counter(55.0, 50.0)),
    (Collector, "hoplog_collector_replayed_ranges_total", PLAIN, Counter(0.0, 0.1)),
    (Collector, "hoplog_collector_events_total", PLAIN, Counter(200.0, 198.0)),
    (Collector, "hoplog_collector_kept_events_total", &[&[("reason", "failure")], &[("reason", "client_error")], &[("reason", "base")]], Counter(4.0, 30.0)),
    (Collector, "hoplog_collector_sampled_out_events_total", PLAIN, Counter(180.0, 150.0)),
    (Collector, "hoplog_collector_dead_letter_events_total", &[&[("reason", "malformed")]], Counter(0.0, 0.1)),
    (Collector, "hoplog_collector_insert_rows_total", TABLES, Counter(40.0, 60.0)),
    (Collector, "hoplog_collector_insert_duration_seconds", TABLES, Histogram(INSERT_S, 55.0, (0.02, 0.05))),
    (Collector, "hoplog_collector_failures_total", &[&[("step", "insert"), ("class", "retry")]], Counter(0.0, 0.2)),
    (Collector, "hoplog_verify_findings", PLAIN, Gauge(0.0, 0.0)),
    (Collector, "hoplog_verify_missing_numbers", PLAIN, Gauge(0.0, 18.0)),
    (Collector, "hoplog_verify_lost_messages", PLAIN, Gauge(0.0, 0.0)),
    (Collector, "hoplog_verify_lost_rows", PLAIN, Gauge(0.0, 0.0)),
    (Collector, "hoplog_verify_repeated_rows", PLAIN, Gauge(0.0, 0.0)),
    (Collector, "hoplog_verify_unaccounted_events", PLAIN, Gauge(0.0, 0.0)),
    (Engine, "hoplog_engine_queries_running", PLAIN, Gauge(0.0, 2.0)),
];

/// Adds a day of all of them.
pub(crate) fn add(samples: &mut Samples) {
    for (role, name, label_sets, shape) in METRICS {
        for (job, instance) in role.processes() {
            for labels in *label_sets {
                let labels = [labels, &[("instance", *instance), ("job", *job)][..]].concat();
                add_series(samples, name, &labels, *shape);
            }
        }
    }
}

fn add_series(samples: &mut Samples, name: &str, labels: &[(&str, &str)], shape: Shape) {
    let (mut total, mut sum) = (0.0, 0.0);
    let mut buckets = Vec::new();
    for minute in 0..MINUTES {
        let pick = |(calm, bad): (f64, f64)| if is_bad(minute) { bad } else { calm };
        match shape {
            Gauge(calm, bad) => samples.set(series(name, labels), minute, pick((calm, bad))),
            Counter(calm, bad) => {
                total += pick((calm, bad)) * busy(minute);
                samples.set(series(name, labels), minute, total.floor());
            }
            Histogram(bounds, count, typical_s) => {
                let (count, typical_s) = (count * busy(minute), pick(typical_s));
                buckets.resize(bounds.len(), 0.0);
                for (bucket, bound) in buckets.iter_mut().zip(bounds) {
                    // Half of them below what is typical, and a tail above.
                    *bucket += count / (1.0 + (typical_s / bound).powi(2));
                }
                (total, sum) = (total + count, sum + count * typical_s);
                histogram(
                    samples,
                    name,
                    labels,
                    minute,
                    bounds.iter().zip(buckets.iter().copied()),
                    (total, sum),
                );
            }
        }
    }
}

/// A histogram's series at a minute: `buckets` are cumulative, bound by bound; then all observations and their sum.
pub(crate) fn histogram<'b>(
    samples: &mut Samples,
    name: &str,
    labels: &[(&str, &str)],
    minute: usize,
    buckets: impl Iterator<Item = (&'b f64, f64)>,
    (count, sum): (f64, f64),
) {
    let bucket = |bound: &str| series(&format!("{name}_bucket"), &[labels, &[("le", bound)]].concat());
    for (bound, below) in buckets {
        samples.set(bucket(&format!("{bound:?}")), minute, below.floor());
    }
    samples.set(bucket("+Inf"), minute, count.floor());
    samples.set(series(&format!("{name}_count"), labels), minute, count.floor());
    samples.set(series(&format!("{name}_sum"), labels), minute, sum);
}

/// The process as Prometheus names it, for one that events name.
pub(crate) fn process(instance: usize) -> String {
    format!("{}:8081", INSTANCES[instance])
}
