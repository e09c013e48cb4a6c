//! A broker as clients that are not ours see it: kcat and librdkafka.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use testbed::{Kafka, KafkaOptions, shared_kafka};

/// Topics are made by use here, since kcat can't make them.
fn options() -> KafkaOptions {
    KafkaOptions::default().property("auto.create.topics.enable", "true")
}

fn has_kcat() -> bool {
    let found = Command::new("kcat").arg("-V").output().is_ok();
    if !found {
        println!("NOT COVERED: what kcat makes of a broker: kcat is not installed");
    }
    found
}

fn kcat(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("kcat");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut kcat = command.spawn().unwrap();
    kcat.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    kcat.wait_with_output().unwrap()
}

fn produce(at: &[&str], line: &str) {
    let output = kcat(&[&["-P", "-t", "lines"], at].concat(), &format!("{line}\n"));
    assert!(output.status.success(), "{output:?}");
}

fn consume(at: &[&str]) -> String {
    let output = kcat(&[&["-C", "-t", "lines", "-o", "beginning", "-e", "-q"], at].concat(), "");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn data_survive_a_restart_and_a_kill() {
    if !has_kcat() {
        return;
    }
    let Some(kafka) = Kafka::start(options()) else { return };
    let bootstrap = kafka.bootstrap();
    let at = ["-b", &bootstrap];
    produce(&at, "before");
    kafka.restart();
    produce(&at, "after a restart");
    kafka.kill();
    kafka.restart();
    produce(&at, "after a kill");
    assert_eq!(consume(&at), "before\nafter a restart\nafter a kill\n");
    assert_eq!(kafka.bootstrap(), bootstrap);
}

/// Whether librdkafka gets in and sees the one broker.
fn logs_in(kafka: &Kafka, protocol: &str, mechanism: &str, user: &str, password: &str) -> bool {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.secure_bootstrap()).set("security.protocol", protocol);
    if protocol == "SSL" {
        config.set("bootstrap.servers", kafka.tls_bootstrap());
    }
    if protocol != "PLAINTEXT" && password != "no authority" {
        config.set("ssl.ca.location", kafka.ca_pem_path().to_str().unwrap());
    }
    if protocol == "SASL_SSL" {
        config.set("sasl.mechanism", mechanism).set("sasl.username", user).set("sasl.password", password);
    }
    let client: BaseConsumer = config.create().unwrap();
    // Long enough for a busy machine; one that is refused takes all of it.
    let wait = Duration::from_secs(if ["", "right"].contains(&password) { 60 } else { 4 });
    client.fetch_metadata(None, wait).is_ok_and(|metadata| metadata.brokers().len() == 1)
}

#[test]
fn users_log_in_over_tls() {
    let Some(kafka) = Kafka::start(options().user("alice", "right").user("bob", "right")) else { return };
    for (mechanism, user, password, gets_in) in [
        ("SCRAM-SHA-256", "alice", "right", true),
        ("SCRAM-SHA-512", "alice", "right", true),
        ("SCRAM-SHA-512", "bob", "right", true),
        ("PLAIN", "bob", "right", true),
        ("SCRAM-SHA-256", "alice", "wrong", false),
        ("PLAIN", "nobody", "wrong", false),
    ] {
        let result = logs_in(&kafka, "SASL_SSL", mechanism, user, password);
        assert_eq!(result, gets_in, "{user} by {mechanism}\n{}", kafka.log());
    }
    assert!(!logs_in(&kafka, "PLAINTEXT", "", "", "none"), "without TLS");
    assert!(logs_in(&kafka, "SSL", "", "", ""), "without a login");
    assert!(!logs_in(&kafka, "SSL", "", "", "no authority"), "a certificate of nobody known");
}

#[test]
fn kcat_talks_to_it_in_secret() {
    if !has_kcat() {
        return;
    }
    let Some(kafka) = Kafka::start(options().user("alice", "right")) else { return };
    let (bootstrap, ca) = (kafka.secure_bootstrap(), kafka.ca_pem_path());
    let ca = format!("ssl.ca.location={}", ca.display());
    let mut at = vec!["-b", &bootstrap];
    for setting in [
        "security.protocol=SASL_SSL",
        "sasl.mechanism=PLAIN",
        "sasl.username=alice",
        "sasl.password=right",
        &ca,
    ] {
        at.extend(["-X", setting]);
    }
    produce(&at, "a secret");
    assert_eq!(consume(&at), "a secret\n");
    assert_eq!(consume(&["-b", &kafka.bootstrap()]), "a secret\n", "the same broker");
}

#[test]
fn a_halted_broker_answers_when_it_goes_on() {
    let (Some(kafka), Some(shared)) = (Kafka::start(options()), shared_kafka()) else { return };
    kafka.pause();
    let client = |kafka: &Kafka| -> BaseConsumer {
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap()
    };
    let halted = client(&kafka);
    assert!(halted.fetch_metadata(None, Duration::from_secs(1)).is_err());
    assert!(client(shared).fetch_metadata(None, Duration::from_secs(60)).is_ok(), "another broker");
    kafka.resume();
    assert!(halted.fetch_metadata(None, Duration::from_secs(60)).is_ok());
    kafka.pause();
    kafka.stop();
    assert!(halted.fetch_metadata(None, Duration::from_secs(1)).is_err());
}
