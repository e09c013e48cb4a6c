//! What the event log says, for comparison: from where to where, how far the collectors are, how many events there are in
//! between. Judges nothing but what the log alone tells.

use std::fmt;

use anyhow::{Context, Result};
use event_log::{EventLog, PartitionState};
use warehouse::{PartitionTotals, Warehouse};

use crate::log::Kind;
use crate::role::collect::GROUP;

/// Marks in a row that are looked through: one a transaction, and what an aborted one left.
const MARKS_MAX: u64 = 1000;

/// The log and what is needed to count in it.
pub(crate) struct Positions<'a> {
    pub(crate) log: &'a dyn EventLog,
    pub(crate) kind: Kind,
    pub(crate) warehouse: &'a Warehouse,
    /// Messages of each partition, the newest ones, that are counted where counting means reading them.
    pub(crate) messages_max: u64,
}

impl Positions<'_> {
    /// Where the partitions are now.
    ///
    /// # Errors
    /// When the log can't be read.
    pub(crate) async fn read(&self) -> Result<Vec<PartitionState>> {
        self.log.partitions(GROUP).await.context("can't read the event log")
    }

    /// How many events there are up to where the collectors are, from where this can be counted.
    ///
    /// # Errors
    /// When log or ledger can't be read.
    pub(crate) async fn count(&self, partitions: &[PartitionState]) -> Result<Vec<PartitionTotals>> {
        let mut totals = Vec::with_capacity(partitions.len());
        for state in partitions {
            totals.push(self.count_one(*state).await?);
        }
        Ok(totals)
    }

    async fn count_one(&self, mut state: PartitionState) -> Result<PartitionTotals> {
        loop {
            let PartitionState { partition, committed_offset, end_offset, .. } = state;
            let first_offset = self.counts_from(&state).await?;
            let error = match self.log.count_events(partition, first_offset, committed_offset).await {
                Ok(events) => {
                    return Ok(PartitionTotals {
                        partition,
                        first_offset,
                        committed_offset,
                        end_offset,
                        events,
                    });
                }
                Err(error) => error,
            };
            // Retention goes on while we count: then from where the log begins now.
            let begins =
                self.read().await?.iter().find(|now| now.partition == partition).map(|now| now.first_offset);
            match begins {
                Some(begins) if begins > first_offset && begins > state.first_offset => {
                    state.first_offset = begins
                }
                _ => return Err(error).context("can't count the events in the event log"),
            }
        }
    }

    /// Without those partitions where nothing is left but offsets without a message: transactions, as the outbox makes them,
    /// end with a mark that has one, and who reads messages never gets behind the last.
    ///
    /// # Errors
    /// When the log can't be read.
    pub(crate) async fn without_marks(&self, behind: Vec<Behind>) -> Result<Vec<Behind>> {
        let mut left = Vec::with_capacity(behind.len());
        for behind in behind {
            let Behind { partition, committed_offset, end_offset } = behind;
            let marks = self.kind == Kind::Kafka && end_offset - committed_offset <= MARKS_MAX;
            let marks = marks
                && self
                    .log
                    .count_events(partition, committed_offset, end_offset)
                    .await
                    .context("can't count the events in the event log")?
                    == 0;
            if !marks {
                left.push(behind);
            }
        }
        Ok(left)
    }

    /// Sums can be compared from where a range begins, and where the log still knows.
    async fn counts_from(&self, state: &PartitionState) -> Result<u64> {
        let newest = state.committed_offset.saturating_sub(self.messages_max);
        let at_least = if self.kind.keeps_sums() { 0 } else { newest.max(state.first_offset) };
        if at_least == 0 {
            return Ok(0);
        }
        let range = warehouse::range_from(self.warehouse, self.log.topic(), state.partition, at_least).await;
        Ok(range
            .context("can't read the ledger")?
            .unwrap_or(state.committed_offset)
            .min(state.committed_offset))
    }
}

/// A partition where the collectors are not where the log was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    partition: u32,
    committed_offset: u64,
    end_offset: u64,
}

/// Messages that retention took before the collectors had them: gone for good.
pub(crate) fn deleted(partitions: &[PartitionState]) -> Vec<String> {
    let lost = |state: &PartitionState| {
        let PartitionState { partition, first_offset, committed_offset, .. } = state;
        (committed_offset < first_offset).then(|| {
            let last = first_offset - 1;
            format!("partition {partition}: messages {committed_offset} to {last} were deleted before they were collected")
        })
    };
    partitions.iter().filter_map(lost).collect()
}

/// Partitions of which the collectors have not read what the log held at first.
pub(crate) fn behind(at_first: &[PartitionState], now: &[PartitionState]) -> Vec<Behind> {
    let behind = |goal: &PartitionState| {
        let PartitionState { partition, end_offset, .. } = *goal;
        let committed_offset =
            now.iter().find(|now| now.partition == partition).map_or(0, |now| now.committed_offset);
        (committed_offset < end_offset).then_some(Behind { partition, committed_offset, end_offset })
    };
    at_first.iter().filter_map(behind).collect()
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, committed_offset, end_offset } = self;
        write!(
            f,
            "partition {partition}: the collector is at {committed_offset}, the log was at {end_offset}: does it run?"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(partition: u32, first_offset: u64, committed_offset: u64, end_offset: u64) -> PartitionState {
        PartitionState { partition, first_offset, committed_offset, end_offset }
    }

    #[test]
    fn what_the_log_alone_tells() {
        let at_first = [state(0, 0, 5, 10), state(1, 7, 7, 7)];
        let later = [state(0, 0, 10, 30), state(1, 9, 7, 12)];
        assert_eq!(behind(&at_first, &later), []);
        let still = behind(&at_first, &at_first);
        assert!(still.len() == 1 && still[0].to_string().contains("is at 5, the log was at 10"), "{still:?}");
        assert_eq!(deleted(&at_first), [] as [String; 0]);
        let gone = deleted(&later);
        assert!(gone.len() == 1 && gone[0].contains("messages 7 to 8"), "{gone:?}");
    }
}
