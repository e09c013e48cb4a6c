//! Counts of links out of their totals, against a plain count of the single clicks.

use std::collections::HashMap;

use http::Method;
use serde_json::Value;

use crate::server::Server;
use crate::statistics::{link, now, shared};

/// Rows of other links: as many as it takes for totals to be fewer granules than the rows by hour.
const OTHERS: u32 = 120_000;

/// Names of links, and how many seconds after the hour they begin to count, or begin again.
const LINKS: [(&str, i64); 8] = [
    ("sharp", 0),
    ("within", 1_234),
    ("late", 3_599),
    ("long-before", 40 * 3_600 + 17),
    ("hours-before", 3 * 3_600),
    ("after-all", 400 * 3_600 + 1),
    ("month-later", 800 * 3_600 + 1_800),
    ("never", 5),
];

#[tokio::test]
async fn totals_of_links_are_what_a_plain_count_of_clicks_says() {
    let warehouse = shared("link_totals").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let hour = now() / 3_600 * 3_600 - 900 * 3_600;
    for (code, begins) in LINKS {
        link(&server, code, hour + begins).await;
    }
    // Of each link but the last a click every 1,777 seconds, from five hours before on, and one of its name elsewhere.
    let names = LINKS[..7].iter().map(|(code, _)| format!("'{code}'")).collect::<Vec<_>>().join(", ");
    let begins = hour - 5 * 3_600;
    for sql in [
        format!(
            "INSERT INTO clicks (ts, code, domain, bot, visitor) SELECT toDateTime({begins}) + 1777 * number, \
             arrayJoin([{names}]), if(number % 11 = 0, 's.example', ''), number % 5 = 0, number FROM numbers(500)"
        ),
        format!(
            "INSERT INTO clicks (ts, code, visitor) SELECT toDateTime({hour}) + number % 3600, \
             concat('other', toString(number)), number FROM numbers({OTHERS})"
        ),
        "INSERT INTO clicks_by_hour (hour, code, domain, bot, clicks, visitors) SELECT toStartOfHour(ts), code, domain, \
         bot, count(), uniqState(visitor) FROM clicks GROUP BY ALL"
            .to_owned(),
    ] {
        warehouse.execute(&sql).await.unwrap();
    }
    let name = "concat(toString(domain), '/', code)";
    let projected = format!(
        "SELECT sum(clicks) FROM clicks_by_hour WHERE {name} IN ('/sharp', '/late') GROUP BY {name} \
         SETTINGS force_optimize_projection = 1"
    );
    assert_eq!(warehouse.rows::<u64>(&projected, &[]).await.unwrap().len(), 2, "totals are not read");

    let mut plain = HashMap::new();
    for (code, begins) in LINKS {
        let sql = format!(
            "SELECT countIf(NOT bot), countIf(bot) FROM clicks WHERE domain = '' AND code = '{code}' AND ts >= toDateTime({})",
            hour + begins
        );
        plain.insert(code, warehouse.rows::<(u64, u64)>(&sql, &[]).await.unwrap()[0]);
    }
    assert!(plain["sharp"].0 > plain["long-before"].0 && plain["after-all"] == (0, 0));
    for query in
        ["itemsPerPage=20", "itemsPerPage=20&orderBy=visits-DESC", "itemsPerPage=20&orderBy=nonBotVisits"]
    {
        let answer = server.api(Method::GET, &format!("/rest/v3/short-urls?{query}"), &Value::Null).await;
        let list = answer.json()["shortUrls"]["data"].take();
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), LINKS.len());
        for found in list {
            let summary = &found["visitsSummary"];
            let counts = (summary["nonBots"].as_u64().unwrap(), summary["bots"].as_u64().unwrap());
            assert_eq!(counts, plain[found["shortCode"].as_str().unwrap()], "{query} {found}");
        }
    }
    let tag = server.api(Method::GET, "/rest/v3/tags/t/stats", &Value::Null).await.json();
    let all: u64 = plain.values().map(|(people, bots)| people + bots).sum();
    assert_eq!((&tag["stats"]["total"], &tag["stats"]["countries"][0]["total"]), (&all.into(), &Value::Null));
}
