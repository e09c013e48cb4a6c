//! `hoplog slo` over the real path: events of a version that fails, of one that is slow and of a good one, as their processes
//! would leave them, through log, collector and ClickHouse; and a gate that tells the three apart.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use event_log::Message;
use event_log::spool::{Spool, SpoolConfig};
use serde_json::Value;
use wide_event::Timestamp;

use crate::dlq;
use crate::harness::Installation;
use crate::random::{Random, setting};

/// Requests of each version in each of its minutes.
const REQUESTS: u64 = 400;
/// Minutes of the old version, and of each new one: the first is not compared.
const OLD_MINUTES: u64 = 14;
const NEW_MINUTES: u64 = 12;

/// Another service in the same log and ClickHouse, whose versions have the same names: its new one fails, and its old one had
/// ended before that began.
const OTHER: &str = "other";
/// How many minutes before now the other service's old version ended, and how many it had served: more than are compared,
/// however long the test takes.
const OTHER_ENDED_MINUTES: u64 = 17;
const OTHER_OLD_MINUTES: u64 = 30;

struct Build {
    service: &'static str,
    version: &'static str,
    boot: &'static str,
    minutes: u64,
    /// How many minutes before now it ended.
    ended_minutes: u64,
    /// Of a hundred requests.
    failures: u64,
    slower: f64,
}

const BUILDS: [Build; 4] = [
    Build { boot: "0199a0b0-0000-7000-8000-00000000000a", minutes: OLD_MINUTES, ..good("hoplog", "1.0.0") },
    Build { boot: "0199a0b0-0000-7000-8000-00000000000b", failures: 2, ..good("hoplog", "1.1.0") },
    Build { boot: "0199a0b0-0000-7000-8000-00000000000c", slower: 1.3, ..good("hoplog", "1.2.0") },
    Build { boot: "0199a0b0-0000-7000-8000-00000000000d", ..good("hoplog", "1.3.0") },
];

const OTHERS: [Build; 2] = [
    Build {
        boot: "0199a0b0-0000-7000-8000-00000000000e",
        minutes: OTHER_OLD_MINUTES,
        ended_minutes: OTHER_ENDED_MINUTES,
        ..good(OTHER, "1.0.0")
    },
    Build { boot: "0199a0b0-0000-7000-8000-00000000000f", failures: 2, ..good(OTHER, "1.3.0") },
];

const fn good(service: &'static str, version: &'static str) -> Build {
    Build { service, version, boot: "", minutes: NEW_MINUTES, ended_minutes: 0, failures: 0, slower: 1.0 }
}

impl Build {
    /// Events of all its minutes but the one that goes on.
    fn events(&self, random: &mut Random, minute_s: u64) -> Vec<Message> {
        let minutes = (0..self.minutes).map(|at| {
            // What else the machine does slows all versions alike, by up to a half; with the other service it has a machine
            // of its own, since minutes before are not the same minutes.
            let minute_s = minute_s - (self.ended_minutes + self.minutes - at) * 60;
            let load = if self.service == OTHER { 1.0 } else { 1.0 + (minute_s / 60 % 6) as f64 / 10.0 };
            let mut lines = String::new();
            for number in 0..REQUESTS {
                let seq = at * REQUESTS + number + 1;
                let ts = UNIX_EPOCH + Duration::from_micros(minute_s * 1_000_000 + number * 60_000_000 / REQUESTS);
                let ts = Timestamp::from_system(ts);
                // Every fiftieth for two of a hundred: exactly so many fail.
                let fails = self.failures > 0 && number % (100 / self.failures) == 0;
                let (status, outcome) = if fails { (500, "server_error") } else { (302, "ok") };
                let cache = if number % 10 == 0 { "store" } else { "l1" };
                let usual_us = if cache == "store" { 2_500.0 } else { 250.0 };
                let duration_us = (usual_us * load * self.slower * random.around_one()) as u64;
                let Self { service, version, boot, .. } = self;
                writeln!(
                    lines,
                    r#"{{"ts":"{ts}","service":"{service}","version":"{version}","instance":"{version}","boot_id":"{boot}","seq":{seq},"status":{status},"outcome":"{outcome}","method":"GET","route":"/{{code}}","cache":"{cache}","duration_us":{duration_us}}}"#
                )
                .unwrap();
            }
            Message::events(lines, REQUESTS as u32)
        });
        minutes.collect()
    }
}

impl Random {
    /// Log-normal around 1: two thirds are within a factor of 1.6. The sum of twelve is normal enough.
    fn around_one(&mut self) -> f64 {
        let sum: f64 = (0..12).map(|_| self.below(1_000_000) as f64 / 1e6).sum();
        ((sum - 6.0) * 0.5).exp()
    }
}

/// Exit status and what was printed.
fn slo(hoplog: &Installation, arguments: &[&str]) -> (i32, String) {
    let output = hoplog.command("slo").args(arguments).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), said)
}

fn gate(hoplog: &Installation, version: &str) -> (i32, Value) {
    let arguments = ["gate", "--bake", "10m", "--new", version, "--old", "1.0.0", "--json"];
    let output = hoplog.command("slo").args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}")))
}

fn worse(found: &Value) -> Vec<&str> {
    let checks = found["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["verdict"] == "roll back")
        .map(|check| check["check"].as_str().unwrap())
        .collect()
}

/// The gate of the other service, which names no versions: the newest is held against what served before it.
fn against_the_minutes_before(hoplog: &Installation, minute_s: u64) {
    let ask = |more: &[&str]| {
        let mut command = hoplog.command("slo");
        command.env("HOPLOG_SERVICE__NAME", OTHER).args(["gate", "--bake", "10m"]).args(more);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, said) = ask(&["--json"]);
    let found: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!((status, worse(&found)), (4, vec!["redirect-availability"]), "{found:#}");
    let versions = &found["versions"];
    assert_eq!((versions["new"].as_str(), versions["old"].as_str()), (Some("1.3.0"), Some("1.0.0")));
    let minutes = versions["minutes"].as_u64().unwrap();
    // Its last minute may not have been whole.
    let old_until_s = minute_s - (OTHER_ENDED_MINUTES + 1) * 60;
    assert_eq!(versions["old_since_s"], old_until_s - minutes * 60, "{found:#}");
    assert_eq!(versions["new_since_s"], minute_s - (NEW_MINUTES - 1) * 60, "{found:#}");
    for check in found["checks"].as_array().unwrap() {
        let requests = [check["old_requests"].as_u64().unwrap(), check["new_requests"].as_u64().unwrap()];
        let failed =
            check["check"].as_str().unwrap().contains("latency").then_some((NEW_MINUTES - 1) * REQUESTS / 50);
        let answered = (NEW_MINUTES - 1) * REQUESTS - failed.unwrap_or_default();
        // Nobody asked for the API.
        assert!(requests == [0, 0] || requests == [minutes * REQUESTS, answered], "{check:#}");
    }
    let (status, said) = ask(&[]);
    assert!(status == 4 && said.contains("against 1.0.0 for as long from "), "{status} {said}");
}

#[test]
fn budgets_are_exact_and_the_gate_tells_builds_apart() {
    let mut hoplog = Installation::new().up();
    let (status, said) = slo(&hoplog, &[]);
    assert!(status == 3 && said.contains("no events") && said.contains("NOT KNOWN"), "{status} {said}");
    let (status, said) = slo(&hoplog, &["gate"]);
    assert!(status == 3 && said.starts_with("wait: no version has answered"), "{status} {said}");
    let (status, said) = slo(&hoplog, &["--slo", "redirects"]);
    assert!(status == 1 && said.contains("there are redirect-availability, "), "{status} {said}");

    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("TEST_SEED", clock);
    println!("TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let minute_s = now_s / 60 * 60;
    let spool = Spool::new(SpoolConfig { path: hoplog.data().join("spool"), ..Default::default() });
    for build in BUILDS.iter().chain(&OTHERS) {
        dlq::append(&spool, build.events(&mut random, minute_s));
    }
    hoplog.verified();
    // The gate leaves out the seconds of which events may still be on their way.
    hoplog.wait_for("whole minutes", || {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        (now_s >= minute_s + 16).then_some(())
    });

    let requests: u64 = BUILDS.iter().map(|build| build.minutes * REQUESTS).sum();
    let failed = NEW_MINUTES * REQUESTS / 50;
    let (status, said) = slo(&hoplog, &["--json"]);
    let all: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    assert!(all["quiet_since_s"].is_null(), "{said}");
    let of =
        |name: &str| all["slos"].as_array().unwrap().iter().find(|slo| slo["slo"] == name).unwrap().clone();
    let availability = of("redirect-availability");
    for window in ["1h", "28d"] {
        let counts = &availability["windows"][window];
        assert_eq!(
            (counts["total"].as_f64(), counts["bad"].as_f64()),
            (Some(requests as f64), Some(failed as f64)),
            "{window}"
        );
    }
    // Failures of one request in 208 are nearly five times what the budget allows.
    assert_eq!((status, availability["state"].as_str()), (4, Some("spent")), "{said}");
    assert_eq!(
        (availability["exhaustion_s"].as_f64(), of("redirect-latency")["state"].as_str()),
        (Some(0.0), Some("ok"))
    );
    assert_eq!(of("api-availability")["state"], "no events");
    let (_, said) = slo(&hoplog, &["--slo", "redirect-availability"]);
    assert!(
        said.contains("99.9 %") && said.contains("spent") && !said.contains("redirect-latency"),
        "{said}"
    );

    let (status, found) = gate(&hoplog, "1.1.0");
    assert_eq!((status, worse(&found)), (4, vec!["redirect-availability"]), "{found:#}");
    let (status, found) = gate(&hoplog, "1.2.0");
    assert_eq!((status, worse(&found)), (4, vec!["latency"]), "{found:#}");
    let (status, found) = gate(&hoplog, "1.3.0");
    assert_eq!((status, found["verdict"].as_str()), (0, Some("promote")), "{found:#}");
    assert_eq!(found["versions"]["old"], "1.0.0");

    against_the_minutes_before(&hoplog, minute_s);

    // For people, and longer than it has served.
    let arguments = ["gate", "--bake", "1h", "--new", "1.3.0", "--old", "1.0.0"];
    let (status, said) = slo(&hoplog, &arguments);
    assert!(
        status == 3 && said.contains("wait: it has served for 1") && said.contains("latency"),
        "{status} {said}"
    );
    hoplog.down();
}
