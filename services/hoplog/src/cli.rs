//! The command line: what can be said, and nothing of what is done about it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bench::Speed;
use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Bring the link store and ClickHouse to this version's schema, and make Kafka's topics where that is the event log.
    Migrate(Place),
    /// Prove that every event the log accepted is stored exactly once; exits with 1 where it is not.
    Verify(Verify),
    /// List, show, repair and send again what could not be stored.
    Dlq(Dlq),
    /// Send load, or replay an access log, against a running shortener.
    Load(Load),
    /// Make a link, follow it, and wait for the event that this leaves; exits with 1 where one of that fails.
    Probe(Probe),
    /// Say from ClickHouse alone how much of each error budget is left and how fast it burns, or whether a new version may
    /// go on. Exits with 0 to go on, 3 to wait, 4 to stop.
    Slo(Slo),
    /// Make, list, rotate and revoke API keys.
    Keys(Keys),
}

/// Where the state is, and where the configuration.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Directory of all state.
    #[arg(long, global = true, env = "HOPLOG_DATA", default_value = ".hoplog", value_name = "DIR")]
    pub data: PathBuf,
    /// Moves the ports to N (shortener), N+1 and N+2 (ops of serve and collect), N+3 (ClickHouse) and N+4 (OTLP).
    #[arg(long, global = true, env = "HOPLOG_PORT_BASE", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=65_531))]
    pub port_base: Option<u16>,
    /// TOML file with settings; HOPLOG_… variables win over it. DIR/hoplog.toml is read where this is not given.
    #[arg(long, global = true, env = "HOPLOG_CONFIG", value_name = "FILE")]
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
    /// Count at most so many messages of each partition in Kafka, the newest ones: counting means reading them. Older ones
    /// are compared from ledger to tables only. The spool keeps sums, so there everything is counted.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true, value_name = "N")]
    pub messages_max: u64,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `hoplog dlq`
#[derive(Debug, Args)]
pub(crate) struct Dlq {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub action: DlqAction,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqAction {
    /// List them, the newest first: id, time, reason, events, how often replayed, detail.
    List {
        /// Only those with this reason; may be given several times.
        #[arg(long = "reason", value_name = "REASON")]
        reasons: Vec<String>,
        #[command(flatten)]
        collected: Collected,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: u32,
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one: where it is from, what is wrong with it, its bytes.
    Show {
        /// As `list` prints it.
        #[arg(value_name = "ID")]
        id: String,
        /// Its bytes only, as they came: to be repaired and given to `replay --with`.
        #[arg(long)]
        raw: bool,
    },
    /// Send them again, as they are or repaired. Exits with 1 where one could not be sent.
    Replay(Replay),
    /// Delete their bytes. That they were there, and why, stays, so that the books balance.
    Purge {
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        collected: Collected,
        /// Yes, delete them.
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters something is done to: never all of them by leaving something out.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Choice {
    /// These, as `list` prints them.
    #[arg(value_name = "ID", conflicts_with_all = ["all", "reasons", "since", "before"])]
    pub ids: Vec<String>,
    /// All with this reason; may be given several times.
    #[arg(long = "reason", value_name = "REASON")]
    pub reasons: Vec<String>,
    /// All, whatever the reason.
    #[arg(long, conflicts_with = "reasons")]
    pub all: bool,
}

/// When dead letters were collected.
#[derive(Debug, Clone, Args)]
pub(crate) struct Collected {
    /// Only those that were collected since: `90s`, `15m`, `2h`, `7d`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub since: Option<Duration>,
    /// Only those that were collected longer ago.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub before: Option<Duration>,
}

/// `hoplog dlq replay`
#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub collected: Collected,
    /// File with the repaired bytes of the one letter; `-` for standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "reasons", "command"])]
    pub with: Option<PathBuf>,
    /// Shell command that repairs each letter: it gets the bytes on standard input, and what it prints is sent.
    #[arg(long, value_name = "COMMAND")]
    pub command: Option<String>,
    /// Also those that were sent before. Each time counts as further events.
    #[arg(long)]
    pub force: bool,
    /// Say what would be sent and what is wrong with the rest, and send nothing.
    #[arg(long)]
    pub dry_run: bool,
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

/// `hoplog probe`
#[derive(Debug, Args)]
pub(crate) struct Probe {
    #[command(flatten)]
    pub place: Place,
    /// The shortener as its visitors reach it. Default: the base URL of links in the configuration.
    #[arg(long, env = "HOPLOG_URL", value_name = "URL")]
    pub url: Option<String>,
    /// File with the API key to make links with. Default: DIR/admin.key.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// How long an event may be on its way.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub event_within: Duration,
    /// Go on, a round so often, until told to end.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub every: Option<Duration>,
    /// Address of metrics and health, while it goes on.
    #[arg(long, default_value = "127.0.0.1:8084", requires = "every", value_name = "ADDRESS")]
    pub ops_listen: SocketAddr,
    /// Print each round as JSON, a line each.
    #[arg(long)]
    pub json: bool,
}

/// `hoplog slo`
#[derive(Debug, Args)]
pub(crate) struct Slo {
    #[command(flatten)]
    pub place: Place,
    /// Only this SLO; may be given several times.
    #[arg(long = "slo", global = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Print it as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub action: Option<SloAction>,
}

/// What is asked beside where the budgets stand.
#[derive(Debug, Subcommand)]
pub(crate) enum SloAction {
    /// Compare a new version with the old one on failures and latency: promote (exits with 0), wait (3) or roll back (4).
    Gate(Gate),
}

/// `hoplog slo gate`
#[derive(Debug, Args)]
pub(crate) struct Gate {
    /// How long the new version has to have served before it is promoted; whole minutes. For failures it is rolled back as
    /// soon as that is certain, for latency and a cold cache only after this.
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = minutes)]
    pub bake: Duration,
    /// The new version. Default: the one that began to serve last.
    #[arg(long = "new", value_name = "VERSION")]
    pub new_version: Option<String>,
    /// The version it is compared with. Default: what serves most beside it, or served most before it.
    #[arg(long = "old", value_name = "VERSION")]
    pub old_version: Option<String>,
    /// How many more of a hundred requests may fail, or be slower than an SLO's limit. Default: what would page within six
    /// hours (5.6 times what the objective allows), at most 1.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub added_failures_max: Option<f64>,
    /// How much longer requests may take, by their geometric mean among like ones.
    #[arg(long, default_value_t = 15.0, value_name = "PERCENT", value_parser = percent)]
    pub added_latency_max: f64,
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
    Create(NewKey),
    /// List the keys, without the keys themselves: id, state, owner, roles, when it expires, name.
    List,
    /// Make a key that does what an old one does, for the same owner and as long a life, and print it, once.
    Rotate {
        /// The old key, as `list` prints it.
        id: String,
        /// How long the old key still works.
        #[arg(long, default_value = "1d", value_name = "DURATION", value_parser = duration)]
        grace: Duration,
    },
    /// Revoke a key by its id.
    Revoke {
        /// As `list` prints it.
        id: String,
    },
}

/// `hoplog keys create`
#[derive(Debug, Args)]
pub(crate) struct NewKey {
    /// What it is for.
    pub name: String,
    /// What restricts it; may be given several times, and all hold together. Without one it may do everything.
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<KeyRole>,
    /// It knows only links of this domain, and makes none elsewhere.
    #[arg(long, value_name = "HOST")]
    pub domain: Option<String>,
    /// After that it is refused: `12h`, `90d`. Without it, it does not expire.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub expires: Option<Duration>,
}

/// What a role may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyRole {
    /// It may create links, and nothing else.
    CreateOnly,
    /// It may change nothing.
    ReadOnly,
    /// It knows only links of its owner.
    OwnLinks,
    /// It sees no visits that belong to no link.
    NoOrphanVisits,
}

/// A number and a unit: seconds, minutes, hours or days.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and s, m, h or d, for example 2h".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number = number.parse::<u64>().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// A duration of whole minutes, up to a day: there are rollups of minutes, and what is compared should be of one kind of day.
fn minutes(text: &str) -> Result<Duration, String> {
    let length = duration(text)?;
    let seconds = length.as_secs();
    match seconds.is_multiple_of(60) && (180..=86_400).contains(&seconds) {
        true => Ok(length),
        false => Err("expected whole minutes from 3m to 1d".to_owned()),
    }
}

/// Above 0, up to 100.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= 100.0);
    number.ok_or_else(|| "expected a number above 0 and up to 100".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "2", "h", "-1h", "1.5h", "2 h", "2w", "2µ", "99999999999999999999d", "9999999999999999999d"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_gate_takes_whole_minutes_and_a_share() {
        for (arguments, fine) in [
            (&[][..], true),
            (&["gate"], true),
            (&["gate", "--bake", "30m", "--added-latency-max", "7.5", "--json"], true),
            (&["--json", "gate", "--new", "1.2.0", "--old", "1.1.0"], true),
            (&["gate", "--bake", "90s"], false),
            (&["gate", "--bake", "1m"], false),
            (&["gate", "--bake", "2d"], false),
            (&["gate", "--added-failures-max", "0"], false),
            (&["gate", "--added-failures-max", "NaN"], false),
        ] {
            let parsed = Cli::try_parse_from(["hoplog", "slo"].iter().chain(arguments));
            assert_eq!(parsed.is_ok(), fine, "{arguments:?}");
        }
    }

    #[test]
    fn letters_are_chosen_on_purpose() {
        let replay = |arguments: &[&str]| {
            Cli::try_parse_from(["hoplog", "dlq", "replay"].iter().chain(arguments)).is_ok()
        };
        for (arguments, fine) in [
            (&["t:0:1:1"][..], true),
            (&["t:0:1:1", "t:0:1:2"], true),
            (&["--all"], true),
            (&["--reason", "syntax", "--reason", "truncated", "--since", "2h", "--command", "cat"], true),
            (&["t:0:1:1", "--with", "-"], true),
            (&[], false),
            (&["--since", "2h"], false),
            (&["t:0:1:1", "--all"], false),
            (&["t:0:1:1", "--reason", "syntax"], false),
            (&["t:0:1:1", "--since", "2h"], false),
            (&["--all", "--with", "-"], false),
        ] {
            assert_eq!(replay(arguments), fine, "{arguments:?}");
        }
    }
}
