//! `hoplog serve` by itself, as behind a load balancer: when it is alive, when ready, how it ends.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;
use testbed::Engine;

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
