//! Visitors: told apart within a day, whatever a question begins and ends with.

use std::collections::HashSet;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::server::Server;
use crate::statistics::{Visit, click, link, now, put, read, shared};

const MIGRATION_12: &str = include_str!("../../../../pipeline/warehouse/migrations/0012_visitors_by_day.sql");

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

fn text(at: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at).unwrap().format(&Rfc3339).unwrap()
}

#[tokio::test]
async fn visitors_are_those_of_each_day_whatever_it_begins_and_ends_with() {
    let warehouse = shared("statistics_visitors").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let first = now() / DAY_S * DAY_S - 6 * DAY_S;
    link(&server, "c", first - DAY_S).await;
    let there = json!({ "longUrl": "https://example.com/", "customSlug": "c", "domain": "s.example" });
    server.link(&there).await;
    // Twenty visitors a day, who come back within the hour and the day; some of them on two domains.
    let visits: Vec<_> = (0..600_i64)
        .map(|n| Visit {
            visitor: (1 + n * 7 % 20 + n * 727 / DAY_S * 100).unsigned_abs(),
            bot: n * 7 % 20 < 4,
            kind: if n % 11 == 0 { "base_url" } else { "click" },
            ..click(if n % 3 == 0 { "s.example" } else { "" }, "c", first + n * 727)
        })
        .collect();
    // As they come, so that a day is in several parts.
    for some in visits.chunks(97) {
        put(&warehouse, some).await;
    }
    let expected = |from: i64, to: i64, of: &dyn Fn(&Visit<'_>) -> bool| {
        // Hours count whole.
        let hours = from / HOUR_S * HOUR_S..(to + HOUR_S - 1) / HOUR_S * HOUR_S;
        let found =
            visits.iter().filter(|visit| visit.kind == "click" && hours.contains(&visit.ts) && of(visit));
        found.map(|visit| (visit.ts / DAY_S, visit.visitor)).collect::<HashSet<_>>().len()
    };
    for (from, to) in [
        (first, first + 6 * DAY_S),
        (first + DAY_S, first + 2 * DAY_S),
        (first + DAY_S / 2, first + 3 * DAY_S + 5_000),
        (first + DAY_S + 1, first + 3 * DAY_S - 1),
        (first + DAY_S, first + DAY_S + 2 * HOUR_S),
        (first + 2 * DAY_S - HOUR_S, first + 2 * DAY_S + HOUR_S),
        (first + 20 * DAY_S, first + 21 * DAY_S),
    ] {
        let span = format!("startDate={}&endDate={}", text(from), text(to - 1));
        let answered = async |path: &str, query: &str| {
            let stats = read(&server, &format!("/rest/v3/{path}stats?{span}{query}")).await;
            usize::try_from(stats["stats"]["uniqueVisitors"].as_u64().unwrap()).unwrap()
        };
        assert_eq!(answered("", "").await, expected(from, to, &|_| true), "{span}");
        assert_eq!(
            answered("", "&excludeBots=true").await,
            expected(from, to, &|visit| !visit.bot),
            "{span}"
        );
        let of_domain = expected(from, to, &|visit| visit.domain == "s.example");
        assert_eq!(answered("domains/s.example/", "").await, of_domain, "{span}");
        let of_link = expected(from, to, &|visit| visit.domain.is_empty());
        assert_eq!(answered("short-urls/c/", "").await, of_link, "{span}");
    }
    let open = read(&server, "/rest/v3/stats").await;
    assert!(open["stats"]["uniqueVisitors"].is_null());
}

/// Days come out of the projection, of rows that were there before it, of an insert that is repeated, and merged.
#[tokio::test]
async fn a_day_s_visitors_come_out_of_the_projection() {
    let warehouse = shared("statistics_projected").await;
    let run = async |sql: &str| warehouse.execute(sql).await.unwrap();
    let insert = async |day: u32, token: &str| {
        run(&format!(
            "INSERT INTO visits_by_hour (hour, kind, visits, visitor_list) SETTINGS insert_deduplication_token = '{token}' \
             SELECT toDateTime(toStartOfMonth(now('UTC')), 'UTC') + 86400 * {day} + number % 24 * 3600, 'click', 1, \
             [1 + number % 10, number] FROM numbers(1, 480)"
        ))
        .await;
    };
    let days = async |settings: &str| {
        let sql = format!(
            "SELECT uniqMerge(visitors) AS n FROM visits_by_hour WHERE kind = 'click' AND toDate(hour) >= toDate(0) \
             AND toDate(hour) < toDate(60000) GROUP BY toDate(hour) ORDER BY n SETTINGS {settings}"
        );
        warehouse.rows::<u64>(&sql, &[]).await.unwrap()
    };
    run("ALTER TABLE visits_by_hour DROP PROJECTION visitors_by_day SETTINGS mutations_sync = 2").await;
    insert(0, "before").await;
    let step = MIGRATION_12.lines().find(|line| line.contains("ADD PROJECTION")).unwrap();
    run(step.trim_end_matches(';')).await;
    run("ALTER TABLE visits_by_hour MATERIALIZE PROJECTION visitors_by_day SETTINGS mutations_sync = 2")
        .await;
    for (day, token) in [(0, "a"), (0, "a"), (1, "b"), (0, "a")] {
        insert(day, token).await;
    }
    for merged in [false, true] {
        if merged {
            run("OPTIMIZE TABLE visits_by_hour FINAL").await;
        }
        assert_eq!(days("force_optimize_projection = 1").await, [480, 480], "merged: {merged}");
        assert_eq!(days("optimize_use_projections = 0").await, [480, 480], "merged: {merged}");
        let sum = warehouse.rows::<u64>("SELECT sum(visits) FROM visits_by_hour", &[]).await.unwrap();
        assert_eq!(sum, [3 * 480], "merged: {merged}");
    }
}
