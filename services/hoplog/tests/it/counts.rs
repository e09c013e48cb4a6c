//! Exact despite sampling: what was answered, what was counted and what is stored agree to the request.

use crate::harness::Installation;
use crate::traffic::{get, send_all};

#[test]
fn answers_counters_rollups_and_ledger_agree_to_the_request() {
    let mut hoplog = Installation::new().up();
    hoplog.link("one", "https://one.example/");
    hoplog.link("two", "https://two.example/");
    let made = 2; // the two requests that made the links are hops as well
    let requests = [
        get("/one"),
        get("/one"),
        get("/two"),
        b"HEAD /one HTTP/1.1\r\nHost: test\r\n\r\n".to_vec(),
        get("/unknown"),
        get("/%ff%00"),
        b"GET /one HTTP/1.1\r\nbroken header\r\n\r\n".to_vec(),
        b"POST /one HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n".to_vec(),
    ];
    let answers = send_all(hoplog.base, &requests, 250);
    let of =
        |which: usize| answers.iter().filter(|((w, _), _)| *w == which).map(|(_, count)| count).sum::<u64>();
    let with =
        |wanted: u16| answers.iter().filter(|((_, s), _)| *s == wanted).map(|(_, count)| count).sum::<u64>();
    let all: u64 = answers.values().sum();

    let report = hoplog.verified();
    assert_eq!(report["producer_gaps"], 0, "{report}");
    assert_eq!(hoplog.metric(1, "hoplog_requests_total"), all + made);
    assert_eq!(hoplog.number("SELECT sum(requests) FROM requests_by_minute"), all + made);
    assert_eq!(hoplog.number("SELECT sum(events) FROM ingest_ledger"), all + made);
    for status in [302, 400, 404, 405] {
        let stored =
            hoplog.number(&format!("SELECT sum(requests) FROM requests_by_minute WHERE status = {status}"));
        assert_eq!(stored, with(status), "status {status}");
        assert!(stored > 0, "status {status} did not come up: {answers:?}");
    }

    for (code, clicks) in [("one", of(0) + of(1)), ("two", of(2))] {
        for table in [
            "SELECT sum(clicks) FROM clicks_by_hour WHERE",
            "SELECT count() FROM clicks WHERE",
            "SELECT sum(clicks) FROM clicks_by_day WHERE dimension = 'browser' AND",
        ] {
            assert_eq!(hoplog.number(&format!("{table} code = '{code}'")), clicks, "{table} {code}");
        }
    }
    let clicks = of(0) + of(1) + of(2);
    for table in ["visits_by_hour WHERE", "visits_by_day WHERE dimension = 'country' AND"] {
        let sql = format!("SELECT sum(visits) FROM {table} kind = 'click'");
        assert_eq!(hoplog.number(&sql), clicks, "{sql}");
    }

    // Kept rows are fewer, and their weights make up for it within three standard errors.
    let kept = hoplog.number("SELECT count() FROM requests");
    assert!(kept < all / 2, "{kept} of {all} kept: nothing was sampled");
    let off: f64 = hoplog
        .query(&format!(
            "SELECT abs(sum(sample_weight) - {}) / sqrt(sum(sample_weight * (sample_weight - 1)) + 1e-9)
             FROM requests WHERE status = 302",
            with(302)
        ))
        .parse()
        .unwrap();
    assert!(off < 3.0, "{off} standard errors");
    hoplog.down();
}
