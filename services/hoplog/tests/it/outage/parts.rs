//! Two instances and a collector as processes, on a PostgreSQL, a Redis, a Kafka and a ClickHouse that can be killed.
//! What is asked of them and when is the scenario's affair.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use testbed::{Engine, Kafka, KafkaOptions, Postgres, Redis, RedisOptions};
use tokio::runtime::{Builder, Runtime};

use crate::harness::{self, PATIENCE, free_ports, get, wait_for};

/// Instances behind the load.
pub(super) const INSTANCES: usize = 2;

/// Links that an instance reads from the store at once: below its connections, so that the bound can be seen there.
pub(super) const STORE_READS_MAX: u64 = 8;

/// Events that wait while Kafka is away. So few that some are dropped within seconds, and have to be counted.
const QUEUE_EVENTS_MAX: u64 = 1_024;

/// Keeps every event, so that each answer has its row.
const KEEP_ALL: &str = "[client_errors]\nkeep_max = 1000000\n[successes]\nrate = 1.0\nrare_keep = 10\n";

pub(super) struct Parts {
    pub(super) postgres: Postgres,
    pub(super) redis: Redis,
    pub(super) kafka: Kafka,
    pub(super) engine: Engine,
    pub(super) instances: Vec<Role>,
    pub(super) links: String,
    environment: Vec<(String, String)>,
    _collector: Role,
    dir: TempDir,
}

/// A process of ours, which ends with the test's.
pub(super) struct Role {
    pub(super) base: u16,
    log: PathBuf,
    child: Child,
}

impl Parts {
    /// All of it, ready, with `links` links in the store. `None` where the machine lacks a part, which is said.
    pub(super) fn start(links: u64, fresh: Duration) -> Option<Self> {
        let (postgres, redis) = (Postgres::start()?, Redis::start(RedisOptions::default())?);
        let (kafka, engine) = (Kafka::start(KafkaOptions::default())?, Engine::start());
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy.toml");
        std::fs::write(&policy, KEEP_ALL).unwrap();
        let url = postgres.database();
        let environment: Vec<_> = [
            ("HOPLOG_EVENT_LOG", "kafka".to_owned()),
            ("HOPLOG_KAFKA__BROKERS", kafka.bootstrap()),
            ("HOPLOG_KAFKA__PARTITIONS", "3".to_owned()),
            ("HOPLOG_WAREHOUSE__URL", format!("http://{}", engine.address())),
            ("HOPLOG_COLLECT__COLLECTOR__POLICY_FILE", policy.display().to_string()),
            ("HOPLOG_SERVE__EMITTER__QUEUE_EVENTS_MAX", QUEUE_EVENTS_MAX.to_string()),
            ("HOPLOG_SERVE__SHORTENER__STORE__POSTGRES__URL", url.clone()),
            ("HOPLOG_SERVE__SHORTENER__REDIS__URL", redis.url()),
            ("HOPLOG_SERVE__SHORTENER__CACHE__FRESH_MS", fresh.as_millis().to_string()),
            ("HOPLOG_SERVE__SHORTENER__CACHE__STORE_READS_MAX", STORE_READS_MAX.to_string()),
            // The machine is busy with other tests; no test is about these deadlines.
            ("HOPLOG_SERVE__SHORTENER__CACHE__STORE_WAIT_MS_MAX", "10000".to_owned()),
            ("HOPLOG_SERVE__SHORTENER__STORE__READ_MS_MAX", "10000".to_owned()),
            ("HOPLOG_SERVE__SHORTENER__STORE__POSTGRES__CONNECT_MS_MAX", "2000".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let migrated = command("migrate", &environment, &dir).output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        make_links(&url, links);
        let collector = Role::start("collect", "collector", &environment, &dir);
        let instances: Vec<_> = (0..INSTANCES)
            .map(|instance| Role::start("serve", &name_of(instance), &environment, &dir))
            .collect();
        for (role, port) in instances.iter().map(|role| (role, 1)).chain([(&collector, 2)]) {
            let ready = || get(&format!("http://127.0.0.1:{}/readyz", role.base + port)).ok();
            wait_for("readiness", ready, || role.said());
        }
        Some(Self {
            postgres,
            redis,
            kafka,
            engine,
            instances,
            links: url,
            environment,
            _collector: collector,
            dir,
        })
    }

    /// One of an instance's counters or gauges, summed over the labels that hold `part`.
    pub(super) fn metric(&self, instance: usize, name: &str, part: &str) -> u64 {
        let port = self.instances[instance].base + 1;
        harness::metric(port, name, part)
    }

    /// Waits until no instance's circuit breaker is open.
    pub(super) fn wait_until_asked_again(&self) {
        let closed =
            || (0..INSTANCES).all(|at| self.metric(at, "hoplog_breaker_state", "") == 0).then_some(());
        wait_for("closed breakers", closed, || self.said());
    }

    /// Rows of a query of ClickHouse, as tab-separated text.
    pub(super) fn query(&self, sql: &str) -> String {
        harness::query(&self.engine.address(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// `hoplog verify` once everything has left the instances and is read; its report, which has to find all in order.
    pub(super) fn verified(&self) -> serde_json::Value {
        let count = |at, name| self.metric(at, name, "");
        let is_out = |at| {
            count(at, "hoplog_events_published_total") + count(at, "hoplog_events_dropped_total")
                == count(at, "hoplog_events_issued_total")
        };
        wait_for("events to leave", || (0..INSTANCES).all(is_out).then_some(()), || self.said());
        let mut verify = command("verify", &self.environment, &self.dir);
        let output = verify.args(["--wait-s", &PATIENCE.as_secs().to_string(), "--json"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&said).unwrap()
    }

    /// What the instances have said.
    pub(super) fn said(&self) -> String {
        self.instances.iter().map(Role::said).collect()
    }
}

impl Role {
    fn start(role: &str, name: &str, environment: &[(String, String)], dir: &TempDir) -> Self {
        let (base, log) = (free_ports(), dir.path().join(format!("{name}.log")));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = command(role, environment, dir);
        command.arg("--supervised").env("HOPLOG_PORT_BASE", base.to_string());
        command.env("HOPLOG_SERVICE__INSTANCE", name);
        command.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
        Self { base, log, child: command.spawn().unwrap() }
    }

    fn said(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        format!("== {}\n{}\n", self.log.display(), lines[lines.len().saturating_sub(60)..].join("\n"))
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an instance calls itself in its events.
pub(super) fn name_of(instance: usize) -> String {
    format!("web-{instance}")
}

/// A runtime for a few statements of SQL.
pub(super) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn command(role: &str, environment: &[(String, String)], dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoplog"));
    command.arg(role).envs(environment.iter().cloned()).env("HOPLOG_DATA", dir.path().join("data"));
    command
}

/// Links `l0`, `l1` and so on, as if they had been there for long.
fn make_links(url: &str, links: u64) {
    let made = "INSERT INTO links (created_at, target_hash, code, target)
                SELECT 1700000000, md5(number::text)::uuid, 'l' || number, 'https://example.com/' || number
                FROM generate_series(0, $1 - 1) AS number";
    runtime().block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query(made).bind(i64::try_from(links).unwrap()).execute(&mut connection).await.unwrap();
        sqlx::query("ANALYZE links").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}
