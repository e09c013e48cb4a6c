//! What is in the topic in the end.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use event_log::kafka::Kafka;
use event_log::{Delivery, EventLog, Record};
use wide_event::{Outcome, codec};

const GROUP: &str = "bench";
const WAIT: Duration = Duration::from_secs(1);
/// Millions of events are read in seconds; more than this is a failure.
const READ_WITHIN: Duration = Duration::from_secs(120);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Topic {
    /// Events, as the producer announced them.
    pub(crate) events: u64,
    /// Different events of refused requests.
    pub(crate) refused: u64,
}

/// Reads all that is there now.
pub(crate) async fn read(log: &Kafka) -> Result<Topic> {
    let mut missing: BTreeMap<u32, u64> = BTreeMap::new();
    for partition in EventLog::partitions(log, GROUP).await? {
        if partition.end_offset > partition.first_offset {
            missing.insert(partition.partition, partition.end_offset);
        }
    }
    let mut consumer = EventLog::consumer(log, GROUP).await?;
    let (mut topic, mut refused) = (Topic::default(), HashSet::new());
    let deadline = Instant::now() + READ_WITHIN;
    while !missing.is_empty() {
        if Instant::now() > deadline {
            bail!(
                "the topic could not be read to its end; partitions and ends that are missing: {missing:?}"
            );
        }
        let Delivery::Records { partition, records } = consumer.next(WAIT).await? else { continue };
        for record in &records {
            topic.events += u64::from(record.events.unwrap_or_default());
            find_refused(record, &mut refused)?;
        }
        let next = records.last().map_or(0, |record| record.offset + 1);
        if missing.get(&partition).is_some_and(|end| next >= *end) {
            missing.remove(&partition);
        }
    }
    consumer.close().await;
    topic.refused = refused.len() as u64;
    Ok(topic)
}

/// Events are read only where they may be what is looked for: most are not.
fn find_refused(record: &Record, refused: &mut HashSet<(String, u64)>) -> Result<()> {
    let mark = format!("\"{}\"", Outcome::Shed.as_str());
    for line in codec::lines(&record.payload) {
        if !line.windows(mark.len()).any(|part| part == mark.as_bytes()) {
            continue;
        }
        let event = codec::decode(line)?;
        if event.outcome == Outcome::Shed {
            refused.insert((event.boot_id.as_str().to_owned(), event.seq));
        }
    }
    Ok(())
}
