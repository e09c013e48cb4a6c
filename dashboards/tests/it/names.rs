//! The day's metrics are those of the product: names and labels as `hoplog up` exports them. A metric that is renamed is
//! missed here, and the panels that ask for it with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::samples::Samples;
use crate::shapes::{METRICS, Role};
use crate::{clickhouse, counted, day, shapes, slos};

/// More than a first event takes; nothing is asserted about it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Not exported by a fresh product on one machine, and why; that a source registers them is checked with the deployment's
/// files (`xtask/tests/it/deploy.rs`).
const NOT_ON_ONE_MACHINE: [(&str, &[&str]); 3] = [
    ("with Redis", &["hoplog_shared_call_seconds", "hoplog_shared_errors_total"]),
    (
        "with Kafka",
        &[
            "hoplog_kafka_delivery_failures_total",
            "hoplog_kafka_connection_errors_total",
            "hoplog_kafka_oldest_waiting_seconds",
            "hoplog_kafka_queued_bytes",
            "hoplog_kafka_brokers",
            "hoplog_kafka_rtt_p99_seconds",
        ],
    ),
    (
        "after a failure",
        &[
            "hoplog_link_store_errors_total",
            "hoplog_breaker_transitions_total",
            "hoplog_requests_shed_total",
            "hoplog_requests_limited_total",
            "hoplog_requests_malformed_total",
            "hoplog_connections_refused_total",
            "hoplog_statistics_errors_total",
            "hoplog_event_log_append_failures_total",
            "hoplog_collector_dead_letter_events_total",
            "hoplog_collector_failures_total",
        ],
    ),
];

/// Names of metrics in what was scraped, each with the names of its labels.
fn exported(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parts = lines.filter_map(|line| {
        let (name, rest) = line.split_at(line.find(['{', ' '])?);
        let labels =
            rest.strip_prefix('{').and_then(|rest| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split("\",").filter_map(|label| label.split_once("=\""));
        Some((name, labels.map(|(name, _)| name).collect()))
    });
    parts.collect()
}

/// `hoplog up`, ended with the test.
struct Product {
    child: Child,
    base: u16,
    _place: tempfile::TempDir,
}

impl Product {
    fn start() -> Self {
        let own = std::env::current_exe().unwrap();
        let program = own.ancestors().nth(2).unwrap().join("hoplog");
        assert!(program.exists(), "no hoplog: cargo build -p hoplog, in the profile of the tests");
        let place = tempfile::tempdir().unwrap();
        // Five are taken: shortener, two of ops, ClickHouse, traces.
        let base = testbed::free_ports(5);
        let mut up = Command::new("setpriv");
        up.args(["--pdeathsig", "TERM"]).arg(program).arg("up").arg("--data").arg(place.path().join("data"));
        up.args(["--port-base", &base.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = up.stderr(File::create(place.path().join("log")).unwrap()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let ready = output.lines().any(|line| line.unwrap().trim() == "ready");
        assert!(ready, "{}", std::fs::read_to_string(place.path().join("log")).unwrap());
        Self { child, base, _place: place }
    }

    /// Some requests of each kind, until their events are stored; then what each role exports.
    fn scrapes(&self) -> BTreeMap<u16, String> {
        let agent = clickhouse::agent();
        let key = std::fs::read_to_string(self._place.path().join("data/admin.key")).unwrap();
        let url = |port: u16, path: &str| format!("http://127.0.0.1:{}{path}", self.base + port);
        let get = |url: String| {
            let request = agent.get(url).header("X-Api-Key", key.trim());
            request.call().unwrap().body_mut().read_to_string().unwrap_or_default()
        };
        for path in ["/unknown", "/", "/rest/v3/short-urls", "/rest/v3/visits"] {
            get(url(0, path));
        }
        let is_stored = || get(url(2, "/metrics")).contains("hoplog_collector_kept_events_total{");
        let begun = Instant::now();
        while !is_stored() {
            assert!(begun.elapsed() < PATIENCE, "no event was stored");
            std::thread::sleep(Duration::from_millis(50));
        }
        (1..=3).map(|port| (port, get(url(port, "/metrics")))).collect()
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // In good order, so that its children end with it.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

#[test]
fn metrics_are_those_of_the_product() {
    let product = Product::start();
    let scrapes = product.scrapes();
    let mut samples = Samples::default();
    shapes::add(&mut samples);
    let mut counted = counted::Counted::default();
    day::Day::from(0).minute(0, 10.0).iter().for_each(|request| counted.add(request));
    counted.scrape(0, &mut samples);
    let role_of = |name: &str| {
        let metric = METRICS.iter().find(|(_, metric, _, _)| name.starts_with(metric));
        metric.map_or(Role::Shortener, |(role, ..)| *role)
    };
    let absent: BTreeSet<_> = NOT_ON_ONE_MACHINE.iter().flat_map(|(_, names)| *names).copied().collect();
    let mut wrong = Vec::new();
    for (name, labels) in samples.names() {
        let port = match role_of(name) {
            Role::Shortener => 1,
            Role::Collector => 2,
            Role::Engine => 3,
        };
        let exported = exported(&scrapes[&port]);
        // Prometheus adds these two.
        let ours: BTreeSet<_> =
            labels.into_iter().filter(|label| !["instance", "job"].contains(label)).collect();
        match exported.get(name) {
            Some(found) if *found == ours => {}
            Some(found) => wrong.push(format!("{name} has {found:?}, not {ours:?}")),
            None if absent.iter().any(|absent| name.starts_with(absent)) => {}
            None => wrong.push(format!("{name} is not exported")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// What the day takes for granted of recording rules is what they record.
#[test]
fn recorded_series_are_those_of_the_rules() {
    let rules = std::fs::read_to_string(crate::repository("alerts/prometheus/slos.yml")).unwrap();
    let recorded: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    let mut samples = Samples::default();
    slos::add(&mut samples);
    for (name, labels) in samples.names().into_iter().filter(|(name, _)| *name != "ALERTS") {
        assert!(recorded.contains(name) && labels == ["slo"], "{name} is not recorded so");
    }
    let names: BTreeSet<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("slo: ")).collect();
    assert_eq!(names, slos::SLOS.iter().map(|(slo, ..)| *slo).collect());
}
