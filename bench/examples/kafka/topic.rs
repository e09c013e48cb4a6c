//! What is in the topic in the end.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use event_log::kafka::Kafka;
use event_log::{ConsumeError, Delivery, EventLog, Record};
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

/// Reads all that is there now. A Kafka that has just come back may refuse for a while, as its group coordinator still
/// loads: what fails is asked again, after an error nothing is skipped.
pub(crate) async fn read(log: &Kafka) -> Result<Topic> {
    let deadline = Instant::now() + READ_WITHIN;
    let partitions = loop {
        match EventLog::partitions(log, GROUP).await {
            Ok(partitions) => break partitions,
            Err(error) => again(error, deadline).await?,
        }
    };
    let held = partitions.iter().filter(|partition| partition.end_offset > partition.first_offset);
    let mut missing: BTreeMap<_, _> = held.map(|held| (held.partition, held.end_offset)).collect();
    let mut consumer = EventLog::consumer(log, GROUP).await?;
    let (mut topic, mut refused) = (Topic::default(), HashSet::new());
    while !missing.is_empty() {
        if Instant::now() > deadline {
            bail!(
                "the topic could not be read to its end; partitions and ends that are missing: {missing:?}"
            );
        }
        let (partition, records) = match consumer.next(WAIT).await {
            Ok(Delivery::Records { partition, records }) => (partition, records),
            Ok(_) => continue,
            Err(error) => {
                again(error, deadline).await?;
                continue;
            }
        };
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

/// Waits a moment; the error where there is no time left for that.
async fn again(error: ConsumeError, deadline: Instant) -> Result<()> {
    if Instant::now() > deadline {
        return Err(error).context("the topic can't be read");
    }
    tokio::time::sleep(WAIT).await;
    Ok(())
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
