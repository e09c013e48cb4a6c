//! `server.properties` and the logging of a broker for tests: one node, small, quick to start and to notice things.

use std::fmt::Write;

use super::tls::{PASSWORD, keystore};
use super::{KafkaOptions, Ports};
use crate::part::Part;

/// What holds for each broker.
const COMMON: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT
# Topics are made by whoever needs them, with the number of partitions that they need.
auto.create.topics.enable=false
# One node.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
# Tests wait for nothing that a person would not notice.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# A node that was killed and comes back is refused while its former life is not over.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=250
# Small: the cleaner alone would take half of the heap.
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
background.threads=2
";

/// Everything to standard output, which is the part's log.
pub(super) const LOGGING: &str = "\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
";

/// The file's content. A later line wins over an earlier one, so the test's own properties come last.
pub(super) fn server(part: &Part, ports: Ports, options: &KafkaOptions) -> String {
    let Ports { plain, secure, tls, controller } = ports;
    let mut clients = format!("PLAINTEXT://127.0.0.1:{plain}");
    if !options.users.is_empty() {
        clients.push_str(&format!(",SASL_SSL://127.0.0.1:{secure},SSL://127.0.0.1:{tls}"));
    }
    let mut text = COMMON.to_owned();
    let mut add = |name: &str, value: &str| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name}={}", value.replace('\\', "\\\\"));
    };
    add("log.dirs", &part.file("data").display().to_string());
    add("listeners", &format!("{clients},CONTROLLER://127.0.0.1:{controller}"));
    add("advertised.listeners", &clients);
    add("controller.quorum.voters", &format!("1@127.0.0.1:{controller}"));
    if !options.users.is_empty() {
        add("ssl.keystore.type", "PKCS12");
        add("ssl.keystore.location", &keystore(part).display().to_string());
        add("ssl.keystore.password", PASSWORD);
        add("sasl.enabled.mechanisms", "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN");
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        add("listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config", scram);
        add("listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config", scram);
        let mut plain = "org.apache.kafka.common.security.plain.PlainLoginModule required".to_owned();
        for (name, password) in &options.users {
            plain.push_str(&format!(" user_{name}=\"{password}\""));
        }
        add("listener.name.sasl_ssl.plain.sasl.jaas.config", &format!("{plain};"));
    }
    for (name, value) in &options.properties {
        add(name, value);
    }
    text
}
