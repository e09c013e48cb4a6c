//! schemathesis on the OpenAPI document that the product serves: no 5xx, no undocumented answer. What is checked, and
//! what is not and why, is in `tests/schemathesis`.
//!
//! `API_FUZZ_S` is for how many seconds it goes on by hand; without, each operation gets a number of requests.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Installation, agent, get, repository};

/// What it makes its requests of; the same ones again with each run, as far as answers are the same.
const SEED: &str = "20261122";

/// Requests that each operation gets of each kind: a run takes two minutes.
const EXAMPLES: &str = "20";

/// Answers of a run at the least, so that it can't have been cut short unseen.
const ANSWERS_MIN: u64 = 2_000;

/// Codes and tags that are there before it begins, which its configuration names.
const CODES: [&str; 4] = ["first", "second", "docs/start", "third"];
const TAGS: [&str; 3] = ["one", "two", "three"];

/// Answers by operation and status.
type Answers = BTreeMap<String, BTreeMap<u16, u64>>;

#[test]
fn every_answer_is_documented() {
    let Some(program) = testbed::tool("schemathesis/bin/schemathesis", "schemathesis") else { return };
    // Limits of clients and keys hold for this machine, too, so that their headers are seen; nothing reaches them.
    let mut hoplog = Installation::new().set("HOPLOG_SERVE__SHORTENER__LIMITS__ALLOW", "[]");
    for limit in ["VISITS", "UNKNOWN", "READ", "WRITE", "BULK"] {
        hoplog = hoplog.set(&format!("HOPLOG_SERVE__SHORTENER__LIMITS__{limit}_PER_S"), "1000000");
        hoplog = hoplog.set(&format!("HOPLOG_SERVE__SHORTENER__LIMITS__{limit}_BURST"), "1000000");
    }
    let hoplog = hoplog.up();
    furnish(&hoplog);
    let dir = tempfile::tempdir().unwrap();
    let answers = run(&hoplog, &program, dir.path());
    covered(&hoplog, &answers);
    hoplog.verified();
    let failed = hoplog.query("SELECT count() FROM requests WHERE status >= 500 AND status != 501");
    assert_eq!(failed, "0", "events of 5xx");
}

/// Links on two domains with tags, their visits, and such that reach no link; all of it counted.
fn furnish(hoplog: &Installation) {
    let url = hoplog.shortener();
    for (domain, host) in [("", "127.0.0.1"), ("s.example", "s.example")] {
        for code in CODES {
            let link = json!({ "longUrl": format!("https://example.com/{code}"), "customSlug": code, "tags": TAGS,
                               "domain": domain });
            let made = agent().post(format!("{url}/rest/v3/short-urls")).header("X-Api-Key", hoplog.key());
            assert_eq!(made.send(link.to_string()).unwrap().status(), 201);
        }
        for path in CODES.into_iter().chain(["", "unknown", "unknown/too"]) {
            agent().get(format!("{url}/{path}")).header("Host", host).call().unwrap();
        }
    }
    let counted = || (hoplog.number("SELECT sum(clicks) FROM clicks_by_hour") == 8).then_some(());
    hoplog.wait_for("visits to be counted", counted);
}

fn run(hoplog: &Installation, program: &Path, dir: &Path) -> Answers {
    let files = repository("services/hoplog/tests/schemathesis");
    let answers = dir.join("answers.json");
    let mut command = Command::new(program);
    command.current_dir(&files).args(["--config-file", "schemathesis.toml", "run"]);
    command.arg(format!("{}/rest/v3/openapi.json", hoplog.shortener()));
    command.args(["--seed", SEED, "--max-examples", EXAMPLES, "--no-color"]);
    if let Ok(seconds) = std::env::var("API_FUZZ_S") {
        command.args(["--max-time", &seconds]);
    }
    command.env("HOPLOG_API_KEY", hoplog.key()).env("HOPLOG_ANSWERS", &answers);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("HYPOTHESIS_STORAGE_DIRECTORY", dir.join("hypothesis"));
    println!("schemathesis: seed {SEED}, {EXAMPLES} examples");
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}\n{}", hoplog.log());
    println!("{out}");
    serde_json::from_slice(&std::fs::read(answers).unwrap()).unwrap()
}

/// Whether every operation was reached, and did what it is for at least once.
fn covered(hoplog: &Installation, answers: &Answers) {
    let document = get(&format!("{}/rest/v3/openapi.json", hoplog.shortener())).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values());
    let names = operations.filter_map(|operation| operation.get("operationId")?.as_str());
    // It began with that one.
    for name in names.filter(|name| *name != "openapi") {
        let Some(statuses) = answers.get(name) else { panic!("{name} was not called") };
        // There is no Mercure hub.
        let reached = if name == "mercureInfo" { 501..502 } else { 200..300 };
        assert!(statuses.keys().any(|status| reached.contains(status)), "{name}: {statuses:?}");
    }
    let all: u64 = answers.values().flat_map(BTreeMap::values).sum();
    println!("{all} answers: {answers:?}");
    assert!(all >= ANSWERS_MIN, "{all} answers");
}
