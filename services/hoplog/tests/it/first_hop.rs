//! The first thing anyone does: make a link, follow it, find its event.

use crate::harness::{Installation, agent};

#[test]
fn a_redirect_leaves_an_event_that_can_be_queried() {
    let mut hoplog = Installation::new().up();
    hoplog.link("rust", "https://www.rust-lang.org/learn?token=secret");
    let response = agent()
        .get(format!("{}/rust", hoplog.shortener()))
        .header("Referer", "https://news.example/item?id=secret")
        .header("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .call()
        .unwrap();
    assert_eq!(response.status(), 302);
    assert_eq!(response.headers()["location"], "https://www.rust-lang.org/learn?token=secret");
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();

    // A single redirect in a quiet minute is rare enough to be kept, so its raw event is there as well.
    let sql = format!(
        "SELECT outcome, status, code, route, method, cache, referrer_host, target_host, browser, client_net, click, sample_weight
         FROM requests WHERE request_id = '{id}' FORMAT TSV"
    );
    let event = hoplog.wait_for("the event", || hoplog.try_query(&sql).ok().filter(|row| !row.is_empty()));
    assert_eq!(
        event,
        "ok\t302\trust\t/{code}\tGET\tl1\tnews.example\twww.rust-lang.org\tFirefox\t127.0.0.0/24\ttrue\t1"
    );
    let clicks = || hoplog.number("SELECT sum(clicks) FROM clicks_by_hour WHERE code = 'rust'");
    hoplog.wait_for("the click", || (clicks() == 1).then_some(()));

    // Analysts read, and change nothing.
    let analyst = |sql: &str| {
        let url = format!("http://127.0.0.1:{}/?database=hoplog&user=analyst", hoplog.base + 3);
        agent().post(url).send(sql).unwrap().status().as_u16()
    };
    assert_eq!(analyst("SELECT count() FROM requests"), 200);
    assert_ne!(analyst("TRUNCATE TABLE requests"), 200);

    let whole = hoplog.query("SELECT * FROM requests FORMAT JSONEachRow");
    assert!(!whole.contains("secret") && !whole.contains(&hoplog.key()), "{whole}");
    hoplog.down();

    // Ended in good order, nothing was in memory: the next start finds every number accounted for.
    let hoplog = {
        hoplog.start();
        hoplog
    };
    hoplog.wait_until_ready();
    let report = hoplog.verified();
    assert_eq!(report["producer_gaps"], 0, "{report}");
}
