//! The settings that containers are started with (deploy/hoplog.env, docker-compose.yml) are settings of this version.
//! Nothing is started: a mistake that is put in on purpose must be the only one.

use std::process::Command;

use crate::harness::repository;

const MISTAKE: &str = "HOPLOG_SERVICE__MADE_UP";

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap()
}

/// `NAME=value` of the first file, `NAME: value` or `NAME: ${OUTSIDE:-value}` of the second.
fn settings() -> Vec<(String, String)> {
    let (shared, services) = (read("deploy/hoplog.env"), read("docker-compose.yml"));
    let shared = shared.lines().filter_map(|line| line.split_once('='));
    let services = services.lines().filter_map(|line| line.split_once(": "));
    let settings = shared.chain(services).map(|(name, value)| (name.trim(), value));
    let settings = settings.filter(|(name, _)| name.starts_with("HOPLOG_"));
    let default = |value: &str| match value.split_once(":-") {
        Some((outside, value)) if outside.starts_with("${") => value.trim_end_matches('}').to_owned(),
        _ => value.to_owned(),
    };
    settings.map(|(name, value)| (name.to_owned(), default(value))).collect()
}

/// What `hoplog serve` says of these settings, besides the mistake.
fn complaints(settings: &[(String, String)]) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_hoplog"));
    serve.arg("serve").arg("--data").arg(place.path()).env(MISTAKE, "1");
    let script = place.path().join("secrets.sh");
    std::fs::copy(repository("deploy/secrets.sh"), &script).unwrap();
    assert!(Command::new("bash").arg(script).output().unwrap().status.success());
    for (name, value) in settings {
        match value.strip_prefix("/run/secrets/") {
            Some(secret) => serve.env(name, place.path().join("secrets").join(secret)),
            None => serve.env(name, value),
        };
    }
    let output = serve.output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(MISTAKE), "{said}");
    let mistakes = said.lines().filter(|line| line.contains("HOPLOG_") && !line.contains(MISTAKE));
    mistakes.map(str::to_owned).collect()
}

#[test]
fn containers_are_started_with_settings_of_this_version() {
    let mut settings = settings();
    assert!(settings.len() > 8, "{settings:?}");
    // Without a word in .env, containers call themselves what they were compiled as.
    let version = ("HOPLOG_SERVICE__VERSION".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    assert!(settings.contains(&version), "{settings:?}");
    assert_eq!(complaints(&settings), Vec::<String>::new());
    // The same word is the tag of the image, which has no +.
    for (said, wrong) in [
        ("0.1.0-4c1f2ab", 0),
        ("1.4.2-build_7", 0),
        ("1.4.2+build.7", 1),
        ("other", 1),
        ("", 1),
        ("1 0", 1),
        ("-1", 1),
    ] {
        let version = ("HOPLOG_SERVICE__VERSION".to_owned(), format!("\"{said}\""));
        assert_eq!(complaints(&[version]).len(), wrong, "{said}");
    }
    settings.push(("HOPLOG_KAFKA__BROKRES".to_owned(), "kafka:9092".to_owned()));
    settings.push(("HOPLOG_SERVE__LISTEN".to_owned(), "everywhere".to_owned()));
    assert_eq!(complaints(&settings).len(), 2);
}
