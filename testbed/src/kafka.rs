//! Apache Kafka as one node, broker and controller, from its jars. It makes no topics and speaks no more of Kafka's
//! protocol than it takes to know that the broker serves.

mod probe;
mod properties;
mod tls;

use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::java::{self, Java};
use crate::part::Part;
use crate::place::free_port;
use crate::process::Tie;

/// Enough for some million small events; a test is not alone on its machine.
const HEAP_MB: u32 = 256;

/// Any 16 bytes in URL-safe base64 do: each test's cluster is reached by its own port alone.
const CLUSTER: &str = "aG9wbG9nLXRlc3RiZWQtMQ";

/// How a broker is started.
#[derive(Debug, Clone, Default)]
pub struct KafkaOptions {
    users: Vec<(String, String)>,
    properties: Vec<(String, String)>,
}

impl KafkaOptions {
    /// Adds a listener with TLS, at which this user can log in by SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN, and one with TLS
    /// where nobody logs in. Several users share them.
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

/// A running broker. See [`Part`] for how it is stopped, killed and halted.
#[derive(Debug)]
pub struct Kafka {
    java: Java,
    ports: Ports,
    secure: bool,
    part: Part,
}

/// The ports of one node.
#[derive(Debug, Clone, Copy)]
struct Ports {
    plain: u16,
    secure: u16,
    tls: u16,
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
        let part = Part::new("kafka");
        let ports =
            Ports { plain: free_port(), secure: free_port(), tls: free_port(), controller: free_port() };
        let secure = !options.users.is_empty();
        if secure {
            tls::create(&part);
        }
        part.write("server.properties", &properties::server(&part, ports, options));
        part.write("log4j2.properties", properties::LOGGING);
        let kafka = Self { java, ports, secure, part };
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

    /// Where clients connect with TLS and do not log in (`SSL`).
    ///
    /// # Panics
    /// When the broker was started without users.
    pub fn tls_bootstrap(&self) -> String {
        assert!(self.secure, "the broker has no users");
        format!("127.0.0.1:{}", self.ports.tls)
    }

    /// The certificate, as PEM, of the authority that signed the broker's.
    pub fn ca_pem_path(&self) -> PathBuf {
        tls::authority(&self.part)
    }

    /// Starts it on the same data and ports, stopping it before if it runs, and waits until it serves.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&self) {
        let logging = format!("log4j2.configurationFile={}", self.part.file("log4j2.properties").display());
        let mut command = self.java.command(HEAP_MB, &[logging], "kafka.Kafka");
        command.arg(self.part.file("server.properties"));
        self.part.restart(&command, Tie::Kernel, || probe::serves(self.ports.plain));
    }

    /// Writes what a new node needs to begin with: an id of the cluster, and the users' SCRAM credentials.
    fn format(&self, users: &[(String, String)]) {
        // It would make a heap of its own anyway; this much is plenty.
        let mut command = self.java.command(64, &[], "kafka.tools.StorageTool");
        command
            .args(["format", "--cluster-id", CLUSTER, "--config"])
            .arg(self.part.file("server.properties"));
        for (name, password) in users {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                command.arg("--add-scram").arg(format!("{mechanism}=[name={name},password={password}]"));
            }
        }
        run(&mut command);
    }
}

impl Deref for Kafka {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.part
    }
}

/// Runs a tool to its end.
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&said));
}

/// The broker that all tests of this process share, started by the first; none as in [`Kafka::start`]. Tests use topics
/// of their own, and don't stop it.
pub fn shared_kafka() -> Option<&'static Kafka> {
    static KAFKA: OnceLock<Result<Kafka, String>> = OnceLock::new();
    let options = KafkaOptions::default();
    let kafka = KAFKA.get_or_init(|| Ok(Kafka::create(Kafka::find(&options)?, &options)));
    kafka.as_ref().map_err(|why| crate::not_covered("a real Kafka broker", why)).ok()
}
