//! What could not be stored: found, repaired, sent again once, deleted; and the books balance after each step.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::SystemTime;

use event_log::spool::{Spool, SpoolConfig};
use event_log::{EventLog, EventLogMetrics, Message};
use serde_json::Value;
use wide_event::Timestamp;

use crate::harness::Installation;

/// The producer of the events here; its numbers are followed like any other's.
const BOOT: &str = "0199a0b0-0000-7000-8000-000000000001";

pub(crate) fn event(ts: &str, seq: u64) -> String {
    format!(
        r#"{{"ts":"{ts}","service":"test","instance":"poisoner","boot_id":"{BOOT}","seq":{seq},"status":500,"outcome":"server_error","method":"GET","route":"/x"}}"#
    )
}

pub(crate) fn now() -> String {
    Timestamp::from_system(SystemTime::now()).to_string()
}

/// Appends messages from this process beside the shortener's.
pub(crate) fn append(log: &dyn EventLog, messages: Vec<Message>) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let producer = log.producer(EventLogMetrics::default()).unwrap();
        producer.append(messages).await.unwrap();
        producer.close().await;
    });
}

fn dlq(hoplog: &Installation, arguments: &[&str], input: &str) -> Output {
    let mut command = hoplog.command("dlq");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Commands that read nothing may be gone by then.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What it printed, once it succeeded.
pub(crate) fn said(hoplog: &Installation, arguments: &[&str], input: &str) -> String {
    let output = dlq(hoplog, arguments, input);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out.into_owned()
}

/// What it printed, once it exited with 1.
fn refused(hoplog: &Installation, arguments: &[&str], input: &str) -> String {
    let output = dlq(hoplog, arguments, input);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    said
}

pub(crate) fn letters(hoplog: &Installation) -> Vec<Value> {
    let list = said(hoplog, &["list", "--json"], "");
    list.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The id of the one with this reason.
pub(crate) fn id(letters: &[Value], reason: &str) -> String {
    let mut found = letters.iter().filter(|letter| letter["reason"] == reason);
    let id = found.next().unwrap_or_else(|| panic!("no {reason} in {letters:?}"))["id"].as_str().unwrap();
    assert_eq!(found.next(), None);
    id.to_owned()
}

#[test]
fn dead_letters_are_repaired_and_sent_again_once_and_the_books_balance() {
    let mut hoplog = Installation::new().up();
    let (ts, old) = (now(), "2020-01-01T00:00:00.000000Z");
    let whole = event(&ts, 2);
    let cut = whole[..whole.len() - 9].to_owned();
    let spool = Spool::new(SpoolConfig { path: hoplog.data().join("spool"), ..Default::default() });
    append(
        &spool,
        vec![
            Message::events(format!("{}\n{cut}\n{}\n{}\n", event(&ts, 1), event(old, 3), event(&ts, 4)), 4),
            Message { schema: "somebody.else.v1".into(), ..Message::events("never ours\n", 1) },
        ],
    );
    let report = hoplog.verified();
    assert_eq!((&report["dead_lettered"], &report["producer_gaps"]), (&3.into(), &1.into()), "{report}");

    let found = letters(&hoplog);
    assert_eq!(found.len(), 3, "{found:?}");
    let (truncated, too_old) = (id(&found, "truncated"), id(&found, "too_old"));
    assert_eq!(said(&hoplog, &["show", &truncated, "--raw"], ""), cut);
    let shown = said(&hoplog, &["show", &truncated], "");
    assert!(shown.contains("truncated") && shown.contains(&cut), "{shown}");
    assert!(refused(&hoplog, &["show", "hoplog.events.v1:0:999999:1"], "").contains("no dead letter"));

    // As it is, it would be a dead letter again; what is repaired is sent, and not by a dry run.
    assert!(refused(&hoplog, &["replay", &truncated], "").contains("cut short"));
    said(&hoplog, &["replay", &truncated, "--with", "-", "--dry-run"], &whole);
    said(&hoplog, &["replay", &truncated, "--with", "-"], &whole);
    assert!(refused(&hoplog, &["replay", &truncated, "--with", "-"], &whole).contains("--force"));
    said(&hoplog, &["replay", &truncated, "--with", "-", "--dry-run", "--force"], &whole);
    let report = hoplog.verified();
    assert_eq!((&report["dead_lettered"], &report["producer_gaps"]), (&3.into(), &0.into()), "{report}");

    // A number that had arrived before does not arrive twice.
    assert!(refused(&hoplog, &["replay", "--reason", "too_old"], "").contains("refused again"));
    said(&hoplog, &["replay", "--reason", "too_old", "--command", &format!("sed s/{old}/{ts}/")], "");
    let report = hoplog.verified();
    assert_eq!((&report["dead_lettered"], &report["producer_gaps"]), (&3.into(), &0.into()), "{report}");
    let stored = "SELECT count() FROM requests WHERE instance = 'poisoner'";
    assert_eq!(hoplog.number(stored), 4);
    assert_eq!(hoplog.number(&stored.replace("count()", "uniqExact(seq)")), 4);

    // What can't be repaired is deleted, and stays counted.
    let other = id(&found, "unknown_schema");
    assert!(refused(&hoplog, &["purge", &other], "").contains("--yes"));
    assert_eq!(said(&hoplog, &["show", &other, "--raw"], ""), "never ours\n");
    said(&hoplog, &["purge", &other, "--yes"], "");
    assert!(refused(&hoplog, &["show", &other, "--raw"], "").contains("purged"));
    assert!(refused(&hoplog, &["replay", &other], "").contains("purged"));
    let after = letters(&hoplog);
    assert_eq!(after.len(), 3, "{after:?}");
    let state =
        |id: &str, field: &str| after.iter().find(|letter| letter["id"] == id).unwrap()[field].clone();
    assert_eq!((state(&other, "purged"), state(&truncated, "purged")), (true.into(), false.into()));
    assert_eq!((state(&too_old, "replays"), state(&other, "replays")), (1.into(), 0.into()));
    hoplog.verified();
    hoplog.down();
}
