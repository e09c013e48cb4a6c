//! Visits of a link that were deleted: they are in no total of its domain or of everything, also once the link is gone.

use http::Method;
use serde_json::Value;

use crate::server::Server;
use crate::statistics::{Visit, click, link, now, put, shared};

async fn read(server: &Server, path: &str) -> Value {
    let answer = server.api(Method::GET, &format!("/rest/v3/{path}"), &Value::Null).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn text(ts: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(ts).unwrap();
    time.format(&time::format_description::well_known::Rfc3339).unwrap()
}

fn sum(list: &Value) -> u64 {
    list.as_array().unwrap().iter().map(|one| one["total"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn deleted_visits_are_in_no_total() {
    let warehouse = shared("deleted_visits").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let hour = now() / 3_600 * 3_600 - 100 * 3_600;
    link(&server, "gone", hour - 86_400).await;
    link(&server, "kept", hour - 86_400).await;
    let mut clicks = Vec::new();
    for n in 0..40_i64 {
        let ts = hour + n * 4_321;
        clicks.push(Visit { bot: n % 3 == 0, ..click("", "gone", ts) });
        clicks.push(Visit { bot: n % 4 == 0, ..click("s.example", "gone", ts + 7) });
        clicks.push(Visit { country: "FR", ..click("", "kept", ts + 11) });
    }
    // After the visits were deleted.
    clicks.push(click("", "gone", now() + 4_000));
    put(&warehouse, &clicks).await;
    assert_eq!(read(&server, "visits").await["visits"]["nonOrphanVisits"]["total"], 121);
    let deleted =
        server.api(Method::DELETE, "/rest/v3/short-urls/gone/visits", &Value::Null).await.json()["deletedVisits"].clone();
    assert_eq!(deleted, 41, "{deleted}");

    let left = format!("NOT (code = 'gone' AND domain = '' AND ts < toDateTime({}))", now() + 3_000);
    for is_link_there in [true, false] {
        // The whole time, and from and to within an hour in which there were deleted visits.
        let (from, to) = (hour + 10 * 4_321 + 2, hour + 30 * 4_321 + 3);
        let span = format!("startDate={}&endDate={}", text(from), text(to - 1));
        for (query, within) in [
            (String::new(), String::new()),
            (span, format!(" AND ts >= toDateTime({from}) AND ts < toDateTime({to})")),
        ] {
            for (what, of) in [("", ""), ("domains/DEFAULT/", " AND domain = ''")] {
                let plain = format!("SELECT count(), countIf(bot) FROM clicks WHERE {left}{within}{of}");
                let (all, bots) = warehouse.rows::<(u64, u64)>(&plain, &[]).await.unwrap()[0];
                let stats =
                    read(&server, &format!("{what}stats?interval=hour&{query}")).await["stats"].clone();
                assert_eq!((&stats["total"], &stats["bots"]), (&all.into(), &bots.into()), "{what} {query}");
                assert_eq!(sum(&stats["series"]), all, "{what} {query}");
                if query.is_empty() {
                    assert_eq!((sum(&stats["countries"]), sum(&stats["os"])), (all, all), "{what}");
                }
                let list =
                    if what.is_empty() { "visits/non-orphan".to_owned() } else { format!("{what}visits") };
                let visits = read(&server, &format!("{list}?{query}")).await["visits"].clone();
                assert_eq!(visits["pagination"]["totalItems"], all, "{list} {query}");
                assert_eq!(visits["data"].as_array().unwrap().len() as u64, all, "{list} {query}");
            }
        }
        assert_eq!(read(&server, "visits").await["visits"]["nonOrphanVisits"]["total"], 81);
        if is_link_there {
            let gone = server.api(Method::DELETE, "/rest/v3/short-urls/gone", &Value::Null).await;
            assert_eq!(gone.status, 204);
        }
    }
}
