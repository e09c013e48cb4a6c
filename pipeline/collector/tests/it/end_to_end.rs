//! What goes in comes out: counts to the event, whatever was sampled.

use collector::CollectorConfig;
use event_log::{Message, Producer};
use wide_event::{BootEnd, Outcome, Text, Timestamp, codec};

use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_count_is_exact_and_the_sample_is_near() {
    let world = World::new("end_to_end").await;
    let collector = world.collector().await;
    for _ in 0..10 {
        world.append_mixed(2000).await;
    }
    world.all_consumed().await;
    collector.stop().await;

    let report = world.assert_whole("after a plain run").await;
    assert_eq!((report.events, report.dead_lettered), (20_000, 0));
    assert_eq!(world.number("(SELECT sum(requests) FROM requests_by_minute)").await, 20_000);
    assert_eq!(
        world.number("(SELECT arraySum(mapValues(sumMap(latency_us))) FROM requests_by_minute)").await,
        20_000
    );
    assert_eq!(
        world
            .number("(SELECT count() FROM requests WHERE outcome = 'server_error' AND sample_weight = 1)")
            .await,
        400
    );
    let clicks = 20_000 / 50 * 46;
    assert_eq!(world.number("(SELECT sum(clicks) FROM clicks_by_hour)").await, clicks);
    assert_eq!(world.number("(SELECT count() FROM clicks)").await, clicks);
    assert_eq!(
        world.number("(SELECT uniqMerge(visitors) FROM clicks_by_hour WHERE code = 'code3')").await,
        5
    );
    let orphans = 20_000 / 50 * 3;
    for (sql, expected) in [
        ("sum(visits) FROM visits_by_hour", clicks + orphans),
        ("sum(visits) FROM visits_by_hour WHERE kind = 'invalid_short_url'", orphans),
        ("uniqMerge(visitors) FROM visits_by_hour", 5),
        ("count() FROM orphan_visits WHERE path = '/unknown'", orphans),
    ] {
        assert_eq!(world.number(&format!("(SELECT {sql})")).await, expected, "{sql}");
    }
    assert_days_agree(&world).await;
    // Three standard errors; the variance is that of the weights themselves.
    let near = "(SELECT abs(sum(sample_weight) - 18400) <= 3 * sqrt(sum(sample_weight * (sample_weight - 1))) + 1e-6 FROM requests WHERE outcome = 'ok')";
    assert_eq!(world.number(near).await, 1);
    assert_eq!(world.number("(SELECT count() FROM otel_logs) = (SELECT count() FROM requests)").await, 1);
    assert_eq!(world.number("(SELECT count() > 0 FROM requests WHERE seq > 0 AND length(trace_id) = 32 AND abs(dateDiff('second', ts, collected_at)) < 60)").await, 1);
}

/// Link by link and value by value, the counts of days are those of single rows, and so are those of all links together.
async fn assert_days_agree(world: &World) {
    let days = |table: &str, what: &str, count: &str, dimension: &str| {
        format!(
            "SELECT domain, {what}, value, bot, day, sum({count}) AS n FROM {table} WHERE dimension = '{dimension}'"
        )
    };
    for dimension in ["country", "device", "browser", "os", "referrer_host"] {
        let rows = |table: &str, what: &str| {
            format!(
                "SELECT domain, {what}, {dimension} AS value, bot, toDate(ts) AS day, count() AS n FROM {table}"
            )
        };
        let orphans = " AND kind != 'click'";
        let pairs = [
            (rows("clicks", "code"), days("clicks_by_day", "code", "clicks", dimension)),
            (rows("orphan_visits", "kind"), days("visits_by_day", "kind", "visits", dimension) + orphans),
            (
                rows("clicks", "'click' AS kind"),
                days("visits_by_day", "kind", "visits", dimension) + " AND kind = 'click'",
            ),
            (
                rows("clicks", "code").replace("toDate(ts)", "toStartOfYear(ts)"),
                days("clicks_by_link", "code", "clicks", dimension).replace(" day,", " since AS day,"),
            ),
        ];
        for (rows, days) in pairs {
            let all = |from: &str| {
                format!(
                    "(SELECT groupArray(t) FROM (SELECT tuple(*) AS t FROM ({from} GROUP BY ALL ORDER BY ALL)))"
                )
            };
            assert_eq!(world.number(&format!("{} = {}", all(&rows), all(&days))).await, 1, "{days}");
            assert_eq!(world.number(&format!("length({}) > 0", all(&days))).await, 1, "{days}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clicks_can_be_counted_without_rows() {
    let mut world = World::new("no_click_rows").await;
    world.config = CollectorConfig { clicks: false, clicks_by_day: false, ..world.config };
    world.append_mixed(500).await;
    world.consume_all().await;
    world.assert_whole("without rows of clicks").await;
    assert_eq!(world.number("(SELECT sum(clicks) FROM clicks_by_hour)").await, 460);
    assert_eq!(world.number("(SELECT sum(visits) FROM visits_by_hour)").await, 490);
    assert_eq!(world.number("(SELECT sum(clicks) FROM clicks_by_link WHERE kind = 'all')").await, 460);
    for table in ["clicks", "orphan_visits", "clicks_by_day", "clicks_by_link WHERE kind = 'value'"] {
        assert_eq!(world.number(&format!("(SELECT count() FROM {table})")).await, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_producer_lost_is_a_number() {
    let world = World::new("producer_gaps").await;
    let mut events: Vec<_> = (0..100).map(|_| world.event(Outcome::Ok)).collect();
    events.drain(40..47);
    world.append(&events, 10).await;
    let boot = BootEnd {
        ts: Timestamp(1_763_764_620_000_000),
        service: Text::new("shortener"),
        instance: Text::new("web-1"),
        boot_id: Text::new("019aa3a0-0000-7000-8000-000000000000"),
        issued: 105,
        clean: false,
    };
    let mut payload = Vec::new();
    codec::encode(&boot, &mut payload);
    world.producer.append(vec![Message::producer(payload)]).await.unwrap();
    world.consume_all().await;
    let report = world.verify().await;
    assert_eq!(report.findings, Vec::<String>::new());
    let gaps: Vec<_> =
        report.producer_gaps.iter().map(|gap| (gap.missing, gap.missing_at_end, gap.repeated)).collect();
    assert_eq!(gaps, [(7, 5, 0)]);

    // The same events once more: exactly once is about the log; what is twice in the log shows.
    world.append(&events[..3], 3).await;
    world.consume_all().await;
    let report = world.verify().await;
    assert_eq!(report.producer_gaps[0].repeated, 3);
    assert!(!report.ok());
}
