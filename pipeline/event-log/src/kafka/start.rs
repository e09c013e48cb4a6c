//! Where to begin in partitions that the group gives us: at what it committed, if that is still there. Asks until it
//! knows; takes the partitions then. Delivers nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::fault::{self, Wrong};
use super::owned::Order;
use super::session::{self, Client, Found, Queue};
use crate::{ConsumeError, Position};

/// Pause between questions while brokers are away.
const AGAIN: Duration = Duration::from_millis(250);
/// How often an end below a committed position is looked at again: a new leader may know its end a little late.
const LOOKS: u32 = 5;
/// Pause between these looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A partition that is ours by now.
pub(super) struct Start {
    pub(super) partition: u32,
    pub(super) position: Position,
    /// Offset that the next message gets.
    pub(super) end: u64,
    pub(super) queue: Arc<Queue>,
}

/// Takes partitions. Commits of earlier assignments are waited for, by `orders`: what they wrote counts.
pub(super) async fn start(
    client: Arc<Client>,
    topic: String,
    partitions: Vec<u32>,
    orders: Vec<Order>,
) -> Result<Vec<Start>, ConsumeError> {
    for order in orders {
        drop(order.lock_owned().await);
    }
    let found = look(&client, &topic, &partitions).await?;
    let positions: BTreeMap<u32, Position> =
        found.iter().map(|(partition, found)| (*partition, position(found))).collect();
    let offsets = positions.iter().map(|(partition, position)| (*partition, position.offset)).collect();
    let mut queues = session::take(&client, &topic, offsets)
        .await
        .map_err(|error| ConsumeError::Unavailable(Box::new(error)))?;
    let mut starts = Vec::with_capacity(positions.len());
    for (partition, position) in positions {
        let Some(queue) = queues.remove(&partition) else { continue };
        let end = found.get(&partition).map_or(position.offset, |found| found.end);
        starts.push(Start { partition, position, end, queue });
    }
    Ok(starts)
}

/// Asks until there is an answer that makes sense.
async fn look(
    client: &Arc<Client>,
    topic: &str,
    partitions: &[u32],
) -> Result<BTreeMap<u32, Found>, ConsumeError> {
    let mut looks = 0;
    loop {
        let (asked, name, numbers) = (Arc::clone(client), topic.to_owned(), partitions.to_vec());
        let found = match session::blocking(move || session::find(&*asked, &name, &numbers)).await {
            Ok(found) => found,
            Err(error) => match fault::asking(error) {
                ConsumeError::Unavailable(error) => {
                    tracing::debug!(
                        error = &*error as &dyn std::error::Error,
                        "no positions yet; asking again"
                    );
                    sleep(AGAIN).await;
                    continue;
                }
                lasting => return Err(lasting),
            },
        };
        let wrong = found.iter().find_map(|(partition, found)| stray(topic, *partition, found));
        let Some(wrong) = wrong else { return Ok(found) };
        looks += 1;
        if looks >= LOOKS {
            return Err(Wrong::broken(wrong));
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn position(found: &Found) -> Position {
    match &found.committed {
        Some((offset, metadata)) => Position { offset: *offset, metadata: metadata.clone() },
        None => Position { offset: found.first, metadata: String::new() },
    }
}

/// What is wrong with a position, if it isn't in the log.
fn stray(topic: &str, partition: u32, found: &Found) -> Option<String> {
    let Found { committed: Some((offset, _)), first, end } = found else { return None };
    let mend =
        "after a person has seen to what is missing, the group's offset can be set with Kafka's own tools";
    if offset < first {
        Some(format!(
            "messages {offset} to {} of {topic}, partition {partition}, were deleted before they were consumed; {mend}",
            first - 1
        ))
    } else if offset > end {
        Some(format!(
            "the group is at offset {offset} of {topic}, partition {partition}, which ends at {end}: the topic was \
             made anew, or has lost messages; {mend}"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positions_within_the_log_are_taken() {
        let found = |offset: u64| Found { committed: Some((offset, String::new())), first: 10, end: 20 };
        for offset in [10, 15, 20] {
            assert_eq!(stray("t", 0, &found(offset)), None);
        }
        let below = stray("t", 3, &found(7)).unwrap();
        assert!(below.starts_with("messages 7 to 9 of t, partition 3, were deleted"), "{below}");
        let above = stray("t", 3, &found(21)).unwrap();
        assert!(
            above.starts_with("the group is at offset 21 of t, partition 3, which ends at 20"),
            "{above}"
        );
        let fresh = Found { committed: None, first: 10, end: 20 };
        assert_eq!(stray("t", 0, &fresh), None);
        assert_eq!(position(&fresh), Position { offset: 10, metadata: String::new() });
    }
}
