//! Whom an alert reaches, what silences it, and what people read: by amtool, and by a real Alertmanager.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::runbooks::read;

/// How long a program may take to start on a machine that is busy; never a statement about speed.
const PATIENCE: Duration = Duration::from_secs(60);

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("alertmanager")
}

/// What a program says, which has to succeed. Says `NOT COVERED` and returns nothing where there is no such program.
fn said(command: &mut Command) -> Option<String> {
    let output = match command.current_dir(folder()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("NOT COVERED: Alertmanager: there is no {}", command.get_program().display());
            return None;
        }
        output => output.unwrap(),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    Some(text(&output.stdout))
}

/// The configuration with the receivers of the example, as its first lines say to do it.
fn with_receivers() -> String {
    let config = read("alertmanager/alertmanager.yml");
    let (kept, _) = config.split_once("receivers:\n").unwrap();
    format!("{kept}{}", read("alertmanager/receivers.example.yml"))
}

#[test]
fn configurations_are_valid() {
    let place = tempfile::tempdir().unwrap();
    let example = place.path().join("example.yml");
    let templates = format!("templates: [{}/templates/*.tmpl]", folder().display());
    std::fs::write(&example, with_receivers().replace("templates: [templates/*.tmpl]", &templates)).unwrap();
    said(Command::new("amtool").arg("check-config").arg("alertmanager.yml").arg(example));
}

#[test]
fn alerts_reach_who_should_get_them() {
    for (labels, receiver) in [
        ("alertname=RedirectAvailabilityBurn severity=page slo=redirect-availability", "page"),
        ("alertname=RedirectAvailabilityBurn severity=ticket slo=redirect-availability", "ticket"),
        ("alertname=CollectorStalled severity=page component=collector", "page"),
        ("alertname=DeadLetters severity=ticket component=events", "ticket"),
        ("alertname=Watchdog severity=none component=alerting", "watchdog"),
        ("alertname=SomethingElse severity=none", "nobody"),
        ("alertname=OfSomebodyElse", "ticket"),
    ] {
        let mut amtool = Command::new("amtool");
        amtool.args(["config", "routes", "test", "--config.file=alertmanager.yml"]);
        amtool.arg(format!("--verify.receivers={receiver}")).args(labels.split(' '));
        if said(&mut amtool).is_none() {
            return;
        }
    }
}

/// What Alertmanager gives a template.
fn notification(status: &str, alerts: &Value) -> Value {
    let labels = &alerts[0]["labels"];
    json!({
        "receiver": "page", "status": status, "alerts": alerts,
        "groupLabels": {"alertname": labels["alertname"], "slo": labels["slo"]},
        "commonLabels": labels, "commonAnnotations": alerts[0]["annotations"],
        "externalURL": "http://alertmanager.example:9093",
    })
}

fn alert(status: &str, version: &str) -> Value {
    let end = if status == "firing" { "0001-01-01T00:00:00Z" } else { "2026-01-31T02:05:00Z" };
    json!({
        "status": status, "startsAt": "2026-01-31T01:15:00Z", "endsAt": end,
        "labels": {"alertname": "RedirectAvailabilityBurn", "severity": "page", "component": "redirect", "slo": "redirect-availability", "version": version},
        "annotations": {
            "summary": "Redirects fail: 4.1 % of the 28-day budget in 38m, exhausted in 11h; 92 % on /{code}, version 1.4.2",
            "description": "Whoever follows a link is redirected. The objective is 99.9 % over 28d.",
            "runbook_url": "https://git.example/alerts/runbooks/RedirectAvailabilityBurn.md",
            "dashboard_url": "http://grafana.example/d/hoplog-slo",
            "query_url": "http://clickhouse.example:8123/?database=hoplog&query=SELECT%201",
        },
    })
}

/// A template of ours, rendered for a notification.
fn rendered(name: &str, notification: &Value) -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data.json");
    std::fs::write(&data, notification.to_string()).unwrap();
    let mut amtool = Command::new("amtool");
    amtool.args(["template", "render", "--template.glob=templates/*.tmpl"]);
    amtool.arg(format!("--template.text={{{{ template \"{name}\" . }}}}"));
    amtool.arg(format!("--template.data={}", data.display()));
    Some(said(&mut amtool)?.trim_end().to_owned())
}

#[test]
fn what_people_read_says_what_is_wrong_and_where_to_look() {
    let firing = notification("firing", &json!([alert("firing", "1.4.2")]));
    let Some(subject) = rendered("hoplog.subject", &firing) else { return };
    assert_eq!(
        subject,
        "PAGE RedirectAvailabilityBurn: Redirects fail: 4.1 % of the 28-day budget in 38m, exhausted in 11h; 92 % on /{code}, version 1.4.2"
    );
    for template in ["hoplog.text", "hoplog.slack"] {
        let text = rendered(template, &firing).unwrap();
        for part in [
            "4.1 % of the 28-day budget",
            "The objective is 99.9 %",
            "runbooks/RedirectAvailabilityBurn.md",
            "/d/hoplog-slo",
            "query=SELECT%201",
            "01:15:00 UTC",
            "slo=redirect-availability",
        ] {
            assert!(text.contains(part), "{template} has no {part}:\n{text}");
        }
        assert!(
            !text.contains("<no value>") && !text.contains("&amp;") && !text.contains("severity="),
            "{text}"
        );
    }
    assert_eq!(rendered("hoplog.color", &firing).unwrap(), "danger");
    let two = notification("firing", &json!([alert("firing", "1.4.2"), alert("firing", "1.4.1")]));
    assert!(rendered("hoplog.subject", &two).unwrap().ends_with("(1 of 2)"));
    // What is over stands first here, and is not what somebody is woken for.
    let mut over = alert("resolved", "1.4.1");
    over["annotations"]["summary"] = "long over".into();
    let mixed = notification("firing", &json!([over, alert("firing", "1.4.2")]));
    assert_eq!(rendered("hoplog.subject", &mixed).unwrap(), subject);
    assert!(rendered("hoplog.text", &mixed).unwrap().contains("from 2026-01-31 01:15:00 to 02:05:00 UTC"));
    let over = notification("resolved", &json!([alert("resolved", "1.4.2")]));
    assert!(rendered("hoplog.subject", &over).unwrap().starts_with("RESOLVED RedirectAvailabilityBurn: "));
    assert_eq!(rendered("hoplog.color", &over).unwrap(), "good");
}

/// An Alertmanager with our configuration, which ends with the test.
struct Alertmanager {
    child: Child,
    url: String,
    _place: tempfile::TempDir,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Alertmanager {
    fn start() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", testbed::free_port());
        let mut command = Command::new("prometheus-alertmanager");
        command.arg(format!("--config.file={}", folder().join("alertmanager.yml").display()));
        command.arg(format!("--storage.path={}", place.path().display()));
        command.args([&format!("--web.listen-address={address}"), "--cluster.listen-address="]);
        let child = match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("NOT COVERED: Alertmanager: there is no prometheus-alertmanager");
                return None;
            }
            child => child.unwrap(),
        };
        let alertmanager = Self { child, url: format!("http://{address}/api/v2/alerts"), _place: place };
        let since = Instant::now();
        while ureq::get(&alertmanager.url).call().is_err() {
            assert!(since.elapsed() < PATIENCE, "Alertmanager does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(alertmanager)
    }

    /// Which of these alerts are silenced by others, in their order.
    fn silenced<'a>(&self, alerts: &[&'a str]) -> Vec<&'a str> {
        // It takes them in one after the other: when the last one silences, all before it do.
        const LAST: [&str; 2] = ["TargetDown page job=j instance=last", "NoProof ticket job=j instance=last"];
        let sent: Vec<_> = alerts.iter().chain(&LAST).map(|words| json!({"labels": labels(words)})).collect();
        let (count, body) = (sent.len(), Value::from(sent).to_string());
        ureq::post(&self.url).header("Content-Type", "application/json").send(body).unwrap();
        let since = Instant::now();
        loop {
            let text = ureq::get(&self.url).call().unwrap().body_mut().read_to_string().unwrap();
            let known: Vec<Value> = serde_json::from_str(&text).unwrap();
            let is_silenced = |words: &str| {
                let mut silenced = known.iter().filter(|alert| alert["status"]["state"] == "suppressed");
                silenced.any(|alert| alert["labels"] == labels(words))
            };
            if known.len() == count && is_silenced(LAST[1]) {
                return alerts.iter().copied().filter(|words| is_silenced(words)).collect();
            }
            assert!(since.elapsed() < PATIENCE, "{text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Name, severity and further labels of an alert.
fn labels(words: &str) -> Value {
    let mut words = words.split(' ');
    let mut labels = json!({"alertname": words.next().unwrap(), "severity": words.next().unwrap()});
    for (label, value) in words.map(|word| word.split_once('=').unwrap()) {
        labels[label] = value.into();
    }
    labels
}

/// What fires together, and what of it is silent since something else of it says it already.
const TOGETHER: [(&[&str], &[&str]); 10] = [
    // Of the same SLO, and of no other. What is of no SLO has no label `slo` on both sides, and is no ticket less for it.
    (
        &["ABurn page slo=a", "ABurn ticket slo=a", "BBurn ticket slo=b", "DeadLetters ticket"],
        &["ABurn ticket slo=a"],
    ),
    (&["EventsLostOrRepeated page", "ProducerGaps ticket", "BBurn ticket slo=b"], &[]),
    (
        &[
            "TargetDown page job=collector instance=c-1",
            "NoProof ticket job=collector instance=c-1",
            "NoProof ticket job=collector instance=c-2",
            "EventsNotFresh ticket",
        ],
        &["NoProof ticket job=collector instance=c-1"],
    ),
    (
        &[
            "CollectorGateClosed page job=collector instance=c-1",
            "CollectorStalled page job=collector instance=c-1",
            "CollectorStalled page job=collector instance=c-2",
            "CollectorBehind page partition=3",
            "EventFreshnessBurn page slo=event-freshness",
        ],
        &[
            "CollectorStalled page job=collector instance=c-1",
            "CollectorBehind page partition=3",
            "EventFreshnessBurn page slo=event-freshness",
        ],
    ),
    (
        &[
            "KafkaTakesNothing page job=shortener instance=s-1",
            "EventQueueFills page job=shortener instance=s-1",
            "EventsDropped ticket job=shortener instance=s-2",
            "EventCompletenessBurn page slo=event-completeness",
        ],
        &["EventQueueFills page job=shortener instance=s-1"],
    ),
    (
        &[
            "JobMissing page job=shortener",
            "RedirectAvailabilityAbsent page slo=a",
            "EventFreshnessAbsent page slo=b",
            "RedirectAvailabilityBurn page slo=a",
        ],
        &["RedirectAvailabilityAbsent page slo=a"],
    ),
    // A dead shortener, where it is the only one: one of its SLOs says so for all of them.
    (
        &[
            "TargetDown page job=shortener instance=s-1",
            "RedirectAvailabilityAbsent page slo=a",
            "RedirectLatencyAbsent page slo=b",
            "ApiAvailabilityAbsent page slo=c",
            "ApiLatencyAbsent page slo=d",
            "EventCompletenessAbsent page slo=e",
            "EventFreshnessAbsent page slo=f",
        ],
        &[
            "RedirectLatencyAbsent page slo=b",
            "ApiAvailabilityAbsent page slo=c",
            "ApiLatencyAbsent page slo=d",
            "EventCompletenessAbsent page slo=e",
        ],
    ),
    (
        &[
            "PublicPortDown page instance=a",
            "ProbeFailing page instance=p",
            "RedirectAvailabilityBurn page slo=a",
        ],
        &["ProbeFailing page instance=p"],
    ),
    (
        &[
            "DiskNearlyFull page job=collector instance=d",
            "DiskFilling ticket job=collector instance=d",
            "DiskFilling ticket job=collector instance=e",
        ],
        &["DiskFilling ticket job=collector instance=d"],
    ),
    (
        &[
            "CertificateAlmostExpired page instance=a",
            "CertificateExpiresSoon ticket instance=a",
            "CertificateExpiresSoon ticket instance=b",
        ],
        &["CertificateExpiresSoon ticket instance=a"],
    ),
];

#[test]
fn consequences_are_silent_beside_their_cause_and_nothing_else_is() {
    for (alerts, expected) in TOGETHER {
        let Some(alertmanager) = Alertmanager::start() else { return };
        assert_eq!(alertmanager.silenced(alerts), expected, "{alerts:?}");
    }
}
