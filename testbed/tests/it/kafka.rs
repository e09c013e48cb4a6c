//! A broker as kcat, a client that is not ours, sees it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use testbed::{Kafka, KafkaOptions};

/// kcat's own test of what the broker makes of it; topics are made by use here, since kcat can't make them.
fn options() -> KafkaOptions {
    KafkaOptions::default().property("auto.create.topics.enable", "true")
}

fn kcat(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("kcat");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut kcat = command.spawn().expect("kcat: apt-get install kcat");
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

#[test]
fn users_log_in_over_tls() {
    let Some(kafka) = Kafka::start(options().user("alice", "secret").user("bob", "other")) else { return };
    let (bootstrap, ca) =
        (kafka.secure_bootstrap(), format!("ssl.ca.location={}", kafka.ca_pem_path().display()));
    let login = |mechanism: &str, user: &str, password: &str| {
        let settings = [
            format!("sasl.mechanism={mechanism}"),
            format!("sasl.username={user}"),
            format!("sasl.password={password}"),
        ];
        let mut all = vec![
            "-b".to_owned(),
            bootstrap.clone(),
            "-X".to_owned(),
            "security.protocol=SASL_SSL".to_owned(),
        ];
        for setting in settings.into_iter().chain([ca.clone()]) {
            all.extend(["-X".to_owned(), setting]);
        }
        all
    };
    let mut expected = String::new();
    for (mechanism, user, password) in [
        ("SCRAM-SHA-256", "alice", "secret"),
        ("SCRAM-SHA-512", "alice", "secret"),
        ("PLAIN", "alice", "secret"),
        ("SCRAM-SHA-256", "bob", "other"),
    ] {
        let at = login(mechanism, user, password);
        let at: Vec<&str> = at.iter().map(String::as_str).collect();
        let line = format!("{user} by {mechanism}");
        produce(&at, &line);
        expected.push_str(&format!("{line}\n"));
        assert_eq!(consume(&at), expected);
    }
    let wrong = login("SCRAM-SHA-256", "alice", "guessed");
    let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
    assert!(!kcat(&[&["-L", "-m", "5"], &wrong[..]].concat(), "").status.success());
    let open = ["-L", "-m", "5", "-b", &bootstrap];
    assert!(!kcat(&open, "").status.success(), "without TLS");
}
