//! The SQL of every SLO in the real engine, over a few events: it says of them what a loop over them says, and lists those
//! that are bad.

use alerts::{Bad, Sli, Slos};
use warehouse::{Warehouse, WarehouseConfig, migrate};
use wide_event::Outcome;
use wide_event::latency::BOUNDS_US;

/// Whose requests are asked about.
const SERVICE: &str = "ours";

/// A whole minute of 2026, not too old for any table's time to live.
fn start_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    (now.as_secs() - 3_600) / 60 * 60
}

struct Request {
    route: &'static str,
    outcome: Outcome,
    synthetic: bool,
    duration_us: u64,
    minute: u64,
}

/// Every route and outcome, as often as its place in the list says, below, at and above each limit.
fn requests() -> Vec<Request> {
    let routes = [
        "/{code}",
        "/{*code}",
        "/rest/v3/visits",
        "/rest/v3/health",
        "/{code}/qr-code",
        "unmatched",
        "/robots.txt",
    ];
    let durations = [99_000, 100_000, 100_001, 499_999, 500_000, 500_001, 3_000_000];
    let mut requests = Vec::new();
    for (number, route) in routes.into_iter().enumerate() {
        for outcome in Outcome::ALL {
            for (place, duration_us) in durations.into_iter().enumerate() {
                for copy in 0..=number % 3 {
                    let synthetic = (number + place + copy) % 7 == 0;
                    let minute = ((place + copy) % 3) as u64;
                    requests.push(Request { route, outcome: *outcome, synthetic, duration_us, minute });
                }
            }
        }
    }
    requests
}

/// The predicate once more, as plainly as it can be said.
fn counts(sli: &Sli, requests: &[Request]) -> Option<(usize, usize)> {
    let Sli::Requests { of, bad } = sli else { return None };
    let routes = |route: &str| {
        let known = of.routes.iter().any(|known| known == route)
            || of.route_prefixes.iter().any(|prefix| route.starts_with(prefix.as_str()));
        known && !of.except_routes.iter().any(|excepted| excepted == route)
    };
    let counted: Vec<_> = requests
        .iter()
        .filter(|request| {
            !request.synthetic && routes(request.route) && of.outcomes.contains(&request.outcome)
        })
        .collect();
    let is_bad = |request: &&&Request| match bad {
        Bad::Outcomes(outcomes) => outcomes.contains(&request.outcome),
        Bad::SlowerThanMs(ms) => request.duration_us > u64::from(*ms) * 1_000,
    };
    Some((counted.len(), counted.iter().filter(is_bad).count()))
}

async fn world(database: &str) -> Warehouse {
    let url = format!("http://{}", testbed::shared_engine_address());
    let config = WarehouseConfig { url, database: database.to_owned(), ..WarehouseConfig::default() };
    let warehouse = Warehouse::new(&config);
    migrate(&warehouse).await.unwrap();
    warehouse
}

async fn fill(warehouse: &Warehouse, requests: &[Request], start_s: u64) {
    let (mut rollups, mut kept) = (Vec::new(), Vec::new());
    for request in requests {
        let Request { route, synthetic, duration_us, minute, .. } = request;
        let (outcome, at) = (request.outcome.as_str(), start_s + minute * 60);
        let bound = BOUNDS_US.iter().find(|bound| *bound >= duration_us).unwrap();
        // Another service does the same, twice as often.
        for (service, times) in [(SERVICE, 1), ("theirs", 2)] {
            rollups.push(format!(
                "({at}, '{service}', '{route}', '{outcome}', {synthetic}, {times}, map({bound}, {times}))"
            ));
            let row = format!(
                "({at} + 7, '{service}', '{route}', '{outcome}', {synthetic}, {duration_us}, 1, {at} + 8)"
            );
            kept.extend(std::iter::repeat_n(row, times));
        }
    }
    let into = |columns: &str, rows: &[String]| format!("INSERT INTO {columns} VALUES {}", rows.join(", "));
    let rollup = "requests_by_minute (minute, service, route, outcome, synthetic, requests, latency_us)";
    let request =
        "requests (ts, service, route, outcome, synthetic, duration_us, sample_weight, collected_at)";
    warehouse.execute(&into(rollup, &rollups)).await.unwrap();
    warehouse.execute(&into(request, &kept)).await.unwrap();
}

/// `total` and `bad` of a time, and how many failures are listed.
async fn ask(warehouse: &Warehouse, sli: &Sli, since_s: u64, until_s: u64) -> (f64, f64, u64) {
    let sql = sli.sql();
    let (since_s, until_s) = (since_s.to_string(), until_s.to_string());
    let times = [("since_s", since_s.as_str()), ("until_s", until_s.as_str()), ("service", SERVICE)];
    let totals = warehouse.rows::<(f64, f64)>(&sql.totals(), &times).await.unwrap();
    let listed = format!("SELECT count() FROM ({})", sql.failures.sql);
    let listed = warehouse.rows::<u64>(&listed, &times).await.unwrap();
    (totals[0].0, totals[0].1, listed[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_as_the_predicate_says() {
    let (requests, start_s) = (requests(), start_s());
    let warehouse = world("alerts_requests").await;
    fill(&warehouse, &requests, start_s).await;
    for slo in Slos::built_in().unwrap().slos {
        let Some((total, bad)) = counts(&slo.sli, &requests) else { continue };
        assert!(0 < bad && bad < total, "{}: {bad} of {total}", slo.name);
        let found = ask(&warehouse, &slo.sli, start_s, start_s + 180).await;
        assert_eq!(found, (total as f64, bad as f64, bad as u64), "{}", slo.name);
        let nothing = ask(&warehouse, &slo.sli, start_s + 180, start_s + 360).await;
        assert_eq!(nothing, (0.0, 0.0, 0), "{}", slo.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_count_for_as_many_as_they_stand_for() {
    let start_s = start_s();
    let warehouse = world("alerts_freshness").await;
    let row = |age_s: f64, weight: u32| format!("('{start_s}', '{:.3}', {weight})", start_s as f64 + age_s);
    let rows = [row(1.0, 100), row(5.0, 1), row(5.001, 20), row(59.0, 1), row(61.0, 3)].join(", ");
    let rows = format!("INSERT INTO requests (ts, collected_at, sample_weight) VALUES {rows}");
    warehouse.execute(&rows).await.unwrap();
    let sli = Slos::built_in().unwrap().find("event-freshness").unwrap().sli.clone();
    assert_eq!(ask(&warehouse, &sli, start_s, start_s + 60).await, (122.0, 21.0, 2));
    assert_eq!(ask(&warehouse, &sli, start_s, start_s + 120).await, (125.0, 24.0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_never_arrived_are_losses() {
    let start_s = start_s();
    let warehouse = world("alerts_completeness").await;
    let (ten_s, later_s) = (start_s + 10, start_s + 70);
    // Runs of two boots: of one, numbers 4 and 5 and, at its end, 21 and 22 are missing, and 9 and 10 came twice; the
    // other began long ago, so nothing is known of what came before.
    let runs = format!(
        "INSERT INTO producer_sequences (service, instance, boot_id, first_seq, last_seq, collected_at) VALUES \
         ('s', 'a', '{young}', 1, 3, '{start_s}'), ('s', 'a', '{young}', 6, 10, '{ten_s}'), \
         ('s', 'a', '{young}', 9, 20, '{later_s}'), ('s', 'b', 'old', 1000, 1009, '{later_s}')",
        young = "ffffffff-ffff-7000-8000-000000000000"
    );
    let ends = format!(
        "INSERT INTO producer_boots (service, instance, boot_id, issued, collected_at) VALUES \
         ('s', 'a', 'ffffffff-ffff-7000-8000-000000000000', 22, '{later_s}')"
    );
    let ledger = format!(
        "INSERT INTO ingest_ledger (first_offset, events, kept, sampled_out, dead_lettered, collected_at) VALUES \
         (0, 10, 1, 8, 1, '{start_s}'), (1, 10, 1, 5, 1, '{later_s}')"
    );
    for sql in [runs, ends, ledger] {
        warehouse.execute(&sql).await.unwrap();
    }
    let sli = Slos::built_in().unwrap().find("event-completeness").unwrap().sli.clone();
    // 1 to 22, and the ten of the other boot; lost are 4, 5, 21, 22 and three of the second range.
    assert_eq!(ask(&warehouse, &sli, start_s, start_s + 120).await, (32.0, 7.0, 3));
    assert_eq!(ask(&warehouse, &sli, start_s, start_s + 60).await, (10.0, 2.0, 1));
    assert_eq!(ask(&warehouse, &sli, start_s + 60, start_s + 120).await, (22.0, 5.0, 2));
}
