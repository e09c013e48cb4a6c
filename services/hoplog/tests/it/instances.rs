//! `hoplog serve` by itself, as behind a load balancer: when it is alive, when ready, how it ends, and what two of them
//! share through PostgreSQL and Redis.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;
use testbed::{Engine, Postgres, Redis, RedisOptions};

use crate::harness::{PATIENCE, agent, free_ports, get, terminate};

/// A shortener's process with settings of its own.
struct Instance {
    base: u16,
    child: Child,
}

/// What instances need: a place, and ClickHouse for the schema.
struct Place {
    dir: TempDir,
    /// Kept running.
    _engine: Engine,
    environment: Vec<(String, String)>,
}

impl Place {
    fn new(settings: &[(&str, &str)]) -> Self {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::start());
        let mut environment: Vec<_> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        environment.push(("HOPLOG_WAREHOUSE__URL".to_owned(), format!("http://{}", engine.address())));
        Self { dir, _engine: engine, environment }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hoplog"));
        command.arg(name).envs(self.environment.iter().cloned());
        command.env("HOPLOG_DATA", self.dir.path().join("data"));
        command
    }

    fn run(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.command(name).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn serve(&self) -> Instance {
        let base = free_ports();
        let mut command = self.command("serve");
        command.env("HOPLOG_PORT_BASE", base.to_string()).stdin(Stdio::null());
        Instance { base, child: command.spawn().unwrap() }
    }
}

impl Instance {
    fn ops(&self, path: &str) -> Result<String, String> {
        get(&format!("http://127.0.0.1:{}{path}", self.base + 1))
    }

    /// A call of the API; status and body.
    fn api(&self, key: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        let request = ureq::http::Request::builder().method(method).header("X-Api-Key", key);
        let request = request.header("Content-Type", "application/json");
        let uri = format!("http://127.0.0.1:{}/rest/v3{path}", self.base);
        let mut answer = agent().run(request.uri(uri).body(body.to_owned()).unwrap()).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Where a visit is sent.
    fn location(&self, path: &str) -> Option<String> {
        let answer = agent().get(format!("http://127.0.0.1:{}{path}", self.base)).call().ok()?;
        Some(answer.headers().get("location")?.to_str().unwrap().to_owned())
    }

    /// The status of a visit; nothing when nobody listens.
    fn visit(&self, path: &str) -> Option<u16> {
        let answer = agent().get(format!("http://127.0.0.1:{}{path}", self.base)).call();
        answer.ok().map(|answer| answer.status().as_u16())
    }

    fn wait_for<T>(&mut self, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
            assert!(self.child.try_wait().unwrap().is_none(), "ended while waiting for {what}");
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_instance_told_to_end_is_not_ready_at_once_and_works_on_until_nobody_comes() {
    let place = Place::new(&[("HOPLOG_SERVE__SHORTENER__HTTP__DRAIN_DELAY_MS", "3000")]);
    place.run("migrate", &[]);
    let mut instance = place.serve();
    instance.wait_for("readiness", |instance| instance.ops("/readyz").ok());
    assert_eq!(instance.visit("/nothing"), Some(404));
    terminate(&instance.child);
    let why = instance.wait_for("not ready", |instance| instance.ops("/readyz").err());
    assert_eq!(why.trim(), "ending");
    assert_eq!(instance.visit("/nothing"), Some(404), "whoever has not noticed yet is served");
    assert_eq!(instance.ops("/livez").as_deref(), Ok("ok\n"), "it is alive");
    assert!(instance.child.wait().unwrap().success());
}

#[test]
fn an_instance_waits_for_its_link_store_and_listens_when_it_is_there() {
    let Some(postgres) = Postgres::start() else { return };
    let url = postgres.database();
    let place = Place::new(&[("HOPLOG_SERVE__SHORTENER__STORE__POSTGRES__URL", url.as_str())]);
    place.run("migrate", &[]);
    postgres.kill();
    let mut instance = place.serve();
    let why = instance.wait_for("a reason", |instance| {
        instance
            .ops("/readyz")
            .err()
            .filter(|why| why.contains("link store") && !why.contains("not open yet"))
    });
    assert!(!why.contains("postgres://"), "{why}");
    assert_eq!(instance.ops("/livez").as_deref(), Ok("ok\n"), "waiting is no reason to be killed");
    assert_eq!(instance.visit("/nothing"), None, "a load balancer is not to wait for it");
    postgres.restart();
    instance.wait_for("readiness", |instance| instance.ops("/readyz").ok());
    assert_eq!(instance.visit("/nothing"), Some(404));
}

#[test]
fn instances_share_links_through_postgresql_and_edits_through_redis_and_stand_without_both() {
    let (Some(postgres), Some(redis)) = (Postgres::start(), Redis::start(RedisOptions::default())) else {
        return;
    };
    let (links, shared) = (postgres.database(), redis.url());
    let place = Place::new(&[
        ("HOPLOG_SERVE__SHORTENER__STORE__POSTGRES__URL", links.as_str()),
        ("HOPLOG_SERVE__SHORTENER__REDIS__URL", shared.as_str()),
        // What one makes is known to the other by Redis's message, or not at all while this test runs.
        ("HOPLOG_SERVE__SHORTENER__CACHE__FRESH_MS", "3600000"),
    ]);
    place.run("migrate", &[]);
    let key = place.run("keys", &["create", "test"]);
    let (mut one, mut other) = (place.serve(), place.serve());
    for instance in [&mut one, &mut other] {
        instance.wait_for("readiness", |instance| instance.ops("/readyz").ok());
    }
    let body = r#"{"longUrl":"https://example.com/1","customSlug":"shared"}"#;
    assert_eq!(one.api(&key, "POST", "/short-urls", body).0, 201);
    assert_eq!(other.location("/shared").as_deref(), Some("https://example.com/1"));
    let edit = r#"{"longUrl":"https://example.com/2"}"#;
    assert_eq!(one.api(&key, "PATCH", "/short-urls/shared", edit).0, 200);
    let edited = |instance: &Instance| instance.location("/shared").filter(|url| url.ends_with("/2"));
    other.wait_for("the edit at the other one", edited);

    redis.kill();
    postgres.kill();
    for instance in [&one, &other] {
        assert_eq!(instance.location("/shared").as_deref(), Some("https://example.com/2"));
    }
    let (status, problem) = one.api(&key, "POST", "/short-urls", r#"{"longUrl":"https://example.com/3"}"#);
    assert_eq!(status, 503, "{problem}");
    postgres.restart();
    redis.restart();
    let made = one.wait_for("creation to work again", |one| {
        let (status, body) = one.api(&key, "POST", "/short-urls", r#"{"longUrl":"https://example.com/3"}"#);
        (status == 201).then_some(body)
    });
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let path = format!("/{}", made["shortCode"].as_str().unwrap());
    other.wait_for("the new link at the other one", |other| other.location(&path));
}
