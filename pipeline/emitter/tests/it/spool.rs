//! From a request to what a consumer of the real spool reads.

use std::sync::Arc;
use std::time::Duration;

use event_log::spool::{Spool, SpoolConfig};
use event_log::{Consumer, ContentType, Delivery, EventLogMetrics, Record, Schema};
use wide_event::{BootEnd, Outcome, codec};

use crate::http::{get_path, serve};
use crate::log::{DEADLINE, quick, start};

async fn records(spool: &Spool) -> Vec<Record> {
    let mut consumer = spool.consumer("test").await.unwrap();
    let mut all = Vec::new();
    loop {
        match consumer.next(Duration::from_millis(50)).await.unwrap() {
            Delivery::Records { records, .. } => all.extend(records),
            Delivery::Idle => return all,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_in_the_spool() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool");
    let spool = Spool::new(SpoolConfig { path, ..SpoolConfig::default() });
    let (emitter, publisher) = start(quick(), Arc::new(spool.producer(EventLogMetrics::default())));
    let address = serve(&emitter).await;
    for number in 0..50 {
        let path = if number % 10 == 0 { "/end/panic" } else { "/rust" };
        get_path(address, path).await;
    }
    assert!(publisher.shutdown(DEADLINE).await.unwrap().announced);

    let records = records(&spool).await;
    let (mut events, mut ends) = (Vec::new(), Vec::new());
    for record in &records {
        assert_eq!(record.content_type, ContentType::Ndjson);
        let lines = codec::lines(&record.payload);
        match record.schema {
            Schema::Events => {
                let decoded: Vec<_> = lines.map(|line| codec::decode(line).unwrap()).collect();
                assert_eq!(record.events, Some(u32::try_from(decoded.len()).unwrap()));
                events.extend(decoded);
            }
            _ => ends.extend(lines.map(|line| codec::decode_record::<BootEnd<'_>>(line).unwrap())),
        }
    }
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
    assert_eq!(events.iter().filter(|event| event.outcome == Outcome::Panic).count(), 5);
    assert!(events.iter().all(|event| event.boot_id.as_str() == emitter.boot_id()));
    assert_eq!((ends.len(), ends[0].issued, ends[0].clean), (1, 50, true));
}
