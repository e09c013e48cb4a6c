//! The command line: what can be said, and nothing of what is done about it.

use std::path::PathBuf;

use bench::Speed;
use clap::{Args, Parser, Subcommand};

/// A URL shortener whose every request leaves exactly one event, and the pipeline that brings those events to people.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run all of it on this machine: engine, collector and shortener, supervised.
    Up(Place),
    /// Run the shortener: redirects and the management API.
    Serve(Role),
    /// Run the collector: event log to ClickHouse.
    Collect(Role),
    /// Run the embedded ClickHouse behind ClickHouse's HTTP interface.
    Engine(Role),
    /// Bring the link store and ClickHouse to this version's schema.
    Migrate(Place),
    /// Prove that every event the log accepted is stored exactly once; exits with 1 where it is not.
    Verify(Verify),
    /// Send load, or replay an access log, against a running shortener.
    Load(Load),
    /// Make, list and revoke API keys.
    Keys(Keys),
}

/// Where the state is, and where the configuration.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Directory of all state.
    #[arg(long, env = "HOPLOG_DATA", default_value = ".hoplog", value_name = "DIR")]
    pub data: PathBuf,
    /// Moves the ports to N (shortener), N+1 and N+2 (ops of serve and collect) and N+3 (ClickHouse).
    #[arg(long, env = "HOPLOG_PORT_BASE", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=65_532))]
    pub port_base: Option<u16>,
    /// TOML file with settings; HOPLOG_… variables win over it. DIR/hoplog.toml is read where this is not given.
    #[arg(long, env = "HOPLOG_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A long-running role.
#[derive(Debug, Args)]
pub(crate) struct Role {
    #[command(flatten)]
    pub place: Place,
    /// End when standard input ends: set by `hoplog up`, so that no role outlives it.
    #[arg(long, hide = true)]
    pub supervised: bool,
}

/// `hoplog verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub place: Place,
    /// Wait up to this long for the collector to have read what the log holds now.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub wait_s: u64,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `hoplog load`
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The shortener.
    #[arg(long, env = "HOPLOG_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub url: String,
    /// File with the API key to make links with.
    #[arg(long, default_value = ".hoplog/admin.key", value_name = "FILE")]
    pub key_file: PathBuf,
    /// TOML file that describes the traffic; without it, a thousand requests a second for half a minute.
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub workload: Option<PathBuf>,
    /// Replay an access log in combined format, plain or gzipped.
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Pace of the replay: 1 is the log's own, 60 an hour a minute, `max` as fast as it goes.
    #[arg(long, default_value = "max", requires = "replay")]
    pub speed: Speed,
    /// Connections of the replay, and so the most requests in flight.
    #[arg(long, default_value_t = 16, requires = "replay")]
    pub connections: usize,
    /// Write which code stands for which path of the log, tab-separated.
    #[arg(long, value_name = "FILE", requires = "replay")]
    pub mapping: Option<PathBuf>,
    /// Seed of everything random, printed with the report; the same seed sends the same traffic.
    #[arg(long, conflicts_with = "replay")]
    pub seed: Option<u64>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `hoplog keys`
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub action: KeysAction,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysAction {
    /// Make a key and print it, once.
    Create {
        /// What it is for.
        name: String,
    },
    /// List the keys, without the keys themselves.
    List,
    /// Revoke a key by its id.
    Revoke {
        /// As `list` prints it.
        id: String,
    },
}
