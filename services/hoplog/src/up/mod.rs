//! `hoplog up`: all roles on one machine, as child processes of this one.
//!
//! The order of starting is the order of need: engine, schema, collector, shortener; the order of ending is the
//! order of flow, so that what is in memory comes through. The supervisor holds no state but a lock.

mod child;
mod ready;

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use shortener::store::LinkStore;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::cli::Place;
use crate::config::{Config, PROBE_TOKEN_FILE};
use crate::role::migrate;
use crate::role::stop::{self, Stop, stopped};
use crate::secret_file;
use child::Role;
use ready::wait_until_ready;

/// Longer than a role's own deadline for flushing, so that a kill is the exception.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// How long a port may be in use before that is worth a word.
const PORT_PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at a port in use.
const PORT_POLL: Duration = Duration::from_millis(100);

/// Attempts at the schema before the start is given up.
const MIGRATE_ATTEMPTS: usize = 5;

/// One supervised role: tell it to stop, then wait for its end.
struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(name: &'static str, place: &Place) -> Self {
        let (stop, stopped) = watch::channel(false);
        let role = Role { name, args: arguments(place), stop_within: STOP_WITHIN };
        Self { stop, task: tokio::spawn(role.supervise(stopped)) }
    }

    async fn end(self) {
        // Nobody listening means that it has ended.
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a supervising task broke");
        }
    }
}

/// What the children are told of where things are; the environment they inherit.
fn arguments(place: &Place) -> Vec<String> {
    let mut arguments = vec!["--data".to_owned(), place.data.display().to_string()];
    if let Some(base) = place.port_base {
        arguments.extend(["--port-base".to_owned(), base.to_string()]);
    }
    if let Some(config) = &place.config {
        arguments.extend(["--config".to_owned(), config.display().to_string()]);
    }
    arguments
}

/// Runs everything until a signal ends it.
///
/// # Errors
/// When the directory is in use, or a part can't be started for a reason that time will not mend.
pub(crate) async fn run(place: Place, config: Config) -> Result<ExitCode> {
    let _lock = lock(&place.data)?;
    let stop = stop::listen(false).context("can't catch signals")?;
    if !ready_or_stopped(free_ports(&config), &stop).await {
        return Ok(ExitCode::SUCCESS);
    }
    say("starting the embedded ClickHouse …");
    let mut running = vec![Running::start("engine", &place)];
    let outcome = start_rest(&place, &config, &mut running, stop.clone()).await;
    if let Ok(true) = outcome {
        announce(&place, &config);
        stopped(stop).await;
        say("ending: what is in memory is written first …");
    }
    while let Some(role) = running.pop() {
        role.end().await;
    }
    outcome.map(|_| ExitCode::SUCCESS)
}

/// Starts what comes after the engine; `false` where a signal came first.
async fn start_rest(place: &Place, config: &Config, running: &mut Vec<Running>, stop: Stop) -> Result<bool> {
    if !ready_or_stopped(wait_until_ready(config.engine.listen, "/ping"), &stop).await {
        return Ok(false);
    }
    say("bringing link store and ClickHouse to this version's schema …");
    let migrated = async {
        let store = migrate_with_patience(config).await?;
        migrate::ensure_admin_key(store.as_ref(), &place.data.join("admin.key")).await?;
        // 122 random bits. The roles read it when they start.
        secret_file::write_new(&place.data.join(PROBE_TOKEN_FILE), &Uuid::new_v4().simple().to_string())?;
        store.close().await;
        anyhow::Ok(())
    };
    tokio::select! {
        migrated = migrated => migrated?,
        () = stopped(stop.clone()) => return Ok(false),
    }
    say("starting collector and shortener …");
    running.push(Running::start("collect", place));
    running.push(Running::start("serve", place));
    let both = async {
        tokio::join!(
            wait_until_ready(config.collect.ops_listen, "/readyz"),
            wait_until_ready(config.serve.ops_listen, "/readyz"),
        );
    };
    Ok(ready_or_stopped(both, &stop).await)
}

/// Waits until nobody else has one of our ports: what a killed predecessor's children still hold is free in a moment,
/// and another ClickHouse on ours would be taken for our own.
async fn free_ports(config: &Config) {
    let (serve, collect) = (&config.serve, &config.collect);
    let addresses = [serve.listen, serve.ops_listen, collect.ops_listen, config.engine.listen];
    let traces = collect.traces.enabled.then_some(collect.traces.listen);
    let mut said = Vec::new();
    for address in addresses.into_iter().chain(traces) {
        let started = Instant::now();
        while TcpListener::bind(address).await.is_err() {
            if started.elapsed() > PORT_PATIENCE && !said.contains(&address) {
                tracing::error!(%address, "in use by another program; end that, or move all ports with --port-base");
                said.push(address);
            }
            tokio::time::sleep(PORT_POLL).await;
        }
    }
}

/// The engine may die and come back meanwhile; what fails again and again is not its fault.
async fn migrate_with_patience(config: &Config) -> Result<Arc<dyn LinkStore>> {
    for _ in 1..MIGRATE_ATTEMPTS {
        match migrate::run(config).await {
            Ok(store) => return Ok(store),
            Err(error) => tracing::warn!("{error:#}; trying again"),
        }
        wait_until_ready(config.engine.listen, "/ping").await;
    }
    migrate::run(config).await
}

async fn ready_or_stopped(ready: impl Future<Output = ()>, stop: &Stop) -> bool {
    tokio::select! {
        () = ready => true,
        () = stopped(stop.clone()) => false,
    }
}

/// Makes the directory and takes it for this process; the lock goes with the process, however it ends.
fn lock(data: &Path) -> Result<File> {
    std::fs::create_dir_all(data)
        .with_context(|| format!("can't make the data directory {}", data.display()))?;
    let path = data.join("hoplog.lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("can't open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            bail!(
                "another `hoplog up` (process {}) already runs on {}; stop it, or choose another directory with --data",
                holder.trim(),
                data.display()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("can't lock {}", path.display()));
        }
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .context("can't write the lock file")?;
    Ok(file)
}

/// Says where to look next, once all of it can be looked at.
fn announce(place: &Place, config: &Config) {
    let serve = config.serve.listen;
    let key_file = place.data.join("admin.key");
    let key_file = key_file.display();
    let engine = config.engine.listen;
    let traces = match &config.collect.traces {
        traces if traces.enabled => format!("http://{}  (OTLP, gRPC and HTTP)", traces.listen),
        _ => "off".to_owned(),
    };
    say(&format!(
        "ready

  shortener   http://{serve}
  ClickHouse  http://{engine}  (database hoplog)
  traces      {traces}
  ops         http://{}/metrics  http://{}/metrics
  admin key   {key_file}

Make a first link, follow it, and look at its event:

  curl -s http://{serve}/rest/v3/short-urls -H \"X-Api-Key: $(cat {key_file})\" \\
       -H 'Content-Type: application/json' -d '{{\"longUrl\":\"https://www.rust-lang.org/\",\"customSlug\":\"rust\"}}'
  curl -si http://{serve}/rust
  curl -s 'http://{engine}/?database=hoplog' -d 'SELECT ts, request_id, outcome, code, duration_us FROM requests ORDER BY ts DESC LIMIT 5 FORMAT PrettyCompact'

Ctrl-C ends it; the state stays in {}.",
        config.serve.ops_listen,
        config.collect.ops_listen,
        place.data.display(),
    ));
}

/// Tells the person who started it; not a log line. Whoever no longer listens, as `grep -q ready` does, ends nothing by it.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
