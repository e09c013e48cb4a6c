//! Conservation as metrics: what is lost or there twice shows by itself, without anybody asking.

use std::time::Duration;

use crate::harness::{Installation, agent, get};

#[test]
fn a_row_that_is_lost_or_there_twice_shows_in_the_metrics() {
    let mut hoplog = Installation::new().set("HOPLOG_COLLECT__VERIFY_EVERY_S", "1").up();
    hoplog.link("one", "https://one.example/");
    for _ in 0..20 {
        // Failures are all kept, so there are rows to lose.
        assert_eq!(agent().get(format!("{}/unknown", hoplog.shortener())).call().unwrap().status(), 404);
    }
    hoplog.verified();
    let metrics = format!("http://127.0.0.1:{}/metrics", hoplog.base + 2);
    let of = |name: &str| hoplog.metric(2, &format!("hoplog_verify_{name}"));
    let last_success = || {
        let text = get(&metrics).unwrap();
        let line =
            text.lines().find(|line| line.starts_with("hoplog_verify_last_success_timestamp_seconds "));
        line.unwrap().rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    hoplog.wait_for("a proof", || (of("done") == 1).then_some(()));
    assert_eq!((of("findings"), of("done"), of("lost_rows"), of("repeated_rows")), (0, 1, 0, 0));

    hoplog.query("INSERT INTO requests SELECT * FROM requests WHERE status = 404 LIMIT 3");
    hoplog.wait_for("repeated rows", || (of("repeated_rows") > 0 && of("findings") > 0).then_some(()));
    hoplog.query("ALTER TABLE requests DELETE WHERE status = 404 SETTINGS mutations_sync = 1");
    hoplog.wait_for("lost rows", || (of("lost_rows") > 0).then_some(()));
    hoplog.wait_for("a log line", || hoplog.log().contains("the books do not balance").then_some(()));
    let before = last_success();

    // Without ClickHouse nothing can be proved, and that shows as well.
    hoplog.query("RENAME TABLE ingest_ledger TO hidden");
    hoplog.wait_for("a proof that can't be done", || {
        (of("done") == 0 && of("failures_total") > 0).then_some(())
    });
    hoplog.query("RENAME TABLE hidden TO ingest_ledger");
    hoplog.wait_for("proofs again", || (of("done") == 1).then_some(()));
    assert!(last_success() - before < Duration::from_secs(1).as_secs_f64(), "no success in between");
    hoplog.down();
}
