//! Runs the product as a user does: `hoplog up` on a directory and ports of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take on a machine that is busy with something else. Never a statement about speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// One installation: its state, its ports, and its supervisor while that runs.
pub(crate) struct Installation {
    dir: TempDir,
    pub(crate) base: u16,
    pub(crate) supervisor: Option<Child>,
    /// How long the log was when that was started, bytes.
    said_before: usize,
    environment: Vec<(String, String)>,
}

impl Installation {
    /// A directory and ports, nothing started.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, base: free_ports(), supervisor: None, said_before: 0, environment: Vec::new() }
    }

    /// With a setting for everything that is started from here on.
    pub(crate) fn set(mut self, variable: &str, value: &str) -> Self {
        self.environment.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Started, and ready.
    pub(crate) fn up(mut self) -> Self {
        self.start();
        self.wait_until_ready();
        self
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn shortener(&self) -> String {
        format!("http://127.0.0.1:{}", self.base)
    }

    /// The command `hoplog NAME` on this installation's place.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hoplog"));
        command.arg(name).envs(self.environment.iter().cloned());
        command.env("HOPLOG_DATA", self.data()).env("HOPLOG_PORT_BASE", self.base.to_string());
        command
    }

    pub(crate) fn start(&mut self) {
        self.said_before = self.log().len();
        let log =
            std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = self.command("up");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.supervisor = Some(command.spawn().unwrap());
    }

    /// What supervisor and children have said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// All roles are ready, and the supervisor has said so: the children of a killed one still answer for a moment.
    pub(crate) fn wait_until_ready(&self) {
        let said = || self.log().get(self.said_before..)?.lines().any(|line| line == "ready").then_some(());
        self.wait_for("the supervisor to be ready", said);
        for port in [self.base + 1, self.base + 2] {
            self.wait_for("readiness", || get(&format!("http://127.0.0.1:{port}/readyz")).ok());
        }
    }

    /// Asks until there is an answer.
    pub(crate) fn wait_for<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let ask = || {
            ask().or_else(|| {
                let runs = self.supervisor.as_ref().is_none_or(is_running);
                assert!(runs, "ended while {what} was waited for\n{}", self.log());
                None
            })
        };
        wait_for(what, ask, || self.log())
    }

    /// The admin key.
    pub(crate) fn key(&self) -> String {
        std::fs::read_to_string(self.data().join("admin.key")).unwrap().trim().to_owned()
    }

    /// Makes a link.
    pub(crate) fn link(&self, slug: &str, target: &str) {
        let body = format!(r#"{{"longUrl":"{target}","customSlug":"{slug}"}}"#);
        let response = agent()
            .post(format!("{}/rest/v3/short-urls", self.shortener()))
            .header("X-Api-Key", &self.key())
            .header("Content-Type", "application/json")
            .send(body)
            .unwrap();
        assert!(response.status().is_success(), "{response:?}");
    }

    /// Runs a query; the answer as text without its last line's end.
    pub(crate) fn query(&self, sql: &str) -> String {
        self.try_query(sql).unwrap_or_else(|error| panic!("{sql}: {error}\n{}", self.log()))
    }

    pub(crate) fn try_query(&self, sql: &str) -> Result<String, String> {
        query(&format!("127.0.0.1:{}", self.base + 3), sql)
    }

    /// One number.
    pub(crate) fn number(&self, sql: &str) -> u64 {
        let answer = self.query(sql);
        answer.parse().unwrap_or_else(|_| panic!("{sql}: {answer}"))
    }

    /// `hoplog verify`, which waits for the collector to catch up.
    pub(crate) fn verify(&self) -> Output {
        self.command("verify").args(["--wait-s", &PATIENCE.as_secs().to_string(), "--json"]).output().unwrap()
    }

    /// `hoplog verify` of all requests that were answered so far, which has to find all in order; its report.
    pub(crate) fn verified(&self) -> serde_json::Value {
        let settled = || {
            let issued = self.metric(1, "hoplog_events_issued_total");
            let gone = ["hoplog_events_published_total", "hoplog_events_dropped_total"];
            (gone.iter().map(|name| self.metric(1, name)).sum::<u64>() == issued).then_some(())
        };
        self.wait_for("events to leave the process", settled);
        let output = self.verify();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{err}\n{}", self.log());
        serde_json::from_str(&out).unwrap()
    }

    /// One of the Prometheus counters of `serve` (port 1) or `collect` (port 2), summed over its labels.
    pub(crate) fn metric(&self, port: u16, name: &str) -> u64 {
        metric(self.base + port, name, "")
    }

    /// Ends it in good order.
    pub(crate) fn down(&mut self) {
        let Some(mut child) = self.supervisor.take() else { return };
        terminate(&child);
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if let Some(mut child) = self.supervisor.take() {
            // The children end with their supervisor.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Whether a child still runs, without waiting for it: one that has ended is a zombie until then.
fn is_running(child: &Child) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
}

/// SIGTERM, as an operator sends it.
pub(crate) fn terminate(child: &Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
}

/// An HTTP client that follows nothing and calls no status an error.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .new_agent()
}

/// The body of a 200.
pub(crate) fn get(url: &str) -> Result<String, String> {
    let mut response = agent().get(url).call().map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    if response.status() == 200 { Ok(text) } else { Err(text) }
}

/// Asks until there is an answer, or patience ends with what was `said`.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>, said: impl Fn() -> String) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}\n{}", said());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A counter or gauge of the process whose metrics are at this port, summed over the labels that hold `part`.
pub(crate) fn metric(port: u16, name: &str, part: &str) -> u64 {
    let text = get(&format!("http://127.0.0.1:{port}/metrics")).unwrap();
    let samples = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(part))
    });
    samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

/// Rows of a query of the ClickHouse at this address, as tab-separated text without the last line's end.
pub(crate) fn query(address: &str, sql: &str) -> Result<String, String> {
    let url = format!("http://{address}/?database=hoplog");
    let mut response = agent().post(url).send(sql).map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    if response.status() == 200 { Ok(text.trim_end().to_owned()) } else { Err(text) }
}

/// The first of five free ports in a row: as many as an installation takes.
pub(crate) fn free_ports() -> u16 {
    testbed::free_ports(5)
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
