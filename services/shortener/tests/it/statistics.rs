//! Counts and visits out of a real ClickHouse, against clicks that were put there one by one.

use std::fmt::Write as _;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testbed::Engine;
use warehouse::{Warehouse, WarehouseConfig, migrate};

use crate::server::{Answer, Server};

/// A click, or a visit that reached no link: then `code` is the path.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'a> {
    pub(crate) ts: i64,
    pub(crate) domain: &'a str,
    pub(crate) code: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) visitor: u64,
    pub(crate) country: &'a str,
    pub(crate) bot: bool,
    pub(crate) version: u32,
    pub(crate) rule: u8,
}

pub(crate) const CLICK: Visit<'_> = Visit {
    ts: 0,
    domain: "",
    code: "",
    kind: "click",
    visitor: 1,
    country: "DE",
    bot: false,
    version: 1,
    rule: 0,
};

pub(crate) fn click<'a>(domain: &'a str, code: &'a str, ts: i64) -> Visit<'a> {
    Visit { ts, domain, code, ..CLICK }
}

async fn warehouse(address: &str, database: &str) -> Warehouse {
    let url = format!("http://{address}");
    let warehouse =
        Warehouse::new(&WarehouseConfig { url, database: database.to_owned(), ..WarehouseConfig::default() });
    migrate(&warehouse).await.unwrap();
    warehouse
}

/// A database of its own in the engine that all tests share.
pub(crate) async fn shared(database: &str) -> Warehouse {
    warehouse(testbed::shared_engine_address(), database).await
}

pub(crate) fn now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

/// Puts visits into every table, as the collector does.
pub(crate) async fn put(warehouse: &Warehouse, visits: &[Visit<'_>]) {
    let mut rows = String::new();
    for Visit { ts, domain, code, kind, visitor, country, bot, version, rule } in visits {
        let _ = write!(
            rows,
            "({ts}, '{domain}', '{code}', '{kind}', {visitor}, '{country}', {bot}, {version}, {rule}),"
        );
    }
    let rows = rows.trim_end_matches(',');
    let batch = format!(
        "(SELECT toDateTime(t.1, 'UTC') AS ts, t.2 AS domain, t.3 AS code, t.4 AS kind, toUInt64(t.5) AS visitor, \
         t.6 AS country, 'desktop' AS device, 'Firefox' AS browser, 'Linux' AS os, 'news.example' AS referrer_host, \
         t.7 AS bot, toUInt32(t.8) AS link_version, toUInt8(t.9) AS rule FROM (SELECT arrayJoin([{rows}]) AS t))"
    );
    let single = "visitor, country, device, browser, os, referrer_host, bot";
    let dimensions = "ARRAY JOIN [('country', country), ('device', device), ('browser', browser), ('os', os), \
                      ('referrer_host', referrer_host)] AS d";
    let of_link = dimensions.replace('[', "[('all', ''), ('day', ''), ");
    for sql in [
        format!(
            "INSERT INTO clicks (ts, domain, code, link_version, rule, {single}) SELECT ts, domain, code, link_version, rule, {single} FROM {batch} WHERE kind = 'click'"
        ),
        format!(
            "INSERT INTO orphan_visits (ts, domain, path, kind, {single}) SELECT ts, domain, code, kind, {single} FROM {batch} WHERE kind != 'click'"
        ),
        format!(
            "INSERT INTO clicks_by_hour (hour, domain, code, bot, clicks, visitors) SELECT toStartOfHour(ts), domain, code, bot, count(), uniqState(visitor) FROM {batch} WHERE kind = 'click' GROUP BY ALL"
        ),
        format!(
            "INSERT INTO visits_by_hour (hour, domain, kind, bot, visits, visitors) SELECT toStartOfHour(ts), domain, kind, bot, count(), uniqState(visitor) FROM {batch} GROUP BY ALL"
        ),
        format!(
            "INSERT INTO clicks_by_day (day, domain, code, dimension, value, bot, clicks) SELECT toDate(ts), domain, code, d.1, d.2, bot, count() FROM {batch} {dimensions} WHERE kind = 'click' GROUP BY ALL"
        ),
        format!(
            "INSERT INTO clicks_by_link (first, domain, code, dimension, value, bot, clicks) SELECT if(d.1 IN ('all', 'day'), toStartOfHour(ts), toStartOfDay(ts)) AS f, domain, code, d.1, d.2, bot, count() FROM {batch} {of_link} WHERE kind = 'click' GROUP BY ALL"
        ),
        format!(
            "INSERT INTO visits_by_day (day, domain, kind, dimension, value, bot, visits) SELECT toDate(ts), domain, kind, d.1, d.2, bot, count() FROM {batch} {dimensions} GROUP BY ALL"
        ),
    ] {
        warehouse.execute(&sql).await.unwrap();
    }
}

pub(crate) async fn read(server: &Server, path: &str) -> Value {
    let answer = server.api(Method::GET, path, &Value::Null).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

async fn delete(server: &Server, path: &str) -> Answer {
    server.api(Method::DELETE, path, &Value::Null).await
}

pub(crate) fn total(visits: &Value) -> u64 {
    visits["visits"]["pagination"]["totalItems"].as_u64().unwrap()
}

/// A link made at `created`, which the API can't do.
pub(crate) async fn link(server: &Server, code: &str, created: i64) {
    server.link(&json!({ "longUrl": "https://example.com/", "customSlug": code, "tags": ["t"] })).await;
    let file = format!("sqlite:{}", server.dir.path().join("links.db").display());
    let pool = sqlx::SqlitePool::connect(&file).await.unwrap();
    let done = sqlx::query("UPDATE links SET created_at = ? WHERE code = ?").bind(created).bind(code);
    assert_eq!(done.execute(&pool).await.unwrap().rows_affected(), 1);
    pool.close().await;
}

#[tokio::test]
async fn counts_are_exact_whatever_the_hour_begins_with() {
    let warehouse = shared("statistics_exact").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let hour = now() / 3_600 * 3_600 - 50 * 3_600;
    // The slug was another link's until 1,000 seconds into the hour.
    link(&server, "again", hour + 1_000).await;
    link(&server, "other", hour - 86_400).await;
    let click = |ts, code, bot| Visit { ts, code, bot, visitor: ts.unsigned_abs(), ..CLICK };
    put(
        &warehouse,
        &[
            click(hour - 7_200, "again", false),
            click(hour + 1, "again", false),
            click(hour + 999, "again", true),
            click(hour + 1_000, "again", false),
            click(hour + 1_001, "again", true),
            click(hour + 3_600, "again", false),
            click(hour + 90_000, "again", false),
            Visit { domain: "s.example", ..click(hour + 2_000, "again", false) },
            click(hour - 5, "other", false),
        ],
    )
    .await;

    let document = read(&server, "/rest/v3/short-urls/again").await;
    assert_eq!(document["visitsSummary"], json!({ "total": 4, "nonBots": 3, "bots": 1 }));
    let list = read(&server, "/rest/v3/short-urls?orderBy=shortCode-ASC").await;
    let of = |place: usize| list["shortUrls"]["data"][place]["visitsSummary"]["total"].clone();
    assert_eq!((of(0), of(1)), (json!(4), json!(1)));
    let tags = read(&server, "/rest/v3/tags/stats").await;
    assert_eq!(tags["tags"]["data"][0]["visitsSummary"]["total"], 5);

    let visits = read(&server, "/rest/v3/short-urls/again/visits").await;
    assert_eq!(total(&visits), 4);
    let first = &visits["visits"]["data"][0];
    assert_eq!(first["referer"], "https://news.example");
    assert_eq!(first["userAgent"], "Firefox, Linux");
    assert_eq!(first["visitLocation"]["countryName"], "Germany");
    assert_eq!(first["potentialBot"], false);
    assert!(first["visitedUrl"].as_str().unwrap().ends_with("/again"));
    assert_eq!(total(&read(&server, "/rest/v3/short-urls/again/visits?excludeBots=true").await), 3);
    assert_eq!(total(&read(&server, "/rest/v3/tags/t/visits").await), 5);
    assert_eq!(total(&read(&server, "/rest/v3/visits/non-orphan").await), 9);
    assert_eq!(total(&read(&server, "/rest/v3/domains/DEFAULT/visits").await), 8);

    // Both ends within an hour: of four, without the first and the last.
    let text = |ts: i64| {
        let time = time::OffsetDateTime::from_unix_timestamp(ts).unwrap();
        time.format(&time::format_description::well_known::Rfc3339).unwrap()
    };
    let between = format!("startDate={}&endDate={}", text(hour + 1_001), text(hour + 89_999));
    let visits = read(&server, &format!("/rest/v3/short-urls/again/visits?{between}")).await;
    assert_eq!((total(&visits), visits["visits"]["data"].as_array().unwrap().len()), (2, 2));
    assert_eq!(total(&read(&server, &format!("/rest/v3/visits/non-orphan?{between}")).await), 3);

    let stats = read(&server, &format!("/rest/v3/short-urls/again/stats?{between}&interval=hour")).await;
    let stats = &stats["stats"];
    assert_eq!((&stats["total"], &stats["bots"]), (&json!(2), &json!(1)));
    assert_eq!(stats["series"].as_array().unwrap().len(), 2);
    let stats = read(&server, "/rest/v3/short-urls/again/stats").await["stats"].clone();
    // Days count whole, but not what is before the link.
    assert_eq!(stats["countries"][0]["total"], 4);
    assert_eq!(stats["countries"][0]["name"], "Germany");
    assert_eq!(stats["referrers"][0]["value"], "news.example");
    assert_eq!(read(&server, "/rest/v3/stats").await["stats"]["total"], 9);
    assert_eq!(read(&server, "/rest/v3/tags/t/stats").await["stats"]["total"], 5);
    for (path, kind) in
        [("tags/none/visits", "tag-not-found"), ("domains/none.example/stats", "domain-not-found")]
    {
        let answer = server.api(Method::GET, &format!("/rest/v3/{path}"), &Value::Null).await;
        assert_eq!(answer.status, 404);
        assert!(answer.json()["type"].as_str().unwrap().ends_with(kind), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_visit_of_a_link_says_where_it_was_sent() {
    let warehouse = shared("statistics_targets").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let start = now() - 100;
    link(&server, "sent", start).await;
    let edit = json!({ "longUrl": "https://two.example/" });
    assert_eq!(server.api(Method::PATCH, "/rest/v3/short-urls/sent", &edit).await.status, 200);
    let conditions = json!([{ "type": "device", "matchValue": "ios" }]);
    for target in ["https://three.example/", "https://four.example/"] {
        let rules = json!({ "redirectRules": [{ "longUrl": target, "conditions": conditions }] });
        let path = "/rest/v3/short-urls/sent/redirect-rules";
        assert_eq!(server.api(Method::POST, path, &rules).await.status, 200);
    }
    let at = |after, version, rule| Visit { version, rule, ..click("", "sent", start + after) };
    put(
        &warehouse,
        &[at(1, 1, 0), at(2, 2, 0), at(3, 3, 1), at(4, 9, 0), at(5, 4, 1), at(6, 4, 0), at(7, 4, 2)],
    )
    .await;
    let list = read(&server, "/rest/v3/short-urls/sent/visits").await["visits"]["data"].take();
    let targets: Vec<_> = list.as_array().unwrap().iter().map(|visit| visit["redirectUrl"].clone()).collect();
    let known = ["two", "three", "four"].map(|name| json!(format!("https://{name}.example/")));
    let [two, three, four] = &known;
    let expected = [
        Value::Null,
        two.clone(),
        four.clone(),
        Value::Null,
        three.clone(),
        two.clone(),
        json!("https://example.com/"),
    ];
    assert_eq!(targets, expected, "the newest first");
    let page = read(&server, "/rest/v3/short-urls/sent/visits?itemsPerPage=1&page=3").await;
    assert_eq!(page["visits"]["data"][0]["redirectUrl"], *four);
    for path in ["tags/t", "domains/DEFAULT"] {
        let list = read(&server, &format!("/rest/v3/{path}/visits")).await["visits"]["data"].take();
        assert_eq!((list.as_array().unwrap().len(), list[0].get("redirectUrl")), (7, None), "{path}");
    }
}

#[tokio::test]
async fn visits_are_deleted() {
    let warehouse = shared("statistics_delete").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let start = now() - 5;
    link(&server, "gone", start - 86_400).await;
    let orphan = |kind, code| Visit { ts: start, kind, code, country: "", ..CLICK };
    put(
        &warehouse,
        &[
            Visit { ts: start - 40_000, code: "gone", ..CLICK },
            Visit { ts: start, code: "gone", bot: true, ..CLICK },
            orphan("base_url", "/"),
            orphan("regular_404", "/wp-login/x"),
        ],
    )
    .await;
    let overview = read(&server, "/rest/v3/visits").await["visits"].clone();
    assert_eq!(overview["nonOrphanVisits"], json!({ "total": 2, "nonBots": 1, "bots": 1 }));
    assert_eq!((&overview["orphanVisits"]["total"], &overview["orphanVisitsCount"]), (&json!(2), &json!(2)));
    let orphans = read(&server, "/rest/v3/visits/orphan?type=regular_404").await;
    let data = &orphans["visits"]["data"];
    assert_eq!((data.as_array().unwrap().len(), &data[0]["type"]), (1, &json!("regular_404")));
    assert!(data[0]["visitedUrl"].as_str().unwrap().ends_with("/wp-login/x"));
    assert_eq!(data[0]["visitLocation"], Value::Null);

    assert_eq!(
        delete(&server, "/rest/v3/short-urls/gone/visits").await.json(),
        json!({ "deletedVisits": 2 })
    );
    assert_eq!(total(&read(&server, "/rest/v3/short-urls/gone/visits").await), 0);
    let document = read(&server, "/rest/v3/short-urls/gone").await;
    assert_eq!(document["visitsSummary"]["total"], 0);
    let stats = read(&server, "/rest/v3/short-urls/gone/stats").await["stats"].clone();
    assert_eq!((&stats["total"], &stats["countries"]), (&json!(0), &json!([])));
    assert_eq!(delete(&server, "/rest/v3/visits/orphan").await.json(), json!({ "deletedVisits": 2 }));
    let orphans = read(&server, "/rest/v3/visits/orphan").await;
    assert_eq!((total(&orphans), &orphans["visits"]["pagination"]["pagesCount"]), (0, &json!(1)));
    assert_eq!(read(&server, "/rest/v3/visits").await["visits"]["orphanVisits"]["total"], 0);
    assert_eq!(delete(&server, "/rest/v3/short-urls/nobody/visits").await.status, 404);
}

#[tokio::test]
async fn without_clickhouse_there_are_no_statistics_and_links_as_ever() {
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    let document = read(&server, &format!("/rest/v3/short-urls/{code}")).await;
    assert!(document.get("visitsSummary").is_none());
    for path in ["visits", "visits/orphan", "stats"] {
        let answer = server.api(Method::GET, &format!("/rest/v3/{path}"), &Value::Null).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["type"], "urn:hoplog:error:statistics-unavailable");
    }
}

#[tokio::test]
async fn while_clickhouse_is_away_what_was_known_is_given_and_marked() {
    let engine = Engine::start();
    let warehouse = warehouse(&engine.address(), "statistics_away").await;
    let server = Server::with_warehouse(warehouse.clone(), |config| {
        config.statistics.retry_ms = 1;
    })
    .await;
    link(&server, "known", now() - 500).await;
    link(&server, "unknown", now() - 500).await;
    put(&warehouse, &[Visit { ts: now() - 10, code: "known", ..CLICK }]).await;
    let fresh = read(&server, "/rest/v3/short-urls/known/visits").await;
    assert_eq!((total(&fresh), &fresh["visits"]["stale"]), (1, &json!(false)));

    engine.kill();
    let stale = read(&server, "/rest/v3/short-urls/known/visits").await;
    assert_eq!((total(&stale), &stale["visits"]["stale"]), (1, &json!(true)));
    assert!(stale["visits"]["staleSince"].is_string());
    assert_eq!(stale["visits"]["completeThrough"], Value::Null);
    let answer = server.api(Method::GET, "/rest/v3/short-urls/unknown/visits", &Value::Null).await;
    assert_eq!(answer.status, 503);
    assert_ne!(answer.header("retry-after"), "");
    // The link itself is another matter.
    assert!(read(&server, "/rest/v3/short-urls/unknown").await.get("visitsSummary").is_none());
    assert_eq!(server.get("/known").await.status, 302);
    // A limit would begin with too few visits: nothing is changed.
    for code in ["known", "unknown"] {
        let edit = json!({ "title": "new", "maxVisits": 3 });
        let answer = server.api(Method::PATCH, &format!("/rest/v3/short-urls/{code}"), &edit).await;
        assert_eq!(answer.json()["type"], "urn:hoplog:error:statistics-unavailable");
    }
    let path = "/rest/v3/short-urls/known";
    assert_eq!(read(&server, path).await["title"], Value::Null);
    let edit = json!({ "title": "new", "maxVisits": null });
    assert_eq!(server.api(Method::PATCH, path, &edit).await.status, 200, "no limit needs no count");

    engine.restart();
    put(&warehouse, &[Visit { ts: now() - 10, code: "known", ..CLICK }]).await;
    let mut again = Value::Null;
    while again["visits"]["stale"] != false {
        again = read(&server, "/rest/v3/short-urls/known/visits").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(total(&again), 2);
    // Two visits are in the statistics: of three one is left.
    assert_eq!(server.api(Method::PATCH, path, &json!({ "maxVisits": 3 })).await.status, 200);
    assert_eq!(server.get("/known").await.status, 302);
    assert_eq!(server.get("/known").await.status, 410);
    // Now they are counted here.
    assert_eq!(server.api(Method::PATCH, path, &json!({ "maxVisits": 4 })).await.status, 200);
    assert_eq!(server.get("/known").await.status, 302);
    assert_eq!(server.get("/known").await.status, 410);
}

/// What was declared complete is not changed by a click from before: it is not declared until all have arrived.
#[tokio::test]
async fn complete_is_what_no_click_on_its_way_can_change() {
    let warehouse = shared("statistics_complete").await;
    let server = Server::with_warehouse(warehouse.clone(), |config| {
        config.statistics.hold_back_s = 0;
    })
    .await;
    let through = async || {
        let text = read(&server, "/rest/v3/visits").await["visits"]["completeThrough"].clone();
        text.as_str().map(|text| {
            let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
            parsed.unwrap().unix_timestamp()
        })
    };
    let arrived = async |first: u64, last: u64| {
        let boot = server.emitter.boot_id();
        for sql in [
            format!(
                "INSERT INTO producer_sequences (service, instance, boot_id, first_seq, last_seq, log_partition, range_offset, collected_at) VALUES ('s', 'test', '{boot}', {first}, {last}, 0, {first}, now64(6))"
            ),
            format!(
                "INSERT INTO ingest_ledger (topic, log_partition, first_offset, last_offset, collected_at) VALUES ('t', 0, {first}, {last}, now64(6))"
            ),
        ] {
            warehouse.execute(&sql).await.unwrap();
        }
    };
    link(&server, "way", now() - 500).await;
    let before = now();
    assert_eq!(server.get("/way").await.status, 302);
    let clicked = now();
    // Time goes on, longer than a moment is noted again, and nothing arrives.
    while now() < clicked + 3 {
        assert!(through().await.is_none_or(|through| through <= before));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // All that was numbered by now arrives: then, and not before, the time moves past the click.
    arrived(1, server.emitter.issued()).await;
    let mut reached = None;
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while reached.is_none_or(|through| through <= clicked) {
            reached = through().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "never complete: {reached:?}");
}
