//! A page, for real: errors come, Prometheus counts them by our rules, Alertmanager calls a webhook, the link in the page
//! opens on the very requests that failed, and the page ends after the fault. And both sides' SLIs are the same numbers.
//!
//! Rules and routes are the generated ones, but that their minutes last a second.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alerts::burn::WINDOWS;
use axum::Json;
use axum::extract::State;
use axum::routing::post;
use serde::Deserialize;
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use crate::harness::{Installation, agent, get, repository};

const ALERT: &str = "RedirectAvailabilityBurn";

/// Between two visits: windows are seconds long here, and should see many.
const PAUSE: Duration = Duration::from_millis(20);

/// A program that ends with the test, whatever happens.
struct Program(Child);

impl Program {
    fn start(program: &str, arguments: &[String], log: &Path) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(arguments);
        let log = std::fs::File::create(log).unwrap();
        Self(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Rules whose minutes are seconds: windows, steps, holds and intervals, and the factor that makes numbers of rates.
fn hurried(rules: &str) -> String {
    let mut rules = rules.replace(":1m]", ":1s]").replace("60 * sum_over_time", "1 * sum_over_time");
    for window in WINDOWS {
        let seconds = window.seconds / 60;
        rules = rules.replace(&format!("[{window}]"), &format!("[{seconds}s]"));
        rules = rules.replace(&format!("[{window}:"), &format!("[{seconds}s:"));
    }
    for minutes in [1, 2, 5, 30] {
        for key in ["interval", "for", "keep_firing_for"] {
            rules = rules.replace(&format!("  {key}: {minutes}m\n"), &format!("  {key}: {minutes}s\n"));
        }
    }
    rules
}

/// Prometheus and Alertmanager beside an installation, and what they told a webhook.
struct OnCall {
    prometheus: String,
    told: Arc<Mutex<Vec<Value>>>,
    _programs: [Program; 2],
    _webhook: tokio::runtime::Runtime,
    _place: TempDir,
}

impl OnCall {
    /// None, and said so, where there is no Prometheus.
    fn start(hoplog: &Installation) -> Option<Self> {
        for program in ["prometheus", "prometheus-alertmanager", "setpriv"] {
            if Command::new(program).arg("--version").output().is_err() {
                println!("NOT COVERED: a page, for real: there is no {program}");
                return None;
            }
        }
        let place = tempfile::tempdir().unwrap();
        let (webhook, told, runtime) = webhook();
        let [prometheus, alertmanager] =
            [testbed::free_port(), testbed::free_port()].map(|port| format!("127.0.0.1:{port}"));
        let programs = [
            start_alertmanager(place.path(), &alertmanager, &webhook),
            start_prometheus(place.path(), &prometheus, &alertmanager, hoplog),
        ];
        for address in [&alertmanager, &prometheus] {
            hoplog.wait_for(address, || get(&format!("http://{address}/-/ready")).ok());
        }
        let prometheus = format!("http://{prometheus}");
        Some(Self { prometheus, told, _programs: programs, _webhook: runtime, _place: place })
    }

    /// The newest notification of the alert in this state.
    fn told(&self, status: &str) -> Option<Value> {
        let told = self.told.lock().unwrap();
        let alerts = told.iter().rev().flat_map(|message| message["alerts"].as_array().unwrap());
        let mut ours = alerts
            .filter(|alert| alert["labels"]["alertname"] == ALERT && alert["labels"]["severity"] == "page");
        ours.find(|alert| alert["status"] == status).cloned()
    }

    /// The value of an expression of one series.
    fn value(&self, expr: &str) -> Option<f64> {
        let request = agent().get(format!("{}/api/v1/query", self.prometheus)).query("query", expr);
        let answer: Value =
            serde_json::from_str(&request.call().unwrap().body_mut().read_to_string().unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl OnCall {
    /// Traces that Prometheus points to from the buckets of these series.
    fn exemplars(&self, selector: &str) -> Vec<String> {
        let request = agent().get(format!("{}/api/v1/query_exemplars", self.prometheus));
        let query = format!("hoplog_request_duration_seconds_bucket{{{selector}}}");
        // From 1970 to 2286.
        let request = request.query("query", query).query("start", "0").query("end", "9999999999");
        let answer: Value =
            serde_json::from_str(&request.call().unwrap().body_mut().read_to_string().unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        let series = answer["data"].as_array().unwrap().iter();
        let exemplars = series.flat_map(|series| series["exemplars"].as_array().unwrap());
        exemplars.map(|exemplar| exemplar["labels"]["trace_id"].as_str().unwrap().to_owned()).collect()
    }
}

/// Takes what Alertmanager sends.
fn webhook() -> (String, Arc<Mutex<Vec<Value>>>, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let told = Arc::<Mutex<Vec<Value>>>::default();
    let take = async |State(told): State<Arc<Mutex<Vec<Value>>>>, Json(message): Json<Value>| {
        told.lock().unwrap().push(message);
    };
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/", post(take)).with_state(Arc::clone(&told));
    runtime.spawn(async { axum::serve(listener, router).await });
    (url, told, runtime)
}

/// With our routes and inhibitions; whoever gets pages is the webhook.
fn start_alertmanager(place: &Path, address: &str, webhook: &str) -> Program {
    let folder = repository("alerts/alertmanager");
    let config = std::fs::read_to_string(folder.join("alertmanager.yml")).unwrap();
    let (routes, _) = config.split_once("receivers:\n").unwrap();
    let routes = routes.replace("[templates/", &format!("[{}/templates/", folder.display()));
    let routes = routes
        .replace("group_wait: 20s", "group_wait: 1s")
        .replace("group_interval: 2m", "group_interval: 2s");
    let config = format!(
        "{routes}receivers:\n  - name: page\n    webhook_configs: [{{url: '{webhook}', send_resolved: true}}]\n  \
         - name: ticket\n  - name: watchdog\n  - name: nobody\n"
    );
    let file = place.join("alertmanager.yml");
    std::fs::write(&file, config).unwrap();
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.path={}", place.join("alertmanager").display()),
        format!("--web.listen-address={address}"),
        "--cluster.listen-address=".to_owned(),
    ];
    Program::start("prometheus-alertmanager", &arguments, &place.join("alertmanager.log"))
}

/// With our rules on both roles, and ClickHouse's address in the links.
fn start_prometheus(place: &Path, address: &str, alertmanager: &str, hoplog: &Installation) -> Program {
    let rules = std::fs::read_to_string(repository("alerts/prometheus/slos.yml")).unwrap();
    let clickhouse = format!("http://127.0.0.1:{}", hoplog.base + 3);
    let rules = hurried(&rules).replace("http://127.0.0.1:8123", &clickhouse);
    std::fs::write(place.join("slos.yml"), rules).unwrap();
    let job = |name: &str, port: u16| {
        format!("  - job_name: {name}\n    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n")
    };
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [slos.yml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\nscrape_configs:\n{}{}",
        job("shortener", hoplog.base + 1),
        job("collector", hoplog.base + 2)
    );
    let file = place.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", place.join("prometheus").display()),
        format!("--web.listen-address={address}"),
        "--enable-feature=exemplar-storage".to_owned(),
    ];
    Program::start("prometheus", &arguments, &place.join("prometheus.log"))
}

/// Visits a known link again and again, and between them a code that nobody has asked for yet.
fn visit(shortener: &str, end: &AtomicBool, failed: &AtomicU64) -> u64 {
    let agent = agent();
    let mut visits = 0;
    while !end.load(Ordering::Relaxed) {
        for (code, known) in [("one".to_owned(), true), (format!("never-{visits}"), false)] {
            let status = agent.get(format!("{shortener}/{code}")).call().unwrap().status().as_u16();
            match (known, status) {
                (true, 302) | (false, 404) => {}
                (false, 500..) => _ = failed.fetch_add(1, Ordering::Relaxed),
                _ => panic!("{status} for {code}"),
            }
            visits += 1;
            std::thread::sleep(PAUSE);
        }
    }
    visits
}

/// Reads of unknown codes fail while its table has another name.
fn rename(hoplog: &Installation, from: &str, to: &str) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = SqliteConnectOptions::new().filename(hoplog.data().join("links.db"));
        let mut file =
            SqliteConnection::connect_with(&options.busy_timeout(Duration::from_secs(60))).await.unwrap();
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut file).await.unwrap();
    });
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    record: Option<String>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    expr: String,
}

/// What is recorded of an SLO as a rate, as the number since the processes began.
fn counted(rules: &Rules, slo: &str, series: &str) -> String {
    let rules = rules.groups.iter().flat_map(|group| &group.rules);
    let mut ours = rules.filter(|rule| rule.record.as_deref() == Some(series) && rule.labels["slo"] == slo);
    let rate = &ours.next().unwrap().expr;
    let (rate, _) = rate.split_once("\nor\n").unwrap();
    rate.replace("rate(", "(").replace("[5m]", "")
}

#[test]
fn a_page_arrives_opens_on_the_failures_and_ends_and_both_sides_count_the_same() {
    let mut hoplog = Installation::new().up();
    let Some(on_call) = OnCall::start(&hoplog) else { return hoplog.down() };
    hoplog.link("one", "https://one.example/");
    let (end, failed) = (AtomicBool::new(false), AtomicU64::new(0));
    let shortener = hoplog.shortener();
    let (page, over) = std::thread::scope(|scope| {
        let visits = scope.spawn(|| visit(&shortener, &end, &failed));
        // Whatever fails below, the visitor ends, and so does the scope.
        let page = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            hoplog.wait_for("visits to be recorded", || {
                on_call.value("slo:total:rate5m{slo=\"redirect-availability\"} > 0")
            });
            assert!(on_call.told("firing").is_none(), "{:?}", on_call.told.lock().unwrap());
            rename(&hoplog, "links", "hidden");
            let page = hoplog.wait_for("a page", || on_call.told("firing"));
            rename(&hoplog, "hidden", "links");
            let over = hoplog.wait_for("the page to end", || on_call.told("resolved"));
            (page, over)
        }));
        end.store(true, Ordering::Relaxed);
        assert!(visits.join().unwrap() > 0);
        page.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let failed = failed.into_inner();
    assert!(failed > 0);
    let summary = page["annotations"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("Redirects fail: ") && summary.contains("28-day budget"), "{summary}");
    assert!(summary.contains("% on /{code}, version "), "{summary}");
    println!("{summary}");

    // The link of the page, opened after it ended: a row a failure, and a line with the names.
    hoplog.verified();
    let rows = get(over["annotations"]["query_url"].as_str().unwrap()).unwrap();
    assert_eq!(rows.lines().count() as u64 - 1, failed, "{rows}");
    let column = |name: &str| {
        let column = rows.lines().next().unwrap().split('\t').position(|found| found == name).unwrap();
        rows.lines().skip(1).map(|row| row.split('\t').nth(column).unwrap()).collect::<Vec<_>>()
    };
    assert!(column("outcome").iter().all(|outcome| *outcome == "server_error"), "{rows}");

    // From the graph of durations, too, one gets to those requests, and to no other.
    let (traces, stored) = (on_call.exemplars("outcome=\"server_error\""), column("trace_id"));
    assert!(!traces.is_empty() && traces.iter().all(|trace| stored.contains(&trace.as_str())), "{traces:?}");

    // Every SLI of requests, once the last scrape has seen the last of them.
    let rules: Rules =
        serde_saphyr::from_str(&std::fs::read_to_string(repository("alerts/prometheus/slos.yml")).unwrap())
            .unwrap();
    let output = hoplog.command("slo").arg("--json").output().unwrap();
    let statuses: Value = serde_json::from_slice(&output.stdout).unwrap();
    let statuses = statuses["slos"].as_array().unwrap();
    for slo in ["redirect-availability", "redirect-latency", "api-availability", "api-latency"] {
        let status = statuses.iter().find(|status| status["slo"] == slo).unwrap();
        let stored = &status["windows"]["28d"];
        for (series, what) in [("slo:total:rate5m", "total"), ("slo:bad:rate5m", "bad")] {
            let expr = counted(&rules, slo, series);
            let stored = stored[what].as_f64().unwrap();
            hoplog.wait_for(&format!("{stored} as {what} of {slo}"), || {
                // A route that nobody has asked for has no series.
                (on_call.value(&expr).unwrap_or_default() == stored).then_some(())
            });
        }
        println!("{slo}: {} of {} on both sides", stored["bad"], stored["total"]);
    }
    let bad = statuses.iter().find(|status| status["slo"] == "redirect-availability").unwrap()["windows"]["28d"]["bad"].clone();
    assert_eq!(bad.as_f64(), Some(failed as f64));
    hoplog.down();
}
