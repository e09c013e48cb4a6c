//! Visits page by page, by number and by cursors.

use serde_json::{Value, json};

use crate::server::Server;
use crate::statistics::{CLICK, Visit, click, link, now, put, read, shared, total};

#[tokio::test]
async fn every_visit_is_on_one_page() {
    let warehouse = shared("statistics_pages").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let start = now() / 3_600 * 3_600 - 6 * 86_400;
    // All visits of its name are the first one's. Of the others there are earlier ones: within the hour, and days before.
    let links = [("paged", start - 1), ("within", start + 1_800), ("later", start + 2 * 86_400 + 500)];
    for (code, created) in links {
        link(&server, code, created).await;
    }
    // Several in a second, hours and days without any, and full ones; pages begin and end within days.
    let countries = ["AT", "BE", "CH", "DE"];
    let times = (0..40).map(|n: i64| ("paged", start + (n / 3) * 1_100 + n / 11 * 86_400));
    let others = [("within", start + 100), ("later", start), ("later", start + 2 * 86_400 + 100)];
    let more = (0..24)
        .map(|n: i64| (if n % 2 == 0 { "within" } else { "later" }, start + 3 * 86_400 + n / 5 * 40_000));
    let visits: Vec<_> = times
        .chain(others)
        .chain(more)
        .enumerate()
        .map(|(n, (code, ts))| Visit {
            ts,
            code,
            visitor: n as u64,
            country: countries[n % 4],
            bot: n % 5 == 0,
            ..CLICK
        })
        .collect();
    put(&warehouse, &visits).await;
    let created = |code: &str| links.iter().find(|(name, _)| *name == code).unwrap().1;
    let of = |tell: &dyn Fn(&Visit<'_>) -> bool| {
        let told = visits.iter().filter(|visit| tell(visit));
        sorted(told.map(|visit| (visit.ts, visit.code.to_owned(), visit.country.to_owned())).collect())
    };
    let counted = |visit: &Visit<'_>| visit.ts >= created(visit.code);
    for (path, expected) in [
        ("short-urls/paged/visits?", of(&|visit| visit.code == "paged")),
        ("short-urls/within/visits?", of(&|visit| visit.code == "within" && counted(visit))),
        ("tags/t/visits?", of(&counted)),
        ("tags/t/visits?excludeBots=true&", of(&|visit| counted(visit) && !visit.bot)),
        ("visits/non-orphan?", of(&|_| true)),
    ] {
        assert_eq!(pages(&server, path, expected.len()).await, expected, "{path}");
        for length in [1, 2, 7, 5_000] {
            assert_eq!(followed(&server, path, length).await, expected, "{path} by {length}");
        }
    }
    // What ends before a link begins to count has nothing of it, also nothing that would have to be taken off.
    let end = time::OffsetDateTime::from_unix_timestamp(start + 86_400 - 1).unwrap();
    let end = end.format(&time::format_description::well_known::Rfc3339).unwrap();
    let stats = read(&server, &format!("/rest/v3/tags/t/stats?endDate={}", end.replace('+', "%2B"))).await;
    assert_eq!(stats["stats"]["total"], of(&|visit| counted(visit) && visit.ts < start + 86_400).len());

    warehouse.execute("TRUNCATE TABLE clicks_by_hour").await.unwrap();
    let expected = of(&|visit| visit.code == "paged");
    let seen = pages(&server, "short-urls/paged/visits?", expected.len()).await;
    assert_eq!(seen, expected, "the days are enough");
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

/// All pages of visits, see [`told`].
async fn pages(server: &Server, path: &str, count: usize) -> Vec<(i64, String, String)> {
    const LENGTH: usize = 7;
    let number = count.div_ceil(LENGTH);
    let mut seen = Vec::new();
    for page in 1..=number {
        let answer = read(server, &format!("/rest/v3/{path}page={page}&itemsPerPage={LENGTH}")).await;
        assert_eq!(answer["visits"]["pagination"]["pagesCount"], number, "{path}");
        let data = answer["visits"]["data"].as_array().unwrap().clone();
        assert_eq!(data.len(), LENGTH.min(count - (page - 1) * LENGTH), "{path} page {page}");
        seen.extend(data);
    }
    let beyond = read(server, &format!("/rest/v3/{path}page={}&itemsPerPage={LENGTH}", number + 1)).await;
    assert_eq!((total(&beyond), &beyond["visits"]["data"]), (count as u64, &json!([])));
    told(&seen)
}

/// The same by cursors.
async fn followed(server: &Server, path: &str, length: usize) -> Vec<(i64, String, String)> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = read(server, &format!("/rest/v3/{path}cursor={cursor}&itemsPerPage={length}")).await;
        let (data, pagination) = (&answer["visits"]["data"], &answer["visits"]["pagination"]);
        seen.extend(data.as_array().unwrap().clone());
        assert!(pagination["totalItems"].is_null() && pagination["currentPage"].is_null(), "{pagination}");
        let Some(next) = pagination["nextCursor"].as_str() else { return told(&seen) };
        assert_eq!(data.as_array().unwrap().len(), length, "{path} after {cursor}");
        cursor = next.to_owned();
    }
}

/// Of visits, the newest first: when, of which code, from where. In order of time.
fn told(seen: &[Value]) -> Vec<(i64, String, String)> {
    let dates: Vec<_> = seen.iter().map(|visit| visit["date"].as_str().unwrap()).collect();
    assert!(dates.is_sorted_by(|newer, older| newer >= older), "{dates:?}");
    let told = |visit: &Value| {
        let date = visit["date"].as_str().unwrap();
        let time = time::OffsetDateTime::parse(date, &time::format_description::well_known::Rfc3339).unwrap();
        let code = visit["visitedUrl"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let country = visit["visitLocation"]["countryCode"].as_str().unwrap().to_owned();
        (time.unix_timestamp(), code, country)
    };
    sorted(seen.iter().map(told).collect())
}

#[tokio::test]
async fn what_comes_in_meanwhile_moves_no_page() {
    let warehouse = shared("statistics_cursors").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let start = now() - 5_000;
    link(&server, "busy", start).await;
    let visits: Vec<_> = (0..12).map(|n| click("", "busy", start + n / 3)).collect();
    put(&warehouse, &visits).await;
    let (mut seen, mut path) = (0, "/rest/v3/short-urls/busy/visits?itemsPerPage=2".to_owned());
    loop {
        let answer = read(&server, &path).await;
        let data = answer["visits"]["data"].as_array().unwrap();
        seen += data.len();
        let Some(next) = answer["visits"]["pagination"]["nextCursor"].as_str() else { break };
        path = format!("/rest/v3/short-urls/busy/visits?itemsPerPage=2&cursor={next}");
        // As many as are on a page: by numbers every page would be the same.
        put(&warehouse, &[click("", "busy", start + 100), click("", "busy", start + 101)]).await;
    }
    assert_eq!(seen, visits.len());
    let first = read(&server, "/rest/v3/short-urls/busy/visits?itemsPerPage=2&page=1").await;
    assert_eq!(total(&first), 12 + 2 * 5);
    assert!(first["visits"]["pagination"]["nextCursor"].is_string());
    let second = read(&server, "/rest/v3/short-urls/busy/visits?itemsPerPage=2&page=2").await;
    assert!(second["visits"]["pagination"]["nextCursor"].is_null());
}
