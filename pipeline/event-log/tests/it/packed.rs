//! Payloads are packed in the file, or before: what comes out is what there was, also from files of before there was packing.

use event_log::{AppendError, ContentType, EventLogMetrics, Message, PAYLOAD_BYTES_MAX, Packer, Producer};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{records, spool};

fn lines() -> Vec<u8> {
    (1..=500)
        .flat_map(|seq| format!("{{\"seq\":{seq},\"outcome\":\"ok\",\"code\":\"rust\"}}\n").into_bytes())
        .collect()
}

async fn file(dir: &std::path::Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(dir.join("spool/log.db")).connect().await.unwrap()
}

#[tokio::test]
async fn rows_of_before_and_packed_ones_are_read_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let producer = spool.producer(EventLogMetrics::default());
    producer.append(vec![Message::events(lines(), 500), Message::events("{}\n", 1)]).await.unwrap();
    producer.close().await;
    let mut file = file(dir.path()).await;
    let (content_type, bytes): (String, u32) =
        sqlx::query_as("SELECT content_type, length(payload) FROM messages ORDER BY id LIMIT 1")
            .fetch_one(&mut file)
            .await
            .unwrap();
    assert_eq!(content_type, "application/x-ndjson+lz4");
    assert!((bytes as usize) < lines().len() / 3, "{bytes}");
    // As versions wrote it that packed nothing.
    let before =
        "INSERT INTO messages VALUES (2, 7, 500, 501, ?1, 'hoplog.event.v1', 'application/x-ndjson', ?2)";
    let sum = lines().len() as i64 + 3;
    sqlx::query(before).bind(sum).bind(lines()).execute(&mut file).await.unwrap();
    let moved = "UPDATE partitions SET next_offset = 3, events_total = 1001, bytes_total = bytes_total * 2";
    sqlx::raw_sql(moved).execute(&mut file).await.unwrap();
    file.close().await.unwrap();
    let mut consumer = spool.consumer("g").await.unwrap();
    let mut read = Vec::new();
    while read.len() < 3 {
        read.extend(records(&mut consumer).await);
    }
    let payloads: Vec<_> = read.iter().map(|record| record.payload.to_vec()).collect();
    assert_eq!(payloads, [lines(), b"{}\n".to_vec(), lines()]);
    assert!(read.iter().all(|record| record.content_type == ContentType::Ndjson));
}

#[tokio::test]
async fn what_can_not_be_unpacked_is_delivered_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let producer = spool.producer(EventLogMetrics::default());
    producer.append(vec![Message::events(lines(), 500), Message::events(lines(), 500)]).await.unwrap();
    producer.close().await;
    let mut file = file(dir.path()).await;
    sqlx::raw_sql("UPDATE messages SET payload = x'00ff00ff0102' WHERE id = 0")
        .execute(&mut file)
        .await
        .unwrap();
    file.close().await.unwrap();
    let read = records(&mut spool.consumer("g").await.unwrap()).await;
    assert_eq!(read[0].content_type, ContentType::NdjsonLz4);
    assert_eq!((&read[0].payload[..], read[0].events), (&b"\x00\xff\x00\xff\x01\x02"[..], Some(500)));
    assert_eq!((&read[1].payload[..], &read[1].content_type), (&*lines(), &ContentType::Ndjson));
}

#[tokio::test]
async fn what_is_packed_before_counts_as_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let metrics = EventLogMetrics::default();
    let producer = spool.producer(metrics.clone());
    let packed = |lines: &[u8]| Message::packed_events(Packer::default().pack(lines).unwrap(), 500);
    producer.append(vec![packed(&lines()), Message::events(lines(), 500)]).await.unwrap();
    let error = producer.append(vec![packed(&vec![b' '; PAYLOAD_BYTES_MAX + 1])]).await.unwrap_err();
    assert!(
        matches!(error, AppendError::TooLarge { bytes, .. } if bytes == PAYLOAD_BYTES_MAX + 1),
        "{error:?}"
    );
    producer.close().await;
    let read = records(&mut spool.consumer("g").await.unwrap()).await;
    assert_eq!(read.len(), 2);
    for record in read {
        assert_eq!((&record.content_type, &*record.payload), (&ContentType::Ndjson, &*lines()));
    }
    let sums = "SELECT sum(bytes_total), (SELECT count(*) FROM messages) FROM partitions";
    let (bytes, rows): (i64, i64) =
        sqlx::query_as(sums).fetch_one(&mut file(dir.path()).await).await.unwrap();
    assert_eq!((bytes, rows), (2 * lines().len() as i64, 2));
}
