//! Counts of links out of their totals, against a plain count of the single clicks.

use std::collections::HashMap;

use http::Method;
use serde_json::Value;
use warehouse::Warehouse;

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
    let hour = now() / 3_600 * 3_600 - 900 * 3_600;
    fill(&warehouse, hour).await;
    let mut plain = HashMap::new();
    for (code, begins) in LINKS {
        let sql = format!(
            "SELECT countIf(NOT bot), countIf(bot) FROM clicks WHERE domain = '' AND code = '{code}' AND ts >= toDateTime({})",
            hour + begins
        );
        plain.insert(code, warehouse.rows::<(u64, u64)>(&sql, &[]).await.unwrap()[0]);
    }
    assert!(plain["sharp"].0 > plain["long-before"].0 && plain["after-all"] == (0, 0));

    compare(&warehouse, hour, &plain).await;
    // A range of before links were counted side by side: what is older is counted from the other tables, and all the same.
    let old = "INSERT INTO ingest_ledger (topic, clicks, collected_at) SELECT 't', 1, now()";
    warehouse.execute(old).await.unwrap();
    warehouse.execute("TRUNCATE TABLE clicks_by_link").await.unwrap();
    compare(&warehouse, hour, &plain).await;
}

/// Of each link but the last a click every 1,777 seconds, from five hours before on, and some of its name elsewhere.
async fn fill(warehouse: &Warehouse, hour: i64) {
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
        "INSERT INTO clicks_by_link (first, code, domain, dimension, bot, clicks) SELECT toStartOfHour(ts), code, domain, \
         arrayJoin(['all', 'day']) AS d, bot, count() FROM clicks GROUP BY ALL"
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
}

/// What the API says of the links, beside a plain count.
async fn compare(warehouse: &Warehouse, hour: i64, plain: &HashMap<&str, (u64, u64)>) {
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    for (code, begins) in LINKS {
        link(&server, code, hour + begins).await;
    }
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
    let all: u64 = plain.values().map(|(people, bots)| people + bots).sum();
    let people: u64 = plain.values().map(|(people, _)| people).sum();
    for (query, expected) in [("", all), ("?excludeBots=true", people), ("?interval=month", all)] {
        let path = format!("/rest/v3/tags/t/stats{query}");
        let tag = server.api(Method::GET, &path, &Value::Null).await.json();
        assert_eq!(tag["stats"]["total"], expected, "{query}");
        assert_eq!(tag["stats"]["countries"][0]["total"], Value::Null);
        let series = tag["stats"]["series"].as_array().unwrap();
        let points: u64 = series.iter().map(|point| point["total"].as_u64().unwrap()).sum();
        assert_eq!(points, expected, "{query}");
    }
    // Days are those of the single clicks: of a time zone, they are put together of hours.
    let of = async |query: &str| {
        let path = format!("/rest/v3/short-urls/within/stats?{query}");
        server.api(Method::GET, &path, &Value::Null).await.json()["stats"]["series"].take()
    };
    let (days, hours) = (of("interval=day").await, of("interval=hour").await);
    let of_hours = |date: &str| -> u64 {
        let hours = hours.as_array().unwrap().iter();
        let of_day = hours.filter(|hour| hour["date"].as_str().unwrap()[..10] == date[..10]);
        of_day.map(|hour| hour["total"].as_u64().unwrap()).sum()
    };
    for day in days.as_array().unwrap() {
        assert_eq!(day["total"], of_hours(day["date"].as_str().unwrap()), "{day}");
    }
}
