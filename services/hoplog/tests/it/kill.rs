//! Exactly once, proven: kill anything at any time, and nothing that the log took is missing or there twice.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::Installation;
use crate::random::{Random, setting};
use crate::traffic::{Connection, get};

/// Kills in a run of the test suite; `TEST_KILLS` asks for more.
const KILLS: u64 = 8;

/// The process ids of a supervisor's children, by role.
fn child(supervisor: u32, role: &str) -> Option<String> {
    let pattern = format!(" {role} --data");
    let output =
        Command::new("ps").args(["--ppid", &supervisor.to_string(), "-o", "pid=,args="]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .find(|line| line.contains(&pattern))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
}

fn kill(pid: &str) {
    // A process that has just ended by itself is as dead as a killed one.
    let _ = Command::new("kill").args(["-KILL", pid]).status().unwrap();
}

#[test]
fn nothing_accepted_is_lost_or_doubled_whatever_is_killed() {
    let seed = setting("TEST_SEED", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
    let kills = setting("TEST_KILLS", KILLS);
    println!("{kills} kills with TEST_SEED={seed}");
    let mut random = Random::new(seed);

    let mut hoplog = Installation::new().up();
    hoplog.link("one", "https://one.example/");
    let (base, answered, over) = (hoplog.base, AtomicU64::new(1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = Connection::new(base);
                while !over.load(Ordering::Relaxed) {
                    match connection.send(&get("/one")) {
                        Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
                        // Nobody listens: the shortener is just being started again.
                        Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
                    }
                }
            });
        }
        for number in 0..kills {
            std::thread::park_timeout(Duration::from_millis(200 + random.below(1_500)));
            let supervisor = hoplog.supervisor.as_ref().unwrap().id();
            let role = ["engine", "collect", "serve", "up"][random.below(4) as usize];
            println!("kill {number}: {role}");
            if role == "up" {
                let mut child = hoplog.supervisor.take().unwrap();
                child.kill().unwrap();
                child.wait().unwrap();
                hoplog.start();
            } else if let Some(pid) = child(supervisor, role) {
                kill(&pid);
            }
        }
        hoplog.wait_until_ready();
        over.store(true, Ordering::Relaxed);
    });

    // What is still in memory gets its chance to be written, and the boot says how it ended.
    hoplog.down();
    hoplog.start();
    hoplog.wait_until_ready();
    let report = hoplog.verified();
    println!("{report}");
    // Every answer that a client got is an event that is stored, or one that is known to be missing. Some more are
    // known: requests that were answered just when their process was killed.
    let stored = hoplog.number("SELECT sum(requests) FROM requests_by_minute");
    let gaps = report["producer_gaps"].as_u64().unwrap();
    let answered = answered.load(Ordering::Relaxed);
    assert!(stored + gaps >= answered, "{answered} answers, {stored} stored, {gaps} known to be missing");
    assert!(
        stored + gaps <= answered + 4 * (kills + 1),
        "{answered} answers, {stored} stored, {gaps} known to be missing"
    );
    hoplog.down();
}
