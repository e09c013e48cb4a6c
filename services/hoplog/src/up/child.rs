//! One role as a child process: start, stop, and start again with backoff after it died.
//!
//! A child stops when its standard input ends, so it also stops when the supervisor is killed: nothing is left
//! behind that holds a port or a lock. What children say goes to the supervisor's own standard error.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::role::stop::{Stop, stopped};

/// The first pause after a death.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause: short enough that a repaired fault is noticed while somebody still looks.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A child that lived this long starts over with the shortest pause.
const STEADY: Duration = Duration::from_secs(30);

/// What a child is and how it ends.
pub(crate) struct Role {
    /// The subcommand.
    pub name: &'static str,
    /// Arguments after the subcommand.
    pub args: Vec<String>,
    /// How long it may take to end in good order before it is killed.
    pub stop_within: Duration,
}

impl Role {
    /// Starts it. `kill_on_drop` is deliberately off: the closed standard input ends a child in good order.
    fn spawn(&self) -> Result<Child> {
        // On Linux the running program itself, also after its file was replaced by an upgrade.
        let itself = Path::new("/proc/self/exe");
        let program = if itself.exists() { itself.to_owned() } else { std::env::current_exe()? };
        Command::new(program)
            .arg(self.name)
            .args(&self.args)
            .arg("--supervised")
            .stdin(Stdio::piped())
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            // Ctrl-C reaches the whole foreground group; children are to end one after the other instead.
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start `hoplog {}`", self.name))
    }

    /// Keeps it running until `stop` says otherwise, then ends it. What can't be started now is tried again.
    pub(crate) async fn supervise(self, stop: Stop) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let started = Instant::now();
            let ended = self.run_once(stop.clone()).await;
            if *stop.borrow() {
                return;
            }
            if started.elapsed() >= STEADY {
                backoff = BACKOFF_MIN;
            }
            self.report(ended, backoff);
            tokio::select! {
                () = sleep(backoff) => backoff = (backoff * 2).min(BACKOFF_MAX),
                () = stopped(stop.clone()) => return,
            }
        }
    }

    /// One life of the child, until it ends or is told to.
    async fn run_once(&self, stop: Stop) -> Result<ExitStatus> {
        let mut child = self.spawn()?;
        // Held here, since `wait` closes what is left in the child.
        let input = child.stdin.take();
        tracing::debug!(role = self.name, pid = child.id(), "started");
        tokio::select! {
            status = child.wait() => return status.context("can't wait for it"),
            () = stopped(stop) => {}
        }
        drop(input);
        match timeout(self.stop_within, child.wait()).await {
            Ok(status) => status.context("can't wait for it"),
            Err(_) => {
                tracing::warn!(role = self.name, "did not end in time; killing it");
                child.kill().await.context("can't kill it")?;
                child.wait().await.context("can't wait for it")
            }
        }
    }

    fn report(&self, ended: Result<ExitStatus>, backoff: Duration) {
        let pause_ms = u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX);
        match ended {
            Ok(status) => tracing::warn!(role = self.name, %status, pause_ms, "ended; starting it again"),
            Err(error) => tracing::error!(role = self.name, pause_ms, "{error:#}; trying again"),
        }
    }
}
