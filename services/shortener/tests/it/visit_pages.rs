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
    let orphans: Vec<_> = (0..9)
        .map(|n| Visit { kind: "base_url", code: "orphan", ts: start + n / 2 * 900, ..CLICK })
        .collect();
    put(&warehouse, &[&visits[..], &orphans].concat()).await;
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
    assert_eq!(followed(&server, "visits/non-orphan?domain=other.example&", 2).await, []);
    assert_eq!(followed(&server, "visits/orphan?", 2).await.len(), orphans.len());
    assert_eq!(followed(&server, "visits/orphan?type=regular_404&", 2).await, []);
    let (from, to) = (start + 1_000, start + 2 * 86_400 + 4_000);
    let path = format!("visits/non-orphan?startDate={}&endDate={}&", rfc3339(from), rfc3339(to));
    let within = of(&|visit| (from..=to).contains(&visit.ts));
    assert_eq!(pages(&server, &path, within.len()).await, within);
    assert_eq!(followed(&server, &path, 3).await, within);
    // A place after its end is none in it.
    let page = read(&server, &format!("/rest/v3/{path}cursor={}-3", to + 9)).await;
    assert_eq!(page["visits"]["data"].as_array().unwrap().len(), within.len());
    // What ends before a link begins to count has nothing of it, also nothing that would have to be taken off.
    let end = rfc3339(start + 86_400 - 1);
    let stats = read(&server, &format!("/rest/v3/tags/t/stats?endDate={end}")).await;
    assert_eq!(stats["stats"]["total"], of(&|visit| counted(visit) && visit.ts < start + 86_400).len());

    warehouse.execute("TRUNCATE TABLE clicks_by_hour").await.unwrap();
    let expected = of(&|visit| visit.code == "paged");
    let seen = pages(&server, "short-urls/paged/visits?", expected.len()).await;
    assert_eq!(seen, expected, "the days are enough");
    assert_eq!(followed(&server, "short-urls/paged/visits?", 7).await, expected, "so they are");
}

fn rfc3339(time: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(time).unwrap();
    time.format(&time::format_description::well_known::Rfc3339).unwrap()
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
    let start = now() / 3_600 * 3_600 - 7_200;
    link(&server, "busy", start).await;
    let countries = ["AT", "BE", "CH"];
    let mut countries = countries.into_iter().cycle();
    let visits: Vec<_> = (0..12)
        .map(|n: i64| Visit { country: countries.next().unwrap(), ..click("", "busy", start + n / 4) })
        .collect();
    put(&warehouse, &visits).await;
    let mut expected: Vec<_> =
        visits.iter().map(|visit| (visit.ts, visit.code.to_owned(), visit.country.to_owned())).collect();
    expected.sort();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for later in 100.. {
        let path = format!("/rest/v3/short-urls/busy/visits?itemsPerPage=2&cursor={cursor}");
        let answer = read(&server, &path).await;
        seen.extend(answer["visits"]["data"].as_array().unwrap().clone());
        let Some(next) = answer["visits"]["pagination"]["nextCursor"].as_str() else { break };
        cursor = next.to_owned();
        // As many as are on a page: by numbers every page would be the same. And, since tables are filled beside each
        // other, far more that are not counted yet.
        put(&warehouse, &[click("", "busy", start + later), click("", "busy", start + later)]).await;
        let uncounted = format!(
            "INSERT INTO clicks (ts, code, visitor) SELECT toDateTime({}), 'busy', number FROM numbers(50)",
            start + later
        );
        warehouse.execute(&uncounted).await.unwrap();
    }
    assert_eq!(told(&seen), expected);
}

#[tokio::test]
async fn what_is_counted_and_not_kept_ends_no_list() {
    let warehouse = shared("statistics_gaps").await;
    let server = Server::with_warehouse(warehouse.clone(), |_| {}).await;
    let start = now() / 3_600 * 3_600 - 40 * 3_600;
    link(&server, "gap", start).await;
    let visits: Vec<_> = (0..50).map(|n: i64| click("", "gap", start + n / 10 * 7 * 3_600 + n)).collect();
    put(&warehouse, &visits).await;
    let lists = [
        "short-urls/gap/visits?",
        "tags/t/visits?",
        "visits/non-orphan?",
        "visits/non-orphan?startDate=2020-01-01&",
    ];
    for (gone, left) in [(2, 40), (4, 30), (0, 20)] {
        let from = start + gone * 7 * 3_600;
        let delete = format!(
            "ALTER TABLE clicks DELETE WHERE ts >= toDateTime({from}) AND ts < toDateTime({}) SETTINGS mutations_sync = 2",
            from + 3_600
        );
        warehouse.execute(&delete).await.unwrap();
        for path in lists {
            for length in [1, 3, 10, 15, 100] {
                assert_eq!(followed(&server, path, length).await.len(), left, "{path} by {length}");
            }
        }
    }
}
