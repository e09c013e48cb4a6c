//! Kafka, ClickHouse, a network between and some collectors, each a process of its own that can be killed, halted and
//! started again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use event_log::EventLogMetrics;
use event_log::kafka::{Kafka, KafkaConfig};
use tempfile::TempDir;
use testbed::{Engine, KafkaOptions, Proxy};

use crate::harness::{self, PATIENCE, free_ports, get, terminate};

/// Partitions of the topic.
pub(super) const PARTITIONS: u32 = 12;
/// Silence after which a collector counts as dead: the least that the configuration allows, so that a test of many
/// faults ends.
pub(super) const SESSION: Duration = Duration::from_secs(6);
/// How long the end of a run may take: whoever was hit last comes back, and everything is read.
const SETTLE: Duration = Duration::from_secs(300);

/// The metric that says whether a collector has work.
pub(super) const CONSUMED: &str = "hoplog_collector_consumed_messages_total";

pub(super) struct Deployment {
    pub(super) kafka: testbed::Kafka,
    pub(super) engine: Engine,
    pub(super) proxy: Proxy,
    pub(super) collectors: Vec<Collector>,
    dir: TempDir,
}

/// A collector's process, or the place where one was.
pub(super) struct Collector {
    name: String,
    base: u16,
    dir: PathBuf,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Deployment {
    /// All but the collectors, with topics and tables made. `None` where the machine has no Kafka.
    pub(super) fn start() -> Option<Self> {
        let kafka = testbed::Kafka::start(KafkaOptions::default())?;
        let engine = Engine::start();
        let proxy = Proxy::start(&engine.address());
        let dir = tempfile::tempdir().unwrap();
        let deployment = Self { kafka, engine, proxy, collectors: Vec::new(), dir };
        let migrated = deployment.command("migrate").output().unwrap();
        assert!(migrated.status.success(), "{}", said(&migrated));
        Some(deployment)
    }

    /// Settings of everything that runs here. Only collectors meet the network's faults.
    fn environment(&self, warehouse: &str) -> Vec<(String, String)> {
        [
            ("HOPLOG_EVENT_LOG", "kafka".to_owned()),
            ("HOPLOG_KAFKA__BROKERS", self.kafka.bootstrap()),
            ("HOPLOG_KAFKA__PARTITIONS", PARTITIONS.to_string()),
            ("HOPLOG_KAFKA__CONSUMER__SESSION_MS", SESSION.as_millis().to_string()),
            ("HOPLOG_WAREHOUSE__URL", format!("http://{warehouse}")),
            ("HOPLOG_WAREHOUSE__INSERT_MS_MAX", "5000".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The command `hoplog NAME` in this deployment.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hoplog"));
        command.arg(name).envs(self.environment(&self.engine.address()));
        command.env("HOPLOG_DATA", self.dir.path().join("data"));
        command
    }

    /// One more collector.
    pub(super) fn add_collector(&mut self) -> &mut Collector {
        let name = format!("collector-{}", self.collectors.len());
        let dir = self.dir.path().join(&name);
        std::fs::create_dir(&dir).unwrap();
        let environment = self.environment(&self.proxy.address());
        let mut collector = Collector { name, base: free_ports(), dir, environment, child: None };
        collector.start();
        self.collectors.push(collector);
        self.collectors.last_mut().unwrap()
    }

    /// The log as a producer sees it.
    pub(super) fn log(&self) -> Kafka {
        let brokers = self.kafka.bootstrap();
        Kafka::new(KafkaConfig { brokers, partitions: PARTITIONS, ..KafkaConfig::default() })
            .with_metrics(EventLogMetrics::default())
    }

    /// Rows of a query, past the network's faults, as tab-separated text.
    pub(super) fn query(&self, sql: &str) -> String {
        harness::query(&self.engine.address(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// One number.
    pub(super) fn number(&self, sql: &str) -> u64 {
        self.query(sql).parse().unwrap()
    }

    /// `hoplog verify` once everything is read; its report, which has to find all in order.
    pub(super) fn verified(&self) -> serde_json::Value {
        let seconds = SETTLE.as_secs().to_string();
        let output = self.command("verify").args(["--wait-s", &seconds, "--json"]).output().unwrap();
        assert!(output.status.success(), "{}\n{}", said(&output), self.logs());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until a number among a collector's metrics is as wanted.
    pub(super) fn wait_for_metric(&self, collector: usize, name: &str, wanted: impl Fn(f64) -> bool) {
        let started = Instant::now();
        while !self.collectors[collector].metric(name).is_some_and(&wanted) {
            assert!(
                started.elapsed() < PATIENCE,
                "waited in vain for {name} of collector {collector}\n{}",
                self.logs()
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// The last words of all collectors.
    pub(super) fn logs(&self) -> String {
        let tail = |collector: &Collector| {
            let log = collector.log();
            let lines: Vec<_> = log.lines().collect();
            format!("== {}\n{}\n", collector.name, lines[lines.len().saturating_sub(60)..].join("\n"))
        };
        self.collectors.iter().map(tail).collect()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Collector {
    /// Starts it, also if it has been killed; nothing if it runs.
    pub(super) fn start(&mut self) {
        if self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none()) {
            return;
        }
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hoplog"));
        command.args(["collect", "--supervised"]).envs(self.environment.iter().cloned());
        command.env("HOPLOG_DATA", &self.dir).env("HOPLOG_PORT_BASE", self.base.to_string());
        command.env("HOPLOG_SERVICE__INSTANCE", &self.name);
        if let Ok(level) = std::env::var("TEST_LOG") {
            command.env("HOPLOG_LOG", level);
        }
        // It ends when its standard input does, so also when the test is killed.
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn log_path(&self) -> PathBuf {
        Path::new(&self.dir).join("log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// As `kill -9` does.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// In good order.
    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            terminate(&child);
            let status = child.wait().unwrap();
            assert!(status.success(), "{}: {status}\n{}", self.name, self.log());
        }
    }

    /// SIGSTOP or SIGCONT.
    pub(super) fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            // One that has ended by itself can't be halted.
            let _ = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
        }
    }

    /// A sum over the labels of a gauge or counter.
    pub(super) fn metric(&self, name: &str) -> Option<f64> {
        let text = get(&format!("http://127.0.0.1:{}/metrics", self.base + 2)).ok()?;
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        });
        Some(samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.kill();
    }
}
