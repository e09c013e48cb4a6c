//! What the image, docker-compose.yml and deploy/ say, read by the programs that they are written for, and what must
//! hold of them whatever they say. No container is started here: nothing says that the images can be had.

#![expect(clippy::print_stdout, reason = "what could not be covered is said there")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::files::root;

/// The parser and model of Docker's own compose, as a program.
const COMPOSE: &str = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2";

/// The services that may be reached from outside; all others are in internal networks.
const PUBLISHED: [&str; 2] = ["grafana", "nginx"];

/// The output of a program that must succeed; `None`, and said so, where there is no such program.
pub(crate) fn checked(what: &str, command: &mut Command) -> Option<Output> {
    let output = match command.current_dir(root()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("NOT COVERED: {what}: there is no {}", command.get_program().display());
            return None;
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}{said}", String::from_utf8_lossy(&output.stdout));
    Some(output)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// docker-compose.yml as compose understands it.
fn compose() -> Option<&'static Value> {
    static MODEL: OnceLock<Option<Value>> = OnceLock::new();
    MODEL.get_or_init(model).as_ref()
}

/// By the plugin of Docker where there is one, else by the library that it is made of.
fn model() -> Option<Value> {
    let docker = Command::new("docker").args(["compose", "version"]).output();
    let mut command = if docker.is_ok_and(|docker| docker.status.success()) {
        let mut docker = Command::new("docker");
        docker.args(["compose", "--file", "docker-compose.yml", "config", "--format", "json"]);
        docker
    } else {
        let mut docker = Command::new(installed()?);
        docker.args(["-format", "json", "docker-compose.yml"]);
        docker
    };
    // As it comes, whatever `.env` of this checkout and variables say.
    for variable in ["HOPLOG_PUBLISH", "GRAFANA_PUBLISH", "HOPLOG_PUBLIC_URL"] {
        command.env_remove(variable);
    }
    let output = checked("docker-compose.yml", &mut command)?;
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// compose-go, compiled once into the target directory.
fn installed() -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compose");
    let mut go = Command::new("go");
    go.args(["install", COMPOSE]).env("GOBIN", &directory).env("GOFLAGS", "-buildvcs=false");
    match go.output() {
        Ok(output) if output.status.success() => Some(directory.join("cmd")),
        _ => {
            println!(
                "NOT COVERED: docker-compose.yml: neither docker compose nor go with a module proxy is here"
            );
            None
        }
    }
}

/// Whether the tag of an image says a version; `latest` and `stable` say none.
fn is_pinned(image: &str) -> bool {
    image.rsplit_once(':').is_some_and(|(_, tag)| tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v'))
}

/// What breaks a rule that holds for each service, in words.
fn violations(services: &serde_json::Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, service) in services {
        let mut require = |holds: bool, what: &str| {
            if !holds {
                found.push(format!("{name}: {what}"));
            }
        };
        require(service["image"].as_str().is_some_and(is_pinned), "its image has no version");
        let limits = &service["deploy"]["resources"]["limits"];
        require(!limits["memory"].is_null() && !limits["cpus"].is_null(), "has no limits");
        // What ends by itself needs no health.
        require(name == "migrate" || !service["healthcheck"]["test"].is_null(), "has no health check");
        let published = service["ports"].as_array().is_some_and(|ports| !ports.is_empty());
        require(published == PUBLISHED.contains(&name.as_str()), "is published, or should be");
        for port in service["ports"].as_array().into_iter().flatten() {
            require(port["host_ip"] == "127.0.0.1", "is published beyond loopback");
        }
        for (variable, _) in service["environment"].as_object().into_iter().flatten() {
            let secret = ["PASSWORD", "SECRET", "TOKEN"].iter().any(|word| variable.contains(word));
            require(!secret || variable.ends_with("_FILE"), "has a secret in its environment");
        }
        if service["image"].as_str().is_some_and(|image| image.starts_with("hoplog:")) && name != "migrate" {
            let migrated = &service["depends_on"]["migrate"]["condition"];
            require(migrated == "service_completed_successfully", "does not wait for the migration");
            require(service["read_only"] == true && service["cap_drop"][0] == "ALL", "may do more than run");
        }
    }
    found
}

#[test]
fn the_compose_file_is_valid_and_keeps_its_rules() {
    let Some(model) = compose() else { return };
    let services = model["services"].as_object().unwrap();
    assert_eq!(violations(services), Vec::<String>::new());
    for wanted in [
        "alertmanager",
        "blackbox",
        "clickhouse",
        "collector-1",
        "collector-2",
        "grafana",
        "kafka",
        "migrate",
        "nginx",
        "postgres",
        "prometheus",
        "redis",
        "shortener-1",
        "shortener-2",
        "tempo",
    ] {
        assert!(services.contains_key(wanted), "no service {wanted}");
    }
    for (name, network) in model["networks"].as_object().unwrap() {
        assert_eq!(network["internal"] == true, name != "outside", "network {name}");
    }
    // A service without a rule for it breaks each of them.
    let bare =
        serde_json::json!({"x": {"image": "x:latest", "ports": [{}], "environment": {"X_TOKEN": "1"}}});
    assert_eq!(violations(bare.as_object().unwrap()).len(), 6);
}

#[test]
fn the_memory_of_all_together_is_what_is_said() {
    let Some(model) = compose() else { return };
    // Docker's plugin gives bytes, the library what stands in the file.
    let limit = |service: &Value| {
        let said = service["deploy"]["resources"]["limits"]["memory"].as_str().unwrap();
        let number: f64 = said.trim_end_matches(['M', 'G']).parse().unwrap();
        let unit = [('M', 1 << 20), ('G', 1 << 30)].into_iter().find(|(unit, _)| said.ends_with(*unit));
        number * f64::from(unit.map_or(1, |(_, bytes)| bytes))
    };
    let all: f64 = model["services"].as_object().unwrap().values().map(limit).sum();
    let said = format!("All limits together are {:.1} GiB of memory.", all / f64::from(1 << 30));
    for file in ["docker-compose.yml", "deploy/README.md"] {
        assert!(read(file).contains(&said), "{file} does not say: {said}");
    }
}

#[test]
fn addresses_are_the_same_in_all_files() {
    let Some(model) = compose() else { return };
    let address = |service: &str| {
        let address = &model["services"][service]["networks"]["edge"]["ipv4_address"];
        address.as_str().unwrap().to_owned()
    };
    let nginx = read("deploy/nginx/nginx.conf");
    for shortener in ["shortener-1", "shortener-2"] {
        assert!(nginx.contains(&format!("server {}:8080", address(shortener))), "{shortener}");
    }
    let trusted = format!("TRUSTED_PROXIES=[\"{}\"]\n", address("nginx"));
    assert!(read("deploy/hoplog.env").contains(&trusted), "nginx is not the proxy that is believed");
    let scraped = read("deploy/prometheus/prometheus.yml");
    for (name, service) in model["services"].as_object().unwrap() {
        let hoplog = service["image"].as_str().unwrap().starts_with("hoplog:") && name != "migrate";
        assert!(!hoplog || scraped.contains(&format!("\"{name}:")), "{name} is not scraped");
    }
}

#[test]
fn versions_are_those_that_are_tested() {
    let (compose, dockerfile, cargo) = (read("docker-compose.yml"), read("Dockerfile"), read("Cargo.toml"));
    let value = |text: &str, before: &str| {
        let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before}"));
        rest.split(['"', '<', '\n']).next().unwrap().to_owned()
    };
    let kafka = value(&read("xtask/kafka/pom.xml"), "<artifactId>kafka</artifactId>\n  <version>");
    assert!(compose.contains(&format!("apache/kafka:{kafka}\n")), "Kafka is tested as {kafka}");
    let rust = value(&cargo, "rust-version = \"");
    assert!(dockerfile.contains(&format!("FROM rust:{rust}.")), "Rust is {rust}");
    let version = value(&cargo, "[workspace.package]\nversion = \"");
    let image = format!("image: hoplog:${{HOPLOG_VERSION:-{version}}}\n");
    assert!(compose.contains(&image), "hoplog is {version}");
}

#[test]
fn the_image_is_built_from_all_of_the_workspace() {
    let (ignored, cargo) = (read(".dockerignore"), read("Cargo.toml"));
    let (_, members) = cargo.split_once("members = [").unwrap();
    let members: Vec<&str> = members.split(']').next().unwrap().split('"').skip(1).step_by(2).collect();
    assert!(members.contains(&"xtask"));
    for member in members {
        let folder = member.split('/').next().unwrap();
        assert!(
            ignored.lines().any(|line| line == format!("!{folder}")),
            ".dockerignore leaves {folder} out"
        );
    }
}

/// From a point on a panel to the trace of that request: Prometheus keeps exemplars, Grafana knows where their traces are,
/// and collectors send them there.
#[test]
fn an_exemplar_leads_to_its_trace() {
    let sources = read("deploy/grafana/datasources.yml");
    let (_, to) = sources.split_once("exemplarTraceIdDestinations:\n").unwrap();
    let destinations: Vec<_> = to.split("\n\n").next().unwrap().split("- name: ").skip(1).collect();
    assert!(destinations.iter().all(|to| to.starts_with("trace_id\n")), "{destinations:?}");
    assert!(
        destinations[0].contains("datasourceUid: hoplog-tempo\n") && sources.contains(" uid: hoplog-tempo\n")
    );
    // Grafana's provisioning makes one $ of two.
    let url = "url: /d/hoplog-errors?$${__url_time_range}&var-trace_id=$${__value.raw}\n";
    assert!(destinations[1].contains(url), "{destinations:?}");
    assert!(read("deploy/prometheus/prometheus.yml").contains("\n  exemplars:\n    max_exemplars: "));
    assert!(read("deploy/hoplog.env").contains("__TRACES__EXPORT__ENDPOINT=http://tempo:4317\n"));
    let Some(model) = compose() else { return };
    let told = model["services"]["prometheus"]["command"].as_array().unwrap();
    assert!(told.iter().any(|flag| flag == "--enable-feature=exemplar-storage"), "{told:?}");
}

/// All names of metrics of ours in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("hoplog_")).map(str::to_owned).collect()
}

/// Whether a source registers such a metric: its name stands there in quotes, after a prefix that does so as well, and
/// before a unit that is often added by itself.
fn is_registered(metric: &str, sources: &str) -> bool {
    let is_there = |text: &str| sources.contains(&format!("\"{text}\""));
    let name = metric.strip_prefix("hoplog_").unwrap_or_default();
    let bare = ["_bucket", "_count", "_sum", "_total", "_info", "_seconds", "_bytes"]
        .iter()
        .fold(name, |name, unit| name.trim_end_matches(unit));
    [name, bare].into_iter().any(|name| {
        let mut splits = name.match_indices('_').map(|(at, _)| (&name[..at], &name[at + 1..]));
        is_there(name) || splits.any(|(prefix, rest)| is_there(prefix) && is_there(rest))
    })
}

/// Where metrics are registered, as one text.
fn sources_of_metrics() -> String {
    let mut git = Command::new("git");
    git.args(["grep", "-l", "-e", "Registry", "-e", "Collector for", "--", "*.rs"]);
    let git = git.current_dir(root()).output();
    let files = String::from_utf8(git.unwrap().stdout).unwrap();
    // The constants and tuples that names stand in are in the same files, or in those of `emitter`.
    files.lines().chain(["pipeline/emitter/src/requests.rs"]).map(read).collect()
}

#[test]
fn metrics_on_dashboards_are_there() {
    let sources = sources_of_metrics();
    let folder = root().join("dashboards/grafana");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let metrics: BTreeSet<_> =
        files.flat_map(|path| metrics_in(&std::fs::read_to_string(path).unwrap())).collect();
    assert!(metrics.len() > 50, "{metrics:?}");
    let parts = ["_bucket", "_count", "_sum"];
    let whole = |metric: &str| parts.iter().fold(metric.to_owned(), |name, part| name.replace(part, ""));
    let gone: Vec<_> = metrics.iter().filter(|metric| !is_registered(&whole(metric), &sources)).collect();
    assert!(gone.is_empty(), "dashboards ask for {gone:?}");
}

#[test]
fn metrics_that_are_watched_are_there() {
    let sources = sources_of_metrics();
    for file in ["alerts/prometheus/pipeline.yml", "alerts/prometheus/slos.yml", "deploy/README.md"] {
        let metrics = metrics_in(&read(file));
        assert!(metrics.len() > 3, "{file}: {metrics:?}");
        let gone: Vec<_> = metrics.iter().filter(|metric| !is_registered(metric, &sources)).collect();
        assert!(gone.is_empty(), "{file} speaks of {gone:?}");
    }
    for made_up in ["hoplog_collector_made_up_total", "hoplog_made_up_events", "hoplog_made_up_seconds"] {
        assert!(!is_registered(made_up, &sources), "{made_up}");
    }
}

#[test]
fn prometheus_and_its_companions_take_their_files() {
    let mut promtool = Command::new("promtool");
    checked("prometheus.yml", promtool.args(["check", "config", "deploy/prometheus/prometheus.yml"]));
    let mut amtool = Command::new("amtool");
    checked("alertmanager.yml", amtool.args(["check-config", "alerts/alertmanager/alertmanager.yml"]));
    let mut blackbox = Command::new("prometheus-blackbox-exporter");
    blackbox.args(["--config.check", "--config.file", "deploy/blackbox/blackbox.yml"]);
    checked("blackbox.yml", &mut blackbox);
}

#[test]
fn secrets_are_made_once_and_kept_out_of_git() {
    let place = tempfile::tempdir().unwrap();
    std::fs::copy(root().join("deploy/secrets.sh"), place.path().join("secrets.sh")).unwrap();
    let run = || checked("secrets.sh", Command::new("bash").arg(place.path().join("secrets.sh"))).unwrap();
    let secret = |name: &str| std::fs::read_to_string(place.path().join("secrets").join(name)).unwrap();
    run();
    let (first, users) = (secret("clickhouse_password"), secret("clickhouse_users.xml"));
    run();
    assert_eq!((&first, &users), (&secret("clickhouse_password"), &secret("clickhouse_users.xml")));
    // ClickHouse knows by hash what hoplog and the analyst have in plain.
    for password in [first.trim_end(), secret("analyst_password").trim_end()] {
        assert_eq!(password.len(), 48);
        let hash: String = Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(users.contains(&hash));
    }
    // The analyst may ask what alerts link to.
    let asked = read("alerts/pipeline.yaml");
    let tables = asked.split("FROM system.").skip(1).filter_map(|rest| rest.split_whitespace().next());
    let tables: BTreeSet<_> = tables.collect();
    assert!(!tables.is_empty());
    for table in tables {
        assert!(users.contains(&format!("GRANT SELECT ON system.{table}</query>")), "{table}");
    }
    let postgres = format!("postgres://hoplog:{}@postgres:", secret("postgres_password").trim_end());
    assert!(secret("postgres_url").starts_with(&postgres));
    let redis = secret("redis_url");
    let redis = redis.trim_end().trim_start_matches("redis://:").trim_end_matches("@redis:6379");
    assert!(redis.len() == 48 && secret("redis.conf").contains(&format!("requirepass {redis}\n")));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let made = place.path().join("secrets");
    assert_eq!(mode(&made), 0o700);
    for file in std::fs::read_dir(&made).unwrap() {
        let file = file.unwrap();
        assert_eq!(mode(&file.path()), 0o444, "{file:?}");
        let name = file.file_name().into_string().unwrap();
        let expected = format!("file: deploy/secrets/{name}}}");
        assert!(read("docker-compose.yml").contains(&expected), "nobody is given {name}");
    }
    // One of three that belong together is gone: it can't be made to match the others.
    std::fs::remove_file(made.join("analyst_password")).unwrap();
    let again = Command::new("bash").arg(place.path().join("secrets.sh")).output().unwrap();
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("belong together"));
    let mut ignored = Command::new("git");
    checked(
        "deploy/.gitignore",
        ignored.args(["check-ignore", "--quiet", "deploy/secrets/clickhouse_password"]),
    );
}

#[test]
fn xml_files_are_xml() {
    let parse = "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])";
    checked("config.xml", Command::new("python3").args(["-c", parse, "deploy/clickhouse/config.xml"]));
}
