//! Workloads: what is counted is what the service saw.

use bench::{LoadError, Target, Workload, run};

use crate::service;

fn workload(text: &str) -> Workload {
    Workload::parse(&format!("duration_s = 0.5\nseed = 1\n{text}")).unwrap()
}

#[tokio::test]
async fn what_is_reported_is_what_the_service_saw() {
    let (target, seen) = service::start().await;
    let text =
        "rate_per_s = 2000\n[links]\ncount = 20\n[mix]\nunknown_share = 0.2\n[methods]\nget = 3\nhead = 1";
    let report = run(&workload(text), &target).await.unwrap();
    let seen = seen.lock().unwrap();
    let reported = |kind: &str, method: &str, outcome: &str| {
        let same =
            report.counts.iter().filter(|c| (c.kind, c.method, &*c.outcome) == (kind, method, outcome));
        same.map(|count| count.requests).sum::<u64>()
    };
    assert_eq!(seen.links.len(), 20);
    assert_eq!(reported("known", "GET", "302"), seen.clicks.values().sum::<u64>());
    assert_eq!(report.outcome("404"), seen.unknown);
    assert_eq!(report.requests, seen.headers.len() as u64);
    assert_eq!(report.answered, report.requests);
    assert!(reported("known", "HEAD", "302") > 0 && seen.unknown > 0);
    assert!(report.requests > 500, "{report}");
}

#[tokio::test]
async fn hang_ups_and_malformed_requests_do_not_stop_the_rest() {
    let (target, _) = service::start().await;
    let text = "rate_per_s = 1000\n[links]\ncount = 5\n[mix]\nhang_up_share = 0.3\nmalformed_share = 0.3\nunknown_share = 0";
    let report = run(&workload(text), &target).await.unwrap();
    let of = |kind| report.counts.iter().filter(move |count| count.kind == kind);
    assert!(of("hang-up").all(|count| count.outcome == "hung up") && of("hang-up").count() > 0, "{report}");
    assert!(of("known").all(|count| count.outcome == "302") && of("known").count() > 0, "{report}");
    assert!(of("no request line").all(|count| count.outcome == "400"), "{report}");
    assert_eq!(report.outcome("timeout") + report.outcome("no connection"), 0, "{report}");
}

#[tokio::test]
async fn a_service_that_hangs_shows_as_timeouts_and_as_not_keeping_up() {
    let target = service::start_hanging().await;
    let text =
        "rate_per_s = 1000\nconnections = 2\ntimeout_ms = 200\n[links]\ncount = 1\n[mix]\nunknown_share = 0";
    let report = run(&workload(text), &target).await.unwrap();
    assert!(!report.kept_up && report.unsent > 0 && report.late > 0, "{report}");
    assert_eq!(report.outcome("timeout"), report.requests, "{report}");
    assert!(report.to_string().contains("COULD NOT KEEP UP"));
}

#[tokio::test]
async fn a_closed_loop_ends_by_the_clock() {
    let (target, seen) = service::start().await;
    let report =
        run(&workload("arrivals = 'closed'\nconnections = 4\n[links]\ncount = 3"), &target).await.unwrap();
    assert_eq!(report.requests, seen.lock().unwrap().headers.len() as u64);
    assert!(report.requests > 0 && report.kept_up && report.wanted_rate_per_s.is_none());
}

#[tokio::test]
async fn what_prevents_a_run_is_said() {
    let (target, _) = service::start().await;
    let wrong_key = Target { api_key: "other".to_owned(), ..target.clone() };
    assert!(matches!(run(&workload(""), &wrong_key).await, Err(LoadError::Refused { status: 401, .. })));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = Target { address: listener.local_addr().unwrap().to_string(), ..target };
    drop(listener);
    assert!(matches!(run(&workload(""), &nobody).await, Err(LoadError::Unreachable { .. })));
    let wrong = Workload { connections: 0, ..Workload::default() };
    assert!(matches!(run(&wrong, &nobody).await, Err(LoadError::Workload(_))));
}
