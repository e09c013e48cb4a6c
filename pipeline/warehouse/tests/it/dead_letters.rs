//! Dead letters as operators handle them, against the real engine.

use warehouse::dead_letters::{Begin, Filter, LetterId, begin_replay, finish_replay, get, list, purge};
use warehouse::{Warehouse, migrate, verify};

fn id(offset: u64, line: u32) -> LetterId {
    LetterId { topic: "t".to_owned(), partition: 1, offset, line }
}

/// Three letters, a second apart, and the range that they are in.
async fn letters(database: &str) -> Warehouse {
    let warehouse = super::warehouse(database);
    migrate(&warehouse).await.unwrap();
    for sql in [
        "dead_letters (topic, log_partition, log_offset, line, events, reason, detail, schema, raw, collected_at) \
         SELECT 't', 1, number, 7, 1, ['syntax', 'too_old', 'syntax'][number + 1], 'why', 'hoplog.event.v1', \
         unhex('7B00FF'), toDateTime64(now() - 10 + number, 6) FROM numbers(3)",
        "ingest_ledger (topic, log_partition, last_offset, messages, events, events_announced, dead_lettered, collected_at) \
         SELECT 't', 1, 2, 3, 3, 3, 3, now()",
        "producer_sequences (log_partition, first_seq, last_seq, collected_at) SELECT 1, 1, 1, now()",
    ] {
        warehouse.execute(&format!("INSERT INTO {sql}")).await.unwrap();
    }
    warehouse
}

#[tokio::test]
async fn letters_are_found_by_what_is_known_of_them() {
    let warehouse = letters("letters_list").await;
    let all = list(&warehouse, &Filter::default()).await.unwrap();
    assert_eq!(all.iter().map(|letter| letter.id.offset).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!((all[0].raw_bytes, all[0].raw.len(), &*all[0].reason), (3, 0, "syntax"));
    let now = all[1].collected_at_us;
    for (filter, expected) in [
        (Filter { reason: Some("syntax".to_owned()), ..Filter::default() }, vec![2, 0]),
        (Filter { reason: Some("synt'ax".to_owned()), ..Filter::default() }, vec![]),
        (Filter { topic: Some("t".to_owned()), limit: 1, ..Filter::default() }, vec![2]),
        (Filter { topic: Some("u".to_owned()), ..Filter::default() }, vec![]),
        (Filter { partition: Some(1), since_us: Some(now), ..Filter::default() }, vec![2, 1]),
        (Filter { partition: Some(0), ..Filter::default() }, vec![]),
        (Filter { until_us: Some(now), ..Filter::default() }, vec![0]),
    ] {
        let found = list(&warehouse, &filter).await.unwrap();
        let found: Vec<_> = found.iter().map(|letter| letter.id.offset).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let one = get(&warehouse, &id(1, 7)).await.unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!((&*one[0].raw, one[0].raw_bytes, one[0].purged), (&b"{\0\xff"[..], 3, false));
    assert_eq!(get(&warehouse, &id(1, 8)).await.unwrap(), []);
}

#[tokio::test]
async fn a_letter_is_replayed_once_unless_it_has_to_be_again() {
    let warehouse = letters("letters_replay").await;
    let begin = async |operator: &str, again| begin_replay(&warehouse, &id(0, 7), operator, again).await;
    let Begin::Ours(replay) = begin("ann", false).await.unwrap() else { panic!("nobody was before") };
    let refused = begin("ben", false).await.unwrap();
    assert!(matches!(&refused, Begin::Begun { operator, .. } if operator == "ann"), "{refused:?}");
    finish_replay(&warehouse, &replay).await.unwrap();
    finish_replay(&warehouse, &replay).await.unwrap();
    let refused = begin("ben", false).await.unwrap();
    assert!(matches!(&refused, Begin::Done { operator, .. } if operator == "ann"), "{refused:?}");
    let letter = &get(&warehouse, &id(0, 7)).await.unwrap()[0];
    assert_eq!((letter.replays_begun, letter.replays_done), (1, 1));
    assert!(matches!(begin("ben", true).await.unwrap(), Begin::Ours(_)));
    let letter = &get(&warehouse, &id(0, 7)).await.unwrap()[0];
    assert_eq!((letter.replays_begun, letter.replays_done), (2, 1));
    assert_eq!(get(&warehouse, &id(1, 7)).await.unwrap()[0].replays_begun, 0);
}

#[tokio::test]
async fn of_many_operators_at_once_one_replays() {
    let warehouse = letters("letters_race").await;
    for offset in 0..10 {
        let tries = (0..8).map(|operator| {
            let warehouse = warehouse.clone();
            tokio::spawn(async move {
                begin_replay(&warehouse, &id(offset, 7), &operator.to_string(), operator % 2 == 0).await
            })
        });
        let tries: Vec<_> = tries.collect();
        let mut ours = 0;
        for begun in tries {
            ours += u32::from(matches!(begun.await.unwrap().unwrap(), Begin::Ours(_)));
        }
        // One at the least, and another only where somebody insisted after the first had it.
        assert!((1..=4).contains(&ours), "{ours}");
        let sql = format!("SELECT count() FROM dead_letter_replays WHERE log_offset = {offset}");
        assert_eq!(warehouse.rows::<u64>(&sql, &[]).await.unwrap(), [u64::from(ours)]);
    }
}

#[tokio::test]
async fn what_is_purged_is_blank_and_still_counts() {
    let warehouse = letters("letters_purge").await;
    let log = warehouse::PartitionTotals {
        partition: 1,
        first_offset: 0,
        committed_offset: 3,
        end_offset: 3,
        events: 3,
    };
    let findings = async || verify(&warehouse, "t", &[log]).await.unwrap().findings;
    assert_eq!(findings().await, [] as [String; 0]);
    let filter = Filter { reason: Some("syntax".to_owned()), ..Filter::default() };
    assert_eq!(purge(&warehouse, &filter).await.unwrap(), 2);
    assert_eq!(purge(&warehouse, &filter).await.unwrap(), 0);
    let left = list(&warehouse, &Filter::default()).await.unwrap();
    let left: Vec<_> = left.iter().map(|letter| (letter.purged, letter.raw_bytes, &*letter.detail)).collect();
    assert_eq!(left, [(true, 0, ""), (false, 3, "why"), (true, 0, "")]);
    assert_eq!(findings().await, [] as [String; 0]);
}
