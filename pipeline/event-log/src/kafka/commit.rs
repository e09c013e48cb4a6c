//! Commits positions of the group, from any task: one after the other in a partition, off the runtime's threads, and
//! none after its partition was given away. Reads nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::fault::Wrong;
use super::owned::{Claim, Owned};
use crate::{CommitError, Committer, Position};

/// Pause between attempts while a rebalance is under way: its round trips take about as long.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a rebalance is waited for before the caller hears of it. A rebalance of members that are alive takes less
/// than a second, and the caller's own pauses are longer than ours.
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// Commits for the consumer that made it, as long as that has the partitions.
pub(super) struct KafkaCommitter {
    topic: String,
    owned: Arc<Owned>,
    /// How long a commit may take. After the session's time nobody knows whose the partition is.
    limit: Duration,
}

/// What to do about an answer.
#[derive(Debug)]
enum Answer {
    Done,
    /// A rebalance is under way: the same may do in a moment.
    Again(KafkaError),
    Failed(CommitError),
}

impl KafkaCommitter {
    pub(super) fn new(topic: String, owned: Arc<Owned>, limit: Duration) -> Self {
        Self { topic, owned, limit }
    }

    fn list(&self, partition: u32, position: &Position) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(1);
        let offset = i64::try_from(position.offset).unwrap_or(i64::MAX);
        let mut element = list.add_partition(&self.topic, number(partition));
        element.set_offset(Offset::Offset(offset))?;
        if !position.metadata.is_empty() {
            element.set_metadata(&position.metadata);
        }
        Ok(list)
    }

    /// Sends it and waits for the answer. The order is held until there is one, whether or not somebody waits.
    async fn send(
        &self,
        turn: OwnedMutexGuard<()>,
        claim: &Claim,
        position: &Position,
    ) -> Result<(OwnedMutexGuard<()>, Answer), CommitError> {
        let broken = |error: KafkaError| CommitError::Broken(Box::new(error));
        let list = self.list(claim.partition, position).map_err(broken)?;
        let (owned, claim, offset) = (Arc::clone(&self.owned), claim.clone(), position.offset);
        let sent = spawn_blocking(move || {
            // Gone: the group was left.
            let gone = KafkaError::ConsumerCommit(Code::AssignmentLost);
            let answer =
                claim.client.upgrade().ok_or(gone).and_then(|client| client.commit(&list, CommitMode::Sync));
            if answer.is_ok() {
                owned.note_committed(&claim, offset);
            }
            (turn, answer)
        });
        let (turn, answer) = sent.await.map_err(|join| CommitError::Unavailable(Box::new(join)))?;
        Ok((turn, answer.map_or_else(classify, |()| Answer::Done)))
    }

    async fn commit_in_turn(&self, partition: u32, position: &Position) -> Result<(), CommitError> {
        let claim = self.owned.claim(partition)?;
        let mut turn = self.owned.order(partition).lock_owned().await;
        let until = Instant::now() + AGAIN_MAX;
        loop {
            self.owned.check(&claim, position)?;
            let (held, answer) = self.send(turn, &claim, position).await?;
            turn = held;
            match answer {
                Answer::Done => return Ok(()),
                Answer::Again(_) if Instant::now() + AGAIN < until => {
                    sleep_until(Instant::now() + AGAIN).await;
                }
                Answer::Again(error) => return Err(CommitError::Unavailable(Box::new(error))),
                Answer::Failed(error) => return Err(error),
            }
        }
    }
}

#[async_trait]
impl Committer for KafkaCommitter {
    async fn commit(&self, partition: u32, position: Position) -> Result<(), CommitError> {
        let late = || {
            let text = format!("a commit was not answered within {} ms", self.limit.as_millis());
            CommitError::Unavailable(Box::new(Wrong(text)))
        };
        timeout_at(Instant::now() + self.limit, self.commit_in_turn(partition, &position))
            .await
            .unwrap_or_else(|_| Err(late()))
    }
}

/// A partition's number as Kafka has it.
pub(super) fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

fn classify(error: KafkaError) -> Answer {
    let Some(code) = error.rdkafka_error_code() else {
        return Answer::Failed(CommitError::Broken(Box::new(error)));
    };
    match code {
        // The member id is the one of the request: the group knows a newer generation that we are still to hear of, or
        // waits for its leader. While the partition is ours nobody else has it.
        Code::RebalanceInProgress | Code::IllegalGeneration => Answer::Again(error),
        Code::UnknownMemberId
        | Code::FencedInstanceId
        | Code::FencedMemberEpoch
        | Code::StaleMemberEpoch
        | Code::AssignmentLost
        | Code::Fenced
        | Code::Fatal => Answer::Failed(CommitError::Fenced),
        Code::OffsetMetadataTooLarge | Code::InvalidCommitOffsetSize => {
            Answer::Failed(CommitError::Invalid("the brokers take less metadata than 4096 bytes"))
        }
        Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed => {
            Answer::Failed(CommitError::Broken(Box::new(error)))
        }
        _ => Answer::Failed(CommitError::Unavailable(Box::new(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: Code) -> Answer {
        classify(KafkaError::ConsumerCommit(code))
    }

    #[test]
    fn a_rebalance_is_waited_for_and_a_lost_membership_is_not() {
        for code in [Code::RebalanceInProgress, Code::IllegalGeneration] {
            assert!(matches!(answer(code), Answer::Again(_)), "{code}");
        }
        for code in [Code::UnknownMemberId, Code::FencedInstanceId, Code::Fatal] {
            assert!(matches!(answer(code), Answer::Failed(CommitError::Fenced)), "{code}");
        }
        for code in [Code::WaitingForCoordinator, Code::RequestTimedOut, Code::BrokerTransportFailure] {
            assert!(matches!(answer(code), Answer::Failed(CommitError::Unavailable(_))), "{code}");
        }
        assert!(matches!(answer(Code::GroupAuthorizationFailed), Answer::Failed(CommitError::Broken(_))));
    }
}
