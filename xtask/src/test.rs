//! `cargo xtask test`: gets the real parts that tests need and runs every test. A part it could not get is named,
//! and is a failure with `--require-all`; a failing test is a failure always.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{command, engine, maven, npm, python};

/// The scripts in which other people's clients talk to the engine, and what they need installed.
const CLIENTS: &str = "services/engine/tests/clients";

/// The scripts in which Shlink's clients talk to `hoplog`, and what they need installed.
const SHLINK_CLIENTS: &str = "services/hoplog/tests/clients";

/// OpenTelemetry's exporters, which talk to the collector, with all that they need.
const OTLP: &str = "pipeline/collector/tests/clients/requirements.txt";

/// What holds answers against the OpenAPI document, with all that it needs.
const SCHEMATHESIS: &str = "services/hoplog/tests/schemathesis/requirements.txt";

/// Programs in Java that tests start: the folder of the pom, the variable that tells the crate `testbed` where the jars
/// are, and what is missing without them.
const JAVA: [(&str, &str, &str); 2] = [
    ("kafka", "TESTBED_KAFKA_LIBS", "a real Kafka broker"),
    ("zookeeper", "TESTBED_ZOOKEEPER_LIBS", "a real ZooKeeper"),
];

/// How a part is named that could not be tested, by us and by tests.
const MARK: &str = "NOT COVERED: ";

pub(crate) fn run(require_all: bool, filter: &[String]) -> Result<()> {
    let started = Instant::now();
    let mut not_covered = Vec::new();
    let library = available(engine::fetch(), "the real ClickHouse engine", &mut not_covered);
    let client = format!("{CLIENTS}/requirements.txt");
    let python = match &library {
        Some(_) => {
            available(python::with("engine-clients", &client), "Python's ClickHouse client", &mut not_covered)
        }
        None => None,
    };
    let classifiers = python::with("agents-check", "bench/agents-check-requirements.txt");
    let classifiers = available(classifiers, "independent classifiers of user agents", &mut not_covered);

    let sdk = npm::modules("shlink-js-sdk", &format!("{SHLINK_CLIENTS}/npm"));
    available(sdk, "Shlink's JavaScript client", &mut not_covered);
    let pyshlink = python::with("pyshlink", &format!("{SHLINK_CLIENTS}/requirements.txt"));
    available(pyshlink, "Python's client for Shlink", &mut not_covered);
    let otlp = python::with("otlp-client", OTLP);
    available(otlp, "OpenTelemetry's exporters for Python", &mut not_covered);
    let schemathesis = python::with("schemathesis", SCHEMATHESIS);
    available(schemathesis, "schemathesis", &mut not_covered);

    let jars =
        JAVA.map(|(name, variable, what)| (variable, available(maven::libs(name), what, &mut not_covered)));

    let mut failures = Vec::new();
    failures.extend(workspace(&jars, filter, &mut not_covered).err());
    if let (Some(library), Some(python), []) = (&library, &python, filter) {
        failures.extend(clients(library, python).err());
    }
    if let (Some(python), []) = (&classifiers, filter) {
        failures.extend(agents(python).err());
    }

    for part in &not_covered {
        eprintln!("{MARK}{part}");
    }
    for failure in &failures {
        eprintln!("FAILED: {failure:#}");
    }
    let seconds = started.elapsed().as_secs();
    match (failures.len(), not_covered.len()) {
        (0, 0) => eprintln!("test: all passed, everything covered, in {seconds} s"),
        (0, missing) if !require_all => {
            eprintln!("test: all that ran passed, {missing} not covered, in {seconds} s")
        }
        (failed, missing) => bail!("{failed} failed, {missing} not covered, in {seconds} s"),
    }
    Ok(())
}

/// Runs the workspace's tests. A test that could do only a part of its work prints `NOT COVERED: …` and passes; what
/// passing tests print is asked for to find these lines, and not shown.
fn workspace(
    jars: &[(&str, Option<PathBuf>)],
    filter: &[String],
    not_covered: &mut Vec<String>,
) -> Result<()> {
    let mut tests = command::cargo()?;
    tests.envs(jars.iter().filter_map(|(variable, libs)| Some((variable, libs.as_ref()?))));
    tests.args(["test", "--release", "--workspace", "--no-fail-fast", "--", "--show-output"]).args(filter);
    tests.env_remove("HOPLOG_ENGINE_ARCHIVE").env_remove("HOPLOG_ENGINE_SHA256").stdout(Stdio::piped());
    let mut child = tests.spawn().context("could not start cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut shown = Shown::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if let Some((_, part)) = line.split_once(MARK) {
            not_covered.push(part.to_owned());
        }
        if shown.shows(&line) {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("cargo test failed ({status})");
    }
    Ok(())
}

/// Which lines of a test run are for people: all but what passing tests printed.
#[derive(Default)]
struct Shown {
    within_successes: bool,
}

impl Shown {
    fn shows(&mut self, line: &str) -> bool {
        match line {
            "successes:" => self.within_successes = true,
            "failures:" => self.within_successes = false,
            _ if line.starts_with("test result: ") => self.within_successes = false,
            _ => {}
        }
        !self.within_successes
    }
}

fn available<T>(part: Result<T>, what: &str, not_covered: &mut Vec<String>) -> Option<T> {
    part.map_err(|error| not_covered.push(format!("{what}: {error:#}"))).ok()
}

/// Runs each client script against an engine of its own, whose URL is the script's argument.
fn clients(library: &Path, python: &Path) -> Result<()> {
    let folder = command::root()?.join(CLIENTS);
    let mut scripts: Vec<PathBuf> =
        fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "py"));
    scripts.sort();
    if scripts.is_empty() {
        bail!("{CLIENTS} holds no script");
    }
    command::run(command::cargo()?.args(["build", "--release", "--package", "engine", "--bins"]))?;
    for script in scripts {
        let engine = Engine::start(library)?;
        command::run(Command::new(python).arg(script).arg(&engine.url).current_dir(command::root()?))?;
    }
    Ok(())
}

/// Holds our classes of the real log's user agents against those of others.
fn agents(python: &Path) -> Result<()> {
    let example = ["build", "--release", "--package", "wide-event", "--example", "classify"];
    command::run(command::cargo()?.args(example))?;
    let mut check = Command::new(python);
    check.args(["bench/agents-check.py", "bench/data/access.log.gz", "--classifier"]);
    check.arg(command::release_dir()?.join("examples").join("classify"));
    command::run(check.current_dir(command::root()?))
        .context("user agents are classed differently than accepted")
}

/// A running engine on a directory that goes with it.
struct Engine {
    child: Child,
    directory: PathBuf,
    url: String,
}

impl Engine {
    fn start(library: &Path) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("hoplog-clients-{}", std::process::id()));
        let mut command = Command::new(command::release_dir()?.join("engine"));
        command.arg("--data").arg(&directory).arg("--library").arg(library);
        // It ends with its standard input, so also when we are killed.
        command.args(["--listen", "127.0.0.1:0", "--until-stdin-closes"]).stdin(Stdio::piped());
        let child = command.stdout(Stdio::piped()).spawn().context("could not start the engine")?;
        let mut engine = Self { child, directory, url: String::new() };
        let output = engine.child.stdout.take().context("the engine has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address =
            line.trim().strip_prefix("listening on ").context("the engine did not say where it listens")?;
        engine.url = format!("http://{address}");
        Ok(engine)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // What is left of a failed clean-up is in the temporary directory and named after us.
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::Shown;

    #[test]
    fn what_passing_tests_print_is_not_shown() {
        let run = [
            "test a ... ok",
            "",
            "successes:",
            "",
            "---- a stdout ----",
            "noise",
            "successes:",
            "    a",
            "failures:",
        ];
        let mut shown = Shown::default();
        let lines: Vec<&str> = run.into_iter().filter(|line| shown.shows(line)).collect();
        assert_eq!(lines, ["test a ... ok", "", "failures:"]);
        assert!(shown.shows("test result: ok. 1 passed"));
    }
}
