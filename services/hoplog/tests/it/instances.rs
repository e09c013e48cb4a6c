//! `hoplog serve` by itself, as behind a load balancer: when it is alive, when ready, how it ends, and what two of them
//! share through PostgreSQL and Redis.

use std::collections::BTreeMap;
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
        call(self.base, key, (method, path), "application/json", body).unwrap()
    }

    /// How many links there are.
    fn links(&self, key: &str) -> u64 {
        let (status, list) = self.api(key, "GET", "/short-urls?itemsPerPage=1", "");
        assert_eq!(status, 200, "{list}");
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        list["shortUrls"]["pagination"]["totalItems"].as_u64().unwrap()
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

/// A call of the API of the shortener at this port; status and body, unless it is broken off.
fn call(
    port: u16,
    key: &str,
    (method, path): (&str, &str),
    content_type: &str,
    body: &str,
) -> Result<(u16, String), ureq::Error> {
    let request = ureq::http::Request::builder().method(method).header("X-Api-Key", key);
    let uri = format!("http://127.0.0.1:{port}/rest/v3{path}");
    let request = request.header("Content-Type", content_type).uri(uri).body(body.to_owned()).unwrap();
    let mut answer = agent().run(request)?;
    // An export of all rows is larger than what is read without being asked.
    let text = answer.body_mut().with_config().limit(64 << 20).read_to_string()?;
    Ok((answer.status().as_u16(), text))
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
    // An instance of a version whose migration nobody has run.
    let last = "(SELECT max(version) FROM _sqlx_migrations)";
    postgres.query(&url, &format!("UPDATE _sqlx_migrations SET success = false WHERE version = {last}"));
    let mut instance = place.serve();
    let why = instance.wait_for("what to do", |instance| {
        instance.ops("/readyz").err().filter(|why| why.contains("hoplog migrate"))
    });
    assert!(why.contains("schema"), "{why}");
    assert_eq!(instance.visit("/nothing"), None, "nothing is served with an older schema");
    postgres.query(&url, "UPDATE _sqlx_migrations SET success = true");
    instance.wait_for("readiness", |instance| instance.ops("/readyz").ok());
    drop(instance);

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

    // Whoever revokes a key tells them: of itself each would accept it for a while.
    let revoked = place.run("keys", &["create", "revoked"]);
    for instance in [&one, &other] {
        assert_eq!(instance.api(&revoked, "GET", "/tags", "").0, 200);
    }
    let list = place.run("keys", &["list"]);
    let id = list.lines().find(|line| line.ends_with("\trevoked")).unwrap().split('\t').next().unwrap();
    let told = told(&redis);
    place.run("keys", &["revoke", id]);
    assert_eq!(self::told(&redis), told + 1, "instances were told");
    for instance in [&mut one, &mut other] {
        let refused = |instance: &Instance| instance.api(&revoked, "GET", "/tags", "").0 == 401;
        instance.wait_for("the key to be refused", |instance| refused(instance).then_some(()));
    }

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

/// Messages that were published so far.
fn told(redis: &Redis) -> u64 {
    let statistics = redis.command(&["INFO", "commandstats"]);
    let calls =
        statistics.lines().find_map(|line| line.strip_prefix("cmdstat_publish:calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[test]
fn a_file_whose_import_was_killed_is_sent_again_on_sqlite() {
    import_is_killed(&Place::new(&[]));
}

#[test]
fn a_file_whose_import_was_killed_is_sent_again_on_postgresql() {
    let Some(postgres) = Postgres::start() else { return };
    let url = postgres.database();
    import_is_killed(&Place::new(&[("HOPLOG_SERVE__SHORTENER__STORE__POSTGRES__URL", url.as_str())]));
}

/// Sends rows with codes and without, until a process lives through it: then each is there once.
fn import_is_killed(place: &Place) {
    const ROWS: usize = 10_000;
    const KILLS: usize = 3;
    let row = |row| {
        let code = if row % 2 == 0 { format!("row{row}") } else { String::new() };
        format!("{code},https://site.example/{row}\r\n")
    };
    let file = "shortCode,longUrl\r\n".to_owned() + &(0..ROWS).map(row).collect::<String>();
    let send = |port, key: &str| call(port, key, ("POST", "/short-urls.csv"), "text/csv", &file);
    place.run("migrate", &[]);
    let key = place.run("keys", &["create", "test"]);
    let ready = || {
        let mut instance = place.serve();
        instance.wait_for("readiness", |instance| instance.ops("/readyz").ok());
        instance
    };
    let mut broken_off = 0;
    for _ in 0..KILLS {
        let mut instance = ready();
        let (port, before) = (instance.base, instance.links(&key));
        std::thread::scope(|scope| {
            let import = scope.spawn(|| send(port, &key));
            let grows =
                |instance: &Instance| (instance.links(&key) > before || import.is_finished()).then_some(());
            instance.wait_for("rows to be there", grows);
            instance.child.kill().unwrap();
            instance.child.wait().unwrap();
            broken_off += usize::from(import.join().unwrap().is_err());
        });
    }
    assert!(broken_off > 0, "each import was answered before its process was killed");

    let instance = ready();
    let (status, answer) = send(instance.base, &key).unwrap();
    assert_eq!(status, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let sum = |name: &str| answer[name].as_u64().unwrap();
    println!("{broken_off} of {KILLS} were broken off, the next made {} of {ROWS} rows", sum("created"));
    assert_eq!((&answer["complete"], sum("created") + sum("unchanged")), (&true.into(), ROWS as u64));
    let (_, export) = call(instance.base, &key, ("GET", "/short-urls.csv"), "text/csv", "").unwrap();
    // No cell of these has a separator or a quote in it.
    let export = export.replace('"', "");
    let mut lines = export.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let place_of = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let (code, url) = (place_of("shortCode"), place_of("longUrl"));
    let codes: BTreeMap<_, _> = lines.map(|row| (row[url].to_owned(), row[code].to_owned())).collect();
    assert_eq!((instance.links(&key), codes.len()), (ROWS as u64, ROWS), "each target once");
    for row in (0..ROWS).step_by(2) {
        assert_eq!(codes[&format!("https://site.example/{row}")], format!("row{row}"));
    }
}
