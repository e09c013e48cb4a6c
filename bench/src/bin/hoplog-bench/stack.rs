//! Starts and ends what is measured, one at a time, so that nothing else runs beside it. It measures nothing.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bench::Target;
use bench::connection::Connection;
use rustix::process::{Pid, Signal, kill_process};

/// A first start brings an engine and its schema up; more than this is a failure.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Longer than hoplog takes at most to write what is in memory.
const END_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Variant {
    /// `hoplog up`: shortener, collector and engine, an event for each request.
    Events,
    /// `hoplog up` with events off.
    NoEvents,
    /// `hoplog up` without spans of kept events.
    NoSpans,
    /// `hoplog up` whose table of spans is gone.
    NoTraceStore,
    /// `hoplog serve` alone: events go to the event log, and nobody reads it.
    PipelineStopped,
    /// The bare service.
    Baseline,
}

impl Variant {
    /// In the order of a round.
    pub(crate) const ALL: [Self; 6] = [
        Self::Baseline,
        Self::NoEvents,
        Self::Events,
        Self::NoSpans,
        Self::NoTraceStore,
        Self::PipelineStopped,
    ];

    /// Name in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::NoEvents => "no_events",
            Self::NoSpans => "no_spans",
            Self::NoTraceStore => "no_trace_store",
            Self::PipelineStopped => "pipeline_stopped",
            Self::Baseline => "baseline",
        }
    }
}

/// What a start needs to know.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The binary.
    pub(crate) hoplog: PathBuf,
    /// A directory for this variant's state.
    pub(crate) data: PathBuf,
    /// The variable that switches events off, as `NAME=VALUE`.
    pub(crate) events_off: String,
    /// Further settings of hoplog, as variables.
    pub(crate) settings: Vec<(String, String)>,
    /// Where standard error goes.
    pub(crate) log: PathBuf,
}

/// A running variant; killed when it is dropped without [`Running::end`].
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// The shortener.
    pub(crate) target: Target,
}

impl Running {
    /// Starts a variant and waits until it answers.
    pub(crate) async fn start(variant: Variant, setup: &Setup) -> Result<Self> {
        let base = free_ports()?;
        let mut command = match variant {
            Variant::Baseline => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["baseline", "--listen", &format!("127.0.0.1:{base}")]);
                command
            }
            Variant::PipelineStopped => hoplog("serve", setup, base),
            Variant::Events | Variant::NoEvents | Variant::NoSpans | Variant::NoTraceStore => {
                hoplog("up", setup, base)
            }
        };
        if variant == Variant::NoEvents {
            let (name, value) = setup.events_off.split_once('=').context("--events-off takes NAME=VALUE")?;
            command.env(name, value);
        }
        if variant == Variant::NoSpans {
            command.env("HOPLOG_COLLECT__COLLECTOR__SPANS", "false");
        }
        let log = std::fs::File::options().create(true).append(true).open(&setup.log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.with_context(|| format!("could not start {}", variant.name()))?;
        let target = Target { address: format!("127.0.0.1:{base}"), api_key: String::new() };
        let mut running = Self { child, target };
        let ready = match variant {
            Variant::Baseline => (base, "/any"),
            _ => (base + 1, "/readyz"),
        };
        running.wait_until_ready(ready, setup).await?;
        if variant == Variant::NoTraceStore {
            // Until the engine's next start.
            execute(base + 3, "DETACH TABLE hoplog.otel_traces").await?;
        }
        if variant != Variant::Baseline {
            let key = setup.data.join("admin.key");
            let key =
                std::fs::read_to_string(&key).with_context(|| format!("no key in {}", key.display()))?;
            key.trim().clone_into(&mut running.target.api_key);
        }
        Ok(running)
    }

    async fn wait_until_ready(&mut self, (port, path): (u16, &str), setup: &Setup) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !answers(port, path).await {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once ({status}): {}", last_lines(&setup.log));
            }
            if Instant::now() > deadline {
                bail!("it is not ready after {} s: {}", READY_WITHIN.as_secs(), last_lines(&setup.log));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Ends it as an operator would, and waits.
    pub(crate) async fn end(mut self) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("could not signal it")?;
        let deadline = Instant::now() + END_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("it did not end within {} s", END_WITHIN.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hoplog(role: &str, setup: &Setup, base: u16) -> Command {
    let mut command = Command::new(&setup.hoplog);
    command.arg(role).arg("--data").arg(&setup.data).args(["--port-base", &base.to_string()]);
    command.envs(setup.settings.iter().cloned());
    command
}

/// Whether the service on that port answers the path with something that is no failure.
async fn answers(port: u16, path: &str) -> bool {
    let ask = async {
        let mut connection = Connection::open(&format!("127.0.0.1:{port}")).await?;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
        connection.receive(false).await
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), ask).await;
    matches!(answer, Ok(Ok(answer)) if answer.status < 400)
}

/// Has ClickHouse at that port do something.
async fn execute(port: u16, sql: &str) -> Result<()> {
    let mut connection = Connection::open(&format!("127.0.0.1:{port}")).await?;
    let length = sql.len();
    let request = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{sql}");
    connection.send(request.as_bytes()).await?;
    let status = connection.receive(false).await?.status;
    if status != 200 {
        bail!("ClickHouse answered {status} to {sql}");
    }
    Ok(())
}

/// The first of five free ports in a row. Another process may take one before we do; the start then fails and says so.
fn free_ports() -> Result<u16> {
    for _ in 0..100 {
        let base = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let bound = (0..5).map(|offset| TcpListener::bind(("127.0.0.1", base.checked_add(offset)?)).ok());
        if bound.collect::<Option<Vec<_>>>().is_some() {
            return Ok(base);
        }
    }
    bail!("there are no five free ports in a row")
}

/// What it said last, for an error message.
fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
