//! Apache Kafka as one node, broker and controller, from its jars. It makes no topics and speaks no more of Kafka's
//! protocol than it takes to know that the broker serves.

mod probe;
mod properties;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::java::{self, Java};
use crate::place::{self, free_port};
use crate::process::Process;

/// How a broker is started.
#[derive(Debug, Clone, Default)]
pub struct KafkaOptions {
    users: Vec<(String, String)>,
    properties: Vec<(String, String)>,
}

impl KafkaOptions {
    /// Adds a listener with TLS, at which this user can log in by SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN. Several users
    /// share the listener.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// A property of the broker, as `server.properties` has it; wins over the testbed's own.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running broker. Killed, and its data removed, when it is dropped.
#[derive(Debug)]
pub struct Kafka {
    java: Java,
    ports: Ports,
    secure: bool,
    process: Mutex<Option<Process>>,
    // After the process: fields are dropped in this order.
    directory: TempDir,
}

/// The ports of one node.
#[derive(Debug, Clone, Copy)]
struct Ports {
    plain: u16,
    secure: u16,
    controller: u16,
}

impl Kafka {
    /// A new, empty broker, which answers. None, said by a line `NOT COVERED: …`, where the machine lacks what it needs.
    ///
    /// # Panics
    /// When the broker does not start.
    pub fn start(options: KafkaOptions) -> Option<Self> {
        match Self::find(&options) {
            Ok(java) => Some(Self::create(java, &options)),
            Err(why) => {
                crate::not_covered("a real Kafka broker", &why);
                None
            }
        }
    }

    fn find(options: &KafkaOptions) -> Result<Java, String> {
        if !options.users.is_empty() {
            java::needs("keytool")?;
        }
        Java::find("kafka", "TESTBED_KAFKA_LIBS", include_str!("../../xtask/kafka/pom.xml"))
    }

    fn create(java: Java, options: &KafkaOptions) -> Self {
        let directory = place::directory("kafka");
        let ports = Ports { plain: free_port(), secure: free_port(), controller: free_port() };
        let secure = !options.users.is_empty();
        let kafka = Self { java, ports, secure, process: Mutex::default(), directory };
        if secure {
            tls::create(kafka.directory.path());
        }
        let properties = properties::server(kafka.directory.path(), ports, options);
        std::fs::write(kafka.file("server.properties"), properties).expect("the directory can be written to");
        std::fs::write(kafka.file("log4j2.properties"), properties::LOGGING)
            .expect("the directory can be written to");
        kafka.format(&options.users);
        kafka.restart();
        kafka
    }

    /// Where clients connect without TLS: `127.0.0.1:PORT`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// Where clients connect with TLS and log in (`SASL_SSL`).
    ///
    /// # Panics
    /// When the broker was started without users.
    pub fn secure_bootstrap(&self) -> String {
        assert!(self.secure, "the broker has no users");
        format!("127.0.0.1:{}", self.ports.secure)
    }

    /// The certificate, as PEM, of the authority that signed the broker's.
    pub fn ca_pem_path(&self) -> PathBuf {
        tls::authority(self.directory.path())
    }

    /// Ends it in good order (SIGTERM) and waits for that.
    pub fn stop(&self) {
        self.end(Signal::TERM);
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&self) {
        self.end(Signal::KILL);
    }

    /// Halts it (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts it on the same data and ports, stopping it before if it runs, and waits until it serves.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&self) {
        self.stop();
        let logging = format!("log4j2.configurationFile={}", self.file("log4j2.properties").display());
        let mut command = self.java.command(HEAP_MB, &[logging], "kafka.Kafka");
        command.arg(self.file("server.properties"));
        let mut process = Process::start(&command, &self.file("log"));
        let serves = || {
            process.assert_running();
            probe::serves(self.ports.plain)
        };
        crate::wait_until("Kafka", serves, || self.log());
        *self.process() = Some(process);
    }

    /// What the broker has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, signal: Signal) {
        if let Some(process) = self.process().take() {
            process.end(signal);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &*self.process() {
            process.signal(signal);
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes what a new node needs to begin with: an id of the cluster, and the users' SCRAM credentials.
    fn format(&self, users: &[(String, String)]) {
        // It would make a heap of its own anyway; this much is plenty.
        let mut command = self.java.command(64, &[], "kafka.tools.StorageTool");
        command.args(["format", "--cluster-id", CLUSTER, "--config"]).arg(self.file("server.properties"));
        for (name, password) in users {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                command.arg("--add-scram").arg(format!("{mechanism}=[name={name},password={password}]"));
            }
        }
        run(command, self.directory.path());
    }
}

/// Enough for some million small events; a test is not alone on its machine.
const HEAP_MB: u32 = 256;

/// Any 16 bytes in URL-safe base64 do: each test's cluster is reached by its own port alone.
const CLUSTER: &str = "aG9wbG9nLXRlc3RiZWQtMQ";

/// Runs a tool to its end.
fn run(mut command: std::process::Command, directory: &Path) {
    let output = command.current_dir(directory).output().expect("a tool of Java can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{:?} failed ({}): {}{}",
        command.get_program(),
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// The broker that all tests of this process share, started by the first; none as in [`Kafka::start`]. Tests use topics
/// of their own, and don't stop it.
pub fn shared_kafka() -> Option<&'static Kafka> {
    static KAFKA: OnceLock<Result<Kafka, String>> = OnceLock::new();
    let options = KafkaOptions::default();
    let kafka = KAFKA.get_or_init(|| Ok(Kafka::create(Kafka::find(&options)?, &options)));
    kafka.as_ref().map_err(|why| crate::not_covered("a real Kafka broker", why)).ok()
}
