//! The configuration of all roles: one struct a role, nested by concern, checked before anything is opened.
//!
//! The fields are documented where they are used, in the libraries; here is only what ties them to one place:
//! directories below `--data` and ports above `--port-base`.

mod environment;
mod load;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use collector::{CollectorConfig, TracesConfig};
use emitter::EmitterConfig;
use engine::EngineConfig;
use event_log::kafka::KafkaConfig;
use event_log::spool::SpoolConfig;
use figment::value::{Dict, Value};
use serde::Deserialize;
use shortener::ShortenerConfig;
use warehouse::WarehouseConfig;

pub(crate) use load::Mistake;

use crate::cli::Place;
use crate::log::Kind;

/// Ports where no base is given: ClickHouse has its own well-known one.
const PORTS: [u16; 5] = [8080, 8081, 8082, 8123, 8083];

/// Below `--data`: by what the shortener of this place tells its probes. `hoplog up` makes it.
pub(crate) const PROBE_TOKEN_FILE: &str = "probe.token";

/// Between two proofs, seconds: an alert that needs two of them comes within minutes.
const VERIFY_EVERY_S: u64 = 60;
/// Rarer than daily is as good as never, and would be found out too late.
const VERIFY_EVERY_S_MAX: u64 = 86_400;

/// Everything that can be configured.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// What the installation calls itself.
    pub service: ServiceConfig,
    /// The shortener's process.
    pub serve: ServeConfig,
    /// The collector's process.
    pub collect: CollectConfig,
    /// The embedded ClickHouse's process.
    pub engine: EngineConfig,
    /// Which event log is between shortener and collector: `spool` or `kafka`. Default `spool`; `kafka` when one machine
    /// is outgrown.
    pub event_log: Kind,
    /// The spool, where that is the event log.
    pub spool: SpoolConfig,
    /// Kafka, where that is the event log.
    pub kafka: KafkaConfig,
    /// ClickHouse as its clients see it: the embedded one or a server.
    pub warehouse: WarehouseConfig,
}

/// What the installation calls itself, in every event.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServiceConfig {
    /// Name of the service. Default `hoplog`; change it where several share a ClickHouse.
    pub name: String,
    /// Where it runs. Default `development`.
    pub environment: String,
    /// Name of this instance, kept over restarts. Default: the host's name.
    pub instance: String,
    /// Which build this is, as events, `hoplog_build_info` and `/health` say it; the gate, dashboards and pages tell builds
    /// apart by it. Letters, digits and `.`, `-`, `_`. Default: the version that was compiled; say more where builds
    /// of one version differ, e.g. `0.1.0-4c1f2ab`.
    pub version: String,
}

/// Where the rollup counts versions that it has no room for; see the `collector`.
const VERSION_OF_THE_REST: &str = "other";
/// Longest version, bytes: a tag and a commit's hash, and still a label that can be read.
const VERSION_BYTES_MAX: usize = 64;

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            name: "hoplog".to_owned(),
            environment: "development".to_owned(),
            instance: host_name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The shortener's process.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServeConfig {
    /// Address of the public listener. Default 127.0.0.1:8080; 0.0.0.0 behind a load balancer.
    pub listen: SocketAddr,
    /// Address of metrics and health. Default 127.0.0.1:8081; keep it off the public network.
    pub ops_listen: SocketAddr,
    /// The shortener.
    pub shortener: ShortenerConfig,
    /// How events leave the process.
    pub emitter: EmitterConfig,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: loopback(PORTS[0]),
            ops_listen: loopback(PORTS[1]),
            shortener: ShortenerConfig::default(),
            emitter: EmitterConfig::default(),
        }
    }
}

/// The collector's process.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CollectConfig {
    /// Address of metrics and health. Default 127.0.0.1:8082; keep it off the public network.
    pub ops_listen: SocketAddr,
    /// How often it is proved that the last hours' events are stored exactly once, seconds; the outcome is in the metrics.
    /// Default 60; 0 for never. Every collector does so by itself, so that one that hangs hides nothing.
    pub verify_every_s: u64,
    /// The collector.
    pub collector: CollectorConfig,
    /// The receiver of traces.
    pub traces: TracesConfig,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self {
            ops_listen: loopback(PORTS[2]),
            verify_every_s: VERIFY_EVERY_S,
            collector: CollectorConfig::default(),
            traces: TracesConfig::default(),
        }
    }
}

impl Config {
    /// Reads file and environment over the defaults of the place.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn load(place: &Place) -> Result<Self, Vec<Mistake>> {
        let in_data = place.data.join("hoplog.toml");
        let file = place.config.clone().or_else(|| in_data.exists().then_some(in_data));
        let mut defaults = defaults(place);
        if let Ok(token) = std::fs::read_to_string(place.data.join(PROBE_TOKEN_FILE)) {
            let path = ["serve", "shortener", "http", "probe_token"];
            load::insert(&mut defaults, &path, Value::from(token.trim_end()));
        }
        let (config, mut mistakes) = load::load::<Self>(defaults, file.as_deref());
        mistakes.extend(config.iter().flat_map(Self::check));
        config.filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }

    /// All that is wrong with values of the right type.
    fn check(&self) -> Vec<Mistake> {
        let sections = [
            ("serve.shortener", self.serve.shortener.check()),
            ("serve.emitter", self.serve.emitter.check()),
            ("collect", self.collect.check()),
            ("collect.collector", self.collect.collector.check()),
            ("collect.traces", self.collect.traces.check()),
            ("engine", self.engine.check()),
            // The other one is not used, and its defaults may not fit.
            match self.event_log {
                Kind::Spool => ("spool", self.spool.check()),
                Kind::Kafka => ("kafka", self.kafka.check()),
            },
            ("warehouse", self.warehouse.check()),
            ("service", self.service.check()),
        ];
        let mistakes = sections.into_iter().flat_map(|(section, wrong)| {
            wrong
                .into_iter()
                .map(move |(field, problem)| Mistake::new(&format!("{section}.{field}"), problem))
        });
        mistakes.collect()
    }
}

impl CollectConfig {
    fn check(&self) -> Vec<(&'static str, String)> {
        let wrong = self.verify_every_s > VERIFY_EVERY_S_MAX;
        wrong
            .then(|| ("verify_every_s", format!("must be at most {VERIFY_EVERY_S_MAX}")))
            .into_iter()
            .collect()
    }
}

impl ServiceConfig {
    fn check(&self) -> Vec<(&'static str, String)> {
        let fields = [("name", &self.name), ("environment", &self.environment), ("instance", &self.instance)];
        let wrong = |text: &str| text.is_empty() || text.len() > 128 || text.chars().any(char::is_control);
        fields
            .into_iter()
            .filter(|(_, text)| wrong(text))
            .map(|(field, _)| (field, "must have 1 to 128 bytes and no control characters".to_owned()))
            .chain((!is_version(&self.version)).then(|| {
                let form = "must be letters, digits and . - _, begin with one of the former, have at most";
                ("version", format!("{form} {VERSION_BYTES_MAX} bytes, and not be `{VERSION_OF_THE_REST}`"))
            }))
            .collect()
    }
}

/// It becomes a label and the tag of an image, and is typed in commands.
fn is_version(text: &str) -> bool {
    text.len() <= VERSION_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        && text != VERSION_OF_THE_REST
}

/// What follows from the place: everything below one directory, five ports in a row.
fn defaults(place: &Place) -> Dict {
    let ports = place.port_base.map_or(PORTS, |base| [base, base + 1, base + 2, base + 3, base + 4]);
    let address = |port: u16| Value::from(loopback(port).to_string());
    let path = |name: &str| Value::from(absolute(&place.data).join(name).display().to_string());
    let url = |port: u16| Value::from(format!("http://{}", loopback(port)));
    [
        (&["serve", "listen"][..], address(ports[0])),
        (&["serve", "ops_listen"], address(ports[1])),
        (&["serve", "shortener", "links", "base_url"], url(ports[0])),
        (&["serve", "shortener", "store", "path"], path("links.db")),
        (&["serve", "emitter", "sequence_dir"], path("boots")),
        (&["collect", "ops_listen"], address(ports[2])),
        (&["collect", "traces", "listen"], address(ports[4])),
        (&["engine", "listen"], address(ports[3])),
        (&["engine", "data_dir"], path("clickhouse")),
        (&["spool", "path"], path("spool")),
        (&["kafka", "outbox", "path"], path("outbox")),
        (&["warehouse", "url"], url(ports[3])),
    ]
    .into_iter()
    .fold(Dict::new(), |mut dict, (path, value)| {
        load::insert(&mut dict, path, value);
        dict
    })
}

/// Children may be started from elsewhere, so paths don't depend on where.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The host's name, or `localhost` where it has none that can be read.
fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_str().ok().filter(|name| !name.is_empty()).unwrap_or("localhost").to_owned()
}
