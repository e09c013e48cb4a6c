//! `hoplog probe`: it sees that everything works, leaves nothing behind, and is told from visitors.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Installation, agent, free_ports, get, terminate};

fn round(command: &mut Command) -> (bool, Value, String) {
    let output = command.arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.success(), report, said)
}

/// The step that failed, and why.
fn failure(report: &Value) -> (&str, &str) {
    let steps = report["steps"].as_array().unwrap();
    let failed = steps.iter().find(|step| !step["error"].is_null()).unwrap();
    (failed["step"].as_str().unwrap(), failed["error"].as_str().unwrap())
}

#[test]
fn a_probe_sees_the_whole_path_and_is_nobodys_click() {
    let mut hoplog = Installation::new().up();
    let (ok, report, said) = round(&mut hoplog.command("probe"));
    assert!(ok, "{report} {said}");
    let steps: Vec<_> = report["steps"].as_array().unwrap().iter().map(|step| &step["step"]).collect();
    assert_eq!(steps, ["create", "follow", "delete", "event"]);

    let id = report["request_id"].as_str().unwrap();
    let sql = format!(
        "SELECT outcome, status, synthetic, click, sample_weight, sample_reason, target_host FROM requests
         WHERE request_id = '{id}' FORMAT TSV"
    );
    assert_eq!(hoplog.query(&sql), "ok\t302\ttrue\tfalse\t1\tforced\tprobe.invalid");
    let gone = agent().get(report["short_url"].as_str().unwrap()).call().unwrap();
    assert_eq!(gone.status(), 404);

    // With somebody else's token it is a visitor, and says so.
    let mut stranger = hoplog.command("probe");
    stranger.env("HOPLOG_SERVE__SHORTENER__HTTP__PROBE_TOKEN", "somebody else's token");
    let (ok, report, _) = round(&mut stranger);
    let (step, error) = failure(&report);
    assert!(!ok && step == "event" && error.contains("probe_token"), "{report}");

    // Two API calls and a visit of each; the visit of the stranger is the only click.
    hoplog.verified();
    let by_kind = |what: &str| {
        hoplog.query(&format!("SELECT synthetic, sum({what}) FROM requests_by_minute WHERE route != 'unmatched' AND status < 400 GROUP BY synthetic ORDER BY synthetic FORMAT TSV"))
    };
    assert_eq!(by_kind("requests"), "false\t3\ntrue\t3");
    assert_eq!(hoplog.number("SELECT count() FROM clicks"), 1);
    assert_eq!(hoplog.number("SELECT sum(clicks) FROM clicks_by_hour"), 1);
    let metrics = get(&format!("http://127.0.0.1:{}/metrics", hoplog.base + 1)).unwrap();
    let counted = r#"hoplog_requests_total{route="/{code}",outcome="ok",synthetic="true",status="3xx"} 1"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    hoplog.down();
}

#[test]
fn a_probe_says_which_step_fails() {
    let mut hoplog = Installation::new().up();
    for (variable, value, expected, words) in [
        ("HOPLOG_URL", "http://127.0.0.1:9", "create", "refused"),
        ("HOPLOG_WAREHOUSE__URL", "http://127.0.0.1:9", "event", "ClickHouse"),
    ] {
        let (ok, report, said) =
            round(hoplog.command("probe").args(["--event-within", "1s"]).env(variable, value));
        let (step, error) = failure(&report);
        assert!(!ok && step == expected && error.contains(words), "{variable}: {report} {said}");
    }
    let key = hoplog.data().join("wrong.key");
    std::fs::write(&key, "wrong").unwrap();
    let (ok, report, _) = round(hoplog.command("probe").arg("--key-file").arg(&key));
    assert!(!ok && failure(&report).0 == "create" && failure(&report).1.contains("401"), "{report}");
    std::fs::remove_file(hoplog.data().join("probe.token")).unwrap();
    let (ok, _, said) = round(&mut hoplog.command("probe"));
    assert!(!ok && said.contains("probe_token"), "{said}");
    hoplog.down();
}

#[test]
fn a_probe_goes_on_until_it_is_told_to_end() {
    let mut hoplog = Installation::new().up();
    let ops = free_ports();
    let mut command = hoplog.command("probe");
    command.args(["--every", "1s", "--ops-listen", &format!("127.0.0.1:{ops}")]).stdout(Stdio::null());
    let mut probe = command.spawn().unwrap();
    let metric = |name: &str| {
        let metrics = get(&format!("http://127.0.0.1:{ops}/metrics")).ok()?;
        metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
    };
    hoplog.wait_for("rounds", || {
        metric(r#"hoplog_probe_rounds_total{failed=""}"#).filter(|rounds| *rounds >= 2.0)
    });
    assert_eq!(metric("hoplog_probe_success"), Some(1.0));
    assert!(metric(r#"hoplog_probe_step_duration_seconds_count{step="event"}"#) >= Some(2.0));
    hoplog.down();
    hoplog.wait_for("a round that fails", || metric(r#"hoplog_probe_rounds_total{failed="create"}"#));
    assert_eq!(metric("hoplog_probe_success"), Some(0.0));
    terminate(&probe);
    assert!(probe.wait().unwrap().success());
}
