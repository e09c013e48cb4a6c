//! A small, whole world written by hand, then damaged: every table has somebody who notices.

use std::time::Duration;

use warehouse::{
    PartitionTotals, Recent, Report, Warehouse, WarehouseConfig, migrate, range_from, verify, verify_recent,
};

const TABLES: [&str; 13] = [
    "requests",
    "requests_by_minute",
    "clicks",
    "clicks_by_hour",
    "clicks_by_day",
    "clicks_by_link",
    "visits_by_hour",
    "visits_by_day",
    "orphan_visits",
    "ingest_ledger",
    "dead_letters",
    "producer_sequences",
    "producer_boots",
];

/// A UUIDv7 of 2023.
const OLD_BOOT: &str = "01890000-0000-7000-8000-000000000000";

async fn world(database: &str) -> Warehouse {
    let warehouse = super::warehouse(database);
    migrate(&warehouse).await.unwrap();
    fill(&warehouse, 0).await;
    warehouse
}

/// Two ranges of five events each: two kept, two sampled out, one too old to count but numbered; three clicks and an orphan visit.
/// The first one is that many days old.
async fn fill(warehouse: &Warehouse, days: u32) {
    for table in TABLES {
        warehouse.execute(&format!("TRUNCATE TABLE {table}")).await.unwrap();
    }
    fill_rows(warehouse, days).await;
}

/// The same, for empty tables.
pub(crate) async fn fill_rows(warehouse: &Warehouse, days: u32) {
    let run = async |sql: &str| {
        let sql = sql.replace("BOOT", OLD_BOOT);
        let sql = sql.replace("NOW", &format!("(now() - toIntervalDay({days} * (number = 0)))"));
        warehouse
            .execute(&format!("{sql} SETTINGS insert_deduplicate = 0, distributed_foreground_insert = 1"))
            .await
            .unwrap();
    };
    run("INSERT INTO ingest_ledger (topic, first_offset, last_offset, messages, events, events_announced, kept, \
         sampled_out, dead_lettered, clicks, click_rows, visits, orphan_rows, day_clicks, link_clicks, boot_records, collected_at) \
         SELECT 't', number * 5, number * 5 + 4, 5, 5, 5, 2, 2, 1, 3, 3, 4, 1, 3, 3, 1, NOW FROM numbers(2)")
    .await;
    run("INSERT INTO requests (ts, log_offset, instance, boot_id, seq, collected_at) \
         SELECT NOW, number * 5 + n, 'i', 'BOOT', number * 5 + n + 1, NOW FROM numbers(2) ARRAY JOIN [0, 1] AS n")
    .await;
    run("INSERT INTO dead_letters (topic, log_offset, events, reason, collected_at) \
         SELECT 't', number * 5 + 4, 1, 'too_old', NOW FROM numbers(2)")
    .await;
    run("INSERT INTO producer_sequences (service, instance, boot_id, first_seq, last_seq, range_offset, collected_at) \
         SELECT 's', 'i', 'BOOT', number * 5 + 1, number * 5 + 5, number * 5, NOW FROM numbers(2)")
    .await;
    run("INSERT INTO producer_boots (service, instance, boot_id, issued, log_offset, collected_at) \
         SELECT 's', 'i', concat('of old ', toString(number)), 0, number * 5, NOW FROM numbers(2)")
    .await;
    run("INSERT INTO requests_by_minute (minute, requests, latency_us) SELECT NOW, 4, map(100, 4) FROM numbers(2)")
        .await;
    run("INSERT INTO clicks (ts, code) SELECT NOW, 'c' FROM numbers(2) ARRAY JOIN [0, 1, 2] AS n").await;
    run("INSERT INTO clicks_by_hour (hour, code, clicks) SELECT toStartOfHour(NOW), 'c', 3 FROM numbers(2)")
        .await;
    run("INSERT INTO clicks_by_day (day, code, dimension, clicks) \
         SELECT toDate(NOW), 'c', arrayJoin(['country', 'device', 'browser', 'os', 'referrer_host']), 3 FROM numbers(2)")
    .await;
    run("INSERT INTO clicks_by_link (first, code, dimension, clicks) SELECT NOW, 'c', \
         arrayJoin(['all', 'day', 'country', 'device', 'browser', 'os', 'referrer_host']), 3 FROM numbers(2)")
    .await;
    run("INSERT INTO visits_by_hour (hour, kind, visits) \
         SELECT toStartOfHour(NOW), v.1, v.2 FROM numbers(2) ARRAY JOIN [('click', 3), ('base_url', 1)] AS v")
    .await;
    run("INSERT INTO visits_by_day (day, kind, dimension, visits) \
         SELECT toDate(NOW), v.1, arrayJoin(['country', 'device', 'browser', 'os', 'referrer_host']), v.2 \
         FROM numbers(2) ARRAY JOIN [('click', 3), ('base_url', 1)] AS v")
    .await;
    run("INSERT INTO orphan_visits (ts, kind, path) SELECT NOW, 'base_url', '/' FROM numbers(2)").await;
}

fn log() -> PartitionTotals {
    PartitionTotals { partition: 0, first_offset: 0, committed_offset: 10, end_offset: 10, events: 10 }
}

async fn report(warehouse: &Warehouse) -> Report {
    verify(warehouse, "t", &[log()]).await.unwrap()
}

/// As if the schema had been installed that many days ago.
async fn age(warehouse: &Warehouse, days: u32) {
    let sql = format!(
        "INSERT INTO schema_migrations (version, applied_at) SELECT 0, now() - toIntervalDay({days})"
    );
    warehouse.execute(&sql).await.unwrap();
}

/// Deletes rows, from projections, too.
async fn expire(warehouse: &Warehouse, table: &str, condition: &str) {
    let delete = format!("ALTER TABLE {table} DELETE WHERE {condition} SETTINGS mutations_sync = 2");
    warehouse.execute(&delete).await.unwrap();
}

async fn assert_found(warehouse: &Warehouse, damage: &str, expected: &str) {
    warehouse.execute(damage).await.unwrap();
    let findings = report(warehouse).await.findings;
    assert!(findings.iter().any(|finding| finding.contains(expected)), "{damage}: {findings:?}");
}

#[tokio::test]
async fn damage_to_any_table_is_found() {
    let warehouse = world("verify_damage").await;
    let whole = report(&warehouse).await;
    assert_eq!(whole.findings, Vec::<String>::new());
    assert_eq!(
        (whole.ranges, whole.events, whole.kept, whole.sampled_out, whole.dead_lettered),
        (2, 10, 4, 4, 2)
    );
    assert_eq!(whole.producer_gaps, []);
    for (damage, expected) in [
        ("DELETE FROM requests WHERE seq = 1", "kept events in requests: the ledger says 4, stored are 3"),
        (
            // A row twice hides a row that is missing from every sum.
            "ALTER TABLE requests UPDATE log_offset = 0, seq = 1 WHERE seq = 2 SETTINGS mutations_sync = 2",
            "repeated rows in requests: the log says 0, stored are 1",
        ),
        ("DELETE FROM dead_letters WHERE log_offset = 4", "dead letters: the ledger says 2, stored are 1"),
        (
            "DELETE FROM producer_sequences WHERE first_seq = 6",
            "event numbers in producer_sequences: the ledger says 10, stored are 5",
        ),
        (
            "INSERT INTO producer_sequences (first_seq, last_seq, collected_at) SELECT 3, 3, now()",
            "event numbers in producer_sequences: the ledger says 10, stored are 11",
        ),
        (
            "DELETE FROM producer_boots WHERE log_offset = 0",
            "boots in producer_boots: the ledger says 2, stored are 1",
        ),
        (
            "INSERT INTO requests_by_minute (minute, requests, latency_us) SELECT now(), 1, map(100, 1)",
            "requests in requests_by_minute: the ledger says 8, stored are 9",
        ),
        (
            "INSERT INTO requests_by_minute (minute, requests, latency_us) SELECT now(), 0, map(100, 1)",
            "durations in requests_by_minute: its column requests says 8, stored are 9",
        ),
        ("TRUNCATE TABLE clicks_by_hour", "clicks in clicks_by_hour: the ledger says 6, stored are 0"),
        ("TRUNCATE TABLE clicks", "rows in clicks: the ledger says 6, stored are 0"),
        ("DELETE FROM ingest_ledger WHERE first_offset = 0", "nothing about offsets 0 to 4"),
        ("DELETE FROM ingest_ledger WHERE first_offset = 5", "committed up to 10, the ledger ends at 5"),
        (
            "INSERT INTO ingest_ledger (topic, first_offset, last_offset, collected_at) SELECT 't', 4, 4, now()",
            "4 to 4: overlaps an earlier range",
        ),
        (
            "INSERT INTO ingest_ledger (topic, first_offset, last_offset, collected_at) SELECT 't', 7, 6, now()",
            "7 to 6: the counts are impossible",
        ),
        (
            "ALTER TABLE ingest_ledger UPDATE kept = 9 WHERE first_offset = 5 SETTINGS mutations_sync = 2",
            "5 to 9: 5 events are not 9 kept + 2 sampled out + 1 dead letters",
        ),
        (
            "INSERT INTO ingest_ledger (topic, log_partition, collected_at) SELECT 't', 7, now()",
            "the ledger knows partition 7",
        ),
    ] {
        fill(&warehouse, 0).await;
        assert_found(&warehouse, damage, expected).await;
    }
}

#[tokio::test]
async fn damage_to_counts_of_visits_is_found() {
    let warehouse = world("verify_visits").await;
    for (damage, expected) in [
        (
            "DELETE FROM clicks_by_day WHERE dimension = 'os'",
            "clicks in clicks_by_day: the ledger, five times says 30, stored are 24",
        ),
        (
            "DELETE FROM clicks_by_link WHERE dimension = 'all'",
            "clicks by year in clicks_by_link: its days says 6, stored are 0",
        ),
        (
            "DELETE FROM clicks_by_link WHERE kind IN ('all', 'day')",
            "clicks by day in clicks_by_link: the ledger says 6, stored are 0",
        ),
        (
            "DELETE FROM clicks_by_link WHERE dimension = 'os'",
            "values in clicks_by_link: the ledger, five times says 30, stored are 24",
        ),
        (
            "DELETE FROM visits_by_hour WHERE kind = 'base_url'",
            "visits in visits_by_hour: the ledger says 8, stored are 6",
        ),
        (
            "ALTER TABLE visits_by_hour UPDATE visits = 8 - visits WHERE 1 SETTINGS mutations_sync = 2",
            "clicks in visits_by_hour: the ledger says 6, stored are 2",
        ),
        (
            "INSERT INTO visits_by_day (day, visits) SELECT today(), 1",
            "visits in visits_by_day: the ledger, five times says 40, stored are 41",
        ),
        ("TRUNCATE TABLE orphan_visits", "rows in orphan_visits: the ledger says 2, stored are 0"),
    ] {
        fill(&warehouse, 0).await;
        assert_found(&warehouse, damage, expected).await;
    }
}

/// Of an installation that is older than `clicks_by_link`, with that table empty and then filled by hand.
#[tokio::test]
async fn clicks_by_link_can_be_filled_with_what_was_before() {
    let warehouse = world("verify_filled").await;
    let rows = "SELECT toString(tuple(kind, code, dimension, since, value, bot, domain, sum(clicks))) AS row \
                FROM clicks_by_link GROUP BY kind, code, dimension, since, value, bot, domain ORDER BY row";
    let before = warehouse.rows::<String>(rows, &[]).await.unwrap();
    assert_eq!(before.len(), 7);
    warehouse.execute("TRUNCATE TABLE clicks_by_link").await.unwrap();
    let unknown = "ALTER TABLE ingest_ledger UPDATE link_clicks = 0 WHERE 1 SETTINGS mutations_sync = 2";
    warehouse.execute(unknown).await.unwrap();
    assert_eq!(report(&warehouse).await.findings, Vec::<String>::new());
    let fill = include_str!("../../queries/fill_clicks_by_link.sql");
    // Whoever does it again, for whatever reason, has nothing twice.
    for _ in 0..2 {
        for statement in fill.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            warehouse.execute(statement).await.unwrap();
        }
        assert_eq!(report(&warehouse).await.findings, Vec::<String>::new());
        assert_eq!(warehouse.rows::<String>(rows, &[]).await.unwrap(), before);
    }
    let ledger = "SELECT sum(link_clicks) FROM ingest_ledger";
    assert_eq!(warehouse.rows::<u64>(ledger, &[]).await.unwrap(), [6]);
}

#[tokio::test]
async fn gaps_in_the_middle_and_very_many_of_them() {
    let warehouse = world("verify_many").await;
    let ranges = "INSERT INTO ingest_ledger (topic, first_offset, last_offset, collected_at) \
                  SELECT 't', 1000 + number * 10, 1000 + number * 10 + 5, now() FROM numbers(500)";
    warehouse.execute(ranges).await.unwrap();
    let log = PartitionTotals { committed_offset: 5996, end_offset: 5996, ..log() };
    let findings = verify(&warehouse, "t", &[log]).await.unwrap().findings;
    assert!(findings.contains(&"partition 0: nothing about offsets 10 to 999".to_owned()), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.contains("more than 100")), "{findings:?}");
    assert!(findings.len() < 120, "{}", findings.len());
}

#[tokio::test]
async fn what_is_not_committed_is_on_its_way_unless_it_stays() {
    let warehouse = world("verify_moving").await;
    let range = |age: &str| {
        format!(
            "INSERT INTO ingest_ledger (topic, first_offset, last_offset, messages, events, kept, collected_at) \
             SELECT 't', 10, 12, 3, 3, 3, now() - {age}"
        )
    };
    for table in ["requests (ts, log_offset, seq)", "dead_letters (collected_at, log_offset, events)"] {
        warehouse.execute(&format!("INSERT INTO {table} SELECT now(), 11, 1")).await.unwrap();
    }
    assert_eq!(report(&warehouse).await.findings, Vec::<String>::new());
    let rollup = "INSERT INTO requests_by_minute (minute, requests, latency_us) SELECT now(), 3, map(100, 3)";
    warehouse.execute(rollup).await.unwrap();
    warehouse.execute(&range("1")).await.unwrap();
    assert_eq!(report(&warehouse).await.findings, Vec::<String>::new());
    fill(&warehouse, 0).await;
    warehouse.execute(rollup).await.unwrap();
    let waiting = PartitionTotals { end_offset: 13, ..log() };
    let findings = verify(&warehouse, "t", &[waiting]).await.unwrap().findings;
    assert!(findings.len() == 1 && findings[0].contains("may be half stored"), "{findings:?}");
    assert_found(&warehouse, &range("100"), "the ledger ends at 13, committed is 10").await;
}

#[tokio::test]
async fn what_cannot_be_compared_is_no_number() {
    let warehouse = world("verify_arriving").await;
    let arriving = async {
        for offset in 1.. {
            let range = format!(
                "INSERT INTO ingest_ledger (topic, log_partition, first_offset, last_offset, events, kept, collected_at) \
                 SELECT 'other', 1, {offset}, {offset}, 1, 1, now()"
            );
            warehouse.execute(&range).await.unwrap();
        }
    };
    let findings = tokio::select! {
        report = report(&warehouse) => report.findings,
        () = arriving => unreachable!(),
    };
    assert_eq!(findings, ["rollups and clicks could not be compared: ranges keep arriving"]);
}

#[tokio::test]
async fn an_old_installation_is_compared_from_where_nothing_has_expired() {
    let warehouse = world("verify_old").await;
    // Clicks have expired, the rollups have not.
    fill(&warehouse, 450).await;
    for table in ["clicks", "orphan_visits"] {
        expire(&warehouse, table, "ts < now() - 1000").await;
    }
    for table in ["requests", "dead_letters", "producer_sequences", "producer_boots"] {
        expire(&warehouse, table, "collected_at < now() - 1000").await;
    }
    age(&warehouse, 460).await;
    let whole = report(&warehouse).await;
    assert_eq!(whole.findings, Vec::<String>::new());
    assert_eq!(whole.producer_gaps, []);
    let lost = "ALTER TABLE clicks DELETE WHERE 1 = 1 SETTINGS mutations_sync = 2";
    assert_found(&warehouse, lost, "rows in clicks: clicks_by_hour says 3, stored are 0").await;

    // All that is older has expired, ranges of the ledger too.
    fill(&warehouse, 1099).await;
    for table in TABLES {
        let column = match table {
            "requests" | "clicks" | "orphan_visits" => "ts",
            "requests_by_minute" => "minute",
            "clicks_by_hour" | "visits_by_hour" => "hour",
            "clicks_by_day" | "visits_by_day" => "day",
            // Its year has not expired.
            "clicks_by_link" => continue,
            _ => "collected_at",
        };
        expire(&warehouse, table, &format!("{column} < now() - toIntervalDay(1000)")).await;
    }
    let young = report(&warehouse).await.findings;
    assert!(young.contains(&"partition 0: nothing about offsets 0 to 4".to_owned()), "{young:?}");
    age(&warehouse, 1200).await;
    assert_eq!(report(&warehouse).await.findings, Vec::<String>::new());
    let twice = "INSERT INTO requests_by_minute (minute, requests, latency_us) SELECT now(), 9, map(100, 9)";
    assert_found(&warehouse, twice, "requests in requests_by_minute: the ledger says 4, stored are 13").await;
}

/// Of a ledger that knows no whole year, clicks by link are compared as far as they can be.
#[tokio::test]
async fn less_than_a_year_is_compared_too() {
    let config = super::warehouse("verify_short").config().clone();
    let config = WarehouseConfig { rollups_ttl_days: 300, clicks_ttl_days: 100, ..config };
    let warehouse = Warehouse::new(&config);
    migrate(&warehouse).await.unwrap();
    age(&warehouse, 400).await;
    for (damage, expected) in [
        (
            "DELETE FROM clicks_by_link WHERE kind = 'all'",
            "clicks by year in clicks_by_link: its days says 6",
        ),
        (
            "DELETE FROM clicks_by_link WHERE kind IN ('all', 'day')",
            "clicks by day in clicks_by_link: the ledger says 6, stored are 0",
        ),
        (
            "DELETE FROM clicks_by_link WHERE dimension = 'os'",
            "values in clicks_by_link: the ledger, five times says 30, stored are 24",
        ),
        (
            "INSERT INTO clicks_by_link (first, code, dimension, clicks) SELECT now(), 'c', 'os', 3",
            "values in clicks_by_link: the ledger, five times says 30, stored are 33",
        ),
    ] {
        fill(&warehouse, 0).await;
        assert_eq!(report(&warehouse).await.findings, Vec::<String>::new());
        assert_found(&warehouse, damage, expected).await;
    }
}

#[tokio::test]
async fn what_expired_of_a_boot_is_no_gap() {
    let warehouse = world("verify_boots").await;
    // A UUIDv7 of that age in days.
    let boot = |days: u32| {
        let hex = format!("hex(toUInt64(toUnixTimestamp(now()) - {days} * 86400) * 1000)");
        format!(
            "(lower(leftPad({hex}, 12, '0')) AS h, concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-7000-8000-000000000000')).2"
        )
    };
    for (days, missing, at_end) in [(40, 0, 0), (3, 100, 7)] {
        for table in ["producer_sequences", "producer_boots"] {
            warehouse.execute(&format!("TRUNCATE TABLE {table}")).await.unwrap();
        }
        let boot = boot(days);
        for sql in [
            // Idle for a long time before its last run.
            format!(
                "producer_sequences (instance, boot_id, first_seq, last_seq, collected_at) SELECT 'runs', {boot}, 101, 110, now()"
            ),
            // Idle until its end.
            format!(
                "producer_boots (instance, boot_id, issued, collected_at) SELECT 'idle', {boot}, 7, now()"
            ),
        ] {
            warehouse.execute(&format!("INSERT INTO {sql}")).await.unwrap();
        }
        let gaps = report(&warehouse).await.producer_gaps;
        let sum = |of: fn(&warehouse::ProducerGap) -> u64| gaps.iter().map(of).sum::<u64>();
        assert_eq!((sum(|gap| gap.missing), sum(|gap| gap.missing_at_end)), (missing, at_end), "{gaps:?}");
    }
}

#[tokio::test]
async fn a_log_that_has_lost_its_beginning_is_compared_from_where_it_can_count() {
    let warehouse = world("verify_begins").await;
    for (offset, expected) in [(0, Some(0)), (1, Some(5)), (5, Some(5)), (6, None)] {
        assert_eq!(range_from(&warehouse, "t", 0, offset).await.unwrap(), expected, "{offset}");
    }
    let findings = async |first_offset, events| {
        verify(&warehouse, "t", &[PartitionTotals { first_offset, events, ..log() }]).await.unwrap().findings
    };
    assert_eq!(findings(5, 5).await, [] as [String; 0]);
    assert_eq!(findings(5, 6).await, ["partition 0: the log accepted 6 events, the ledger has 5"]);
    assert_eq!(findings(5, 4).await, ["partition 0: the log accepted 4 events, the ledger has 5"]);
    // Nothing begins at 6, so there is nothing to compare; what is before is compared all the same.
    assert_eq!(findings(6, 4).await, [] as [String; 0]);
    warehouse.execute("DELETE FROM dead_letters WHERE log_offset = 4").await.unwrap();
    let found = findings(6, 4).await;
    assert!(found.contains(&"dead letters: the ledger says 2, stored are 1".to_owned()), "{found:?}");
}

#[tokio::test]
async fn replayed_events_have_no_number_of_their_own() {
    let warehouse = world("verify_replayed").await;
    // Offsets may have holes: one message in 10 to 12. Two events stored, one refused once more, one that is not JSON now.
    for sql in [
        "ingest_ledger (topic, first_offset, last_offset, messages, events, events_announced, kept, sampled_out, \
         dead_lettered, replayed, collected_at) SELECT 't', 10, 12, 1, 4, 4, 1, 1, 2, 4, now()",
        "requests (ts, log_offset, instance, boot_id, seq, collected_at) SELECT now(), 12, 'i', 'BOOT', 5, now()",
        "dead_letters (topic, log_offset, line, events, reason, schema, collected_at) \
         SELECT 't', 12, number, 1, ['too_old', 'syntax'][number + 1], 'hoplog.replay.v1', now() FROM numbers(2)",
        "requests_by_minute (minute, requests, latency_us) SELECT now(), 2, map(100, 2)",
    ] {
        warehouse.execute(&format!("INSERT INTO {sql}")).await.unwrap();
    }
    let log = PartitionTotals { committed_offset: 13, end_offset: 13, events: 14, ..log() };
    let report = verify(&warehouse, "t", &[log]).await.unwrap();
    assert_eq!(report.findings, [] as [String; 0]);
    assert_eq!(report.producer_gaps, []);
    let noted = "INSERT INTO producer_sequences (first_seq, last_seq, range_offset, collected_at) SELECT 5, 5, 10, now()";
    warehouse.execute(noted).await.unwrap();
    let findings = verify(&warehouse, "t", &[log]).await.unwrap().findings;
    let expected = "event numbers in producer_sequences: the ledger says 10, stored are 11";
    assert!(findings.contains(&expected.to_owned()), "{findings:?}");
}

#[tokio::test]
async fn what_was_collected_lately_is_compared_by_itself() {
    let warehouse = world("verify_recent").await;
    let recent = async |committed| {
        verify_recent(&warehouse, "t", &[(0, committed)], Duration::from_secs(3600)).await.unwrap()
    };
    assert_eq!(recent(10).await, Recent::default());
    // The first range is from yesterday: what is missing of it is not looked for.
    fill(&warehouse, 1).await;
    warehouse.execute("DELETE FROM requests WHERE seq = 1").await.unwrap();
    assert_eq!(recent(10).await, Recent::default());
    warehouse.execute("DELETE FROM requests WHERE seq = 6").await.unwrap();
    let found = recent(10).await;
    assert_eq!((found.lost_rows, found.repeated_rows, found.findings.len()), (1, 0, 1), "{found:?}");
    let range = "INSERT INTO ingest_ledger (topic, first_offset, last_offset, messages, events, kept, collected_at) \
                 SELECT 't', 12, 13, 2, 3, 1, now()";
    warehouse.execute(range).await.unwrap();
    let again =
        "INSERT INTO requests (ts, log_offset, seq, collected_at) SELECT now(), 13, 9, now() FROM numbers(3)";
    warehouse.execute(again).await.unwrap();
    let found = recent(17).await;
    // 10 and 11 between ranges, 14 to 16 behind them; 2 of 3 events. A number; of the rows one above what the ledger says,
    // which hides the one that is missing, and two that are the same as another.
    assert_eq!((found.missing_messages, found.unaccounted_events), (5, 2), "{found:?}");
    assert_eq!((found.lost_rows, found.repeated_rows), (1, 3), "{found:?}");

    // Numbers: up to 5 and from 8 on have arrived, some minutes ago; one more just now, which may have neighbours.
    fill(&warehouse, 0).await;
    for (first, last, age_s) in [(1, 5, 1200), (8, 9, 900), (12, 12, 1)] {
        let run = format!(
            "INSERT INTO producer_sequences (instance, boot_id, first_seq, last_seq, collected_at) SELECT 'j', 'k', {first}, {last}, now() - {age_s}"
        );
        warehouse.execute(&run).await.unwrap();
    }
    assert_eq!(recent(10).await.numbers_missing, 2);
}
