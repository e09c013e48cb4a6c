//! What must hold before a range is inserted: that it is not in the ledger, that its offsets are no others', and that
//! ClickHouse still knows the tokens of what it may have of it. Only asks; a no is a reason for a person.

use warehouse::queries;

use crate::failure::Failure;
use crate::insert::Insertion;

/// How much earlier than an intent ranges are counted that were stored since: the clocks of collectors differ, by less
/// than this where they are synchronised at all.
const CLOCKS_DIFFER_US: i64 = 60 * 1_000_000;

impl Insertion<'_> {
    /// A log that was replaced gives offsets out again, and ClickHouse would take their tokens for repetitions and drop
    /// what is new. So a range that no intent announces must not be in the ledger before it is stored.
    pub(crate) async fn refuse_repeated_offsets(&self) -> Result<(), Failure> {
        let range = self.range;
        let parameters = [("topic", &*range.topic), ("partition", &range.partition.to_string())];
        let last: Vec<u64> = self.store.warehouse.rows(queries::LEDGER_REACHES, &parameters).await?;
        if last.first().is_none_or(|last| *last < range.first) {
            return Ok(());
        }
        Err(Failure::Refused(format!(
            "the ledger has offsets from {} on, which the event log now gives out again: the log was replaced; start it \
             with a new ClickHouse database, or put the old log back",
            range.first
        )))
    }

    pub(crate) async fn is_in_ledger(&self) -> Result<bool, Failure> {
        let range = self.range;
        let parameters = [
            ("topic", &*range.topic),
            ("partition", &range.partition.to_string()),
            ("first", &range.first.to_string()),
            ("last", &range.intent.last.to_string()),
        ];
        let ranges: Vec<u64> = self.store.warehouse.rows(queries::LEDGER_HAS_RANGE, &parameters).await?;
        Ok(ranges.first().is_some_and(|ranges| *ranges > 0))
    }

    /// ClickHouse knows the tokens of its last inserts only. Where too many came after this range was begun, what it
    /// already has of the range would be stored once more.
    pub(crate) async fn refuse_forgotten(&self) -> Result<(), Failure> {
        let (range, limit) = (self.range, self.forgets_after);
        let since_us = range.intent.at.saturating_sub(CLOCKS_DIFFER_US).to_string();
        let parameters = [("topic", &*range.topic), ("since_us", &*since_us)];
        let ranges: Vec<u64> = self.store.warehouse.rows(queries::RANGES_SINCE, &parameters).await?;
        let ranges = ranges.first().copied().unwrap_or_default();
        if ranges < limit {
            return Ok(());
        }
        Err(Failure::Refused(format!(
            "range {} was begun and not finished, and {ranges} ranges were stored since: ClickHouse may have forgotten \
             which of its blocks it has (limit {limit}); see `A range that was forgotten` in the collector's README",
            range.token()
        )))
    }
}
