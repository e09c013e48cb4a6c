//! What becomes of a range whose spans can't be stored. They are stored before the ledger, under the range's token, so that
//! what is kept has its trace; but no count is made of them, and no event waits long for a trace. So where the table of spans
//! fails and the others take the range, it is tried for a while, then the range goes on without: its spans are counted as
//! lost, and the log says so once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use warehouse::{Block, WarehouseError};

use crate::failure::{Class, Failure};
use crate::insert::Insertion;
use crate::traces::row::TABLE;

/// Part of an insert's time limit that a range may be held up by its spans alone: 15 s by default, longer than a broken
/// connection or an engine's restart takes, and far below the two minutes after which a collector is said to stand still.
const HELD: u32 = 4;
/// The same, once a range had to go on without, and the least that any insert gets: 6 s, enough for the spans of a large range,
/// so that it is seen when the table is back.
const HELD_AGAIN: u32 = 10;

/// What is known of the tries of a range before this one.
#[derive(Debug)]
pub(crate) struct Tried {
    /// Something of it may be stored already, by an earlier try or another collector.
    pub(crate) begun: bool,
    /// When its spans were first tried.
    pub(crate) spans: Option<Instant>,
}

/// What the table of spans said; `None` where there was nothing to store.
pub(crate) type Inserted = Option<Result<(), WarehouseError>>;

impl Insertion<'_> {
    /// Tries to store spans. An error is the range's own: it is another's, or must not go on.
    pub(crate) async fn insert_spans(&self, spans: &Block, tried: &mut Tried) -> Result<Inserted, Failure> {
        if spans.rows() == 0 {
            return Ok(None);
        }
        self.hold().await?;
        let since = *tried.spans.get_or_insert_with(Instant::now);
        let rest = self.patience().saturating_sub(since.elapsed()).max(self.limit() / HELD_AGAIN);
        let token = self.range.token();
        let inserted = tokio::time::timeout(rest, self.send(TABLE, spans, &token)).await;
        Ok(Some(inserted.unwrap_or(Err(WarehouseError::TimedOut))))
    }

    /// Whether the spans are stored, now that all other tables have the range: `false` is to go on without. An error is to try
    /// the range again.
    pub(crate) fn spans_are_stored(&self, inserted: Inserted, tried: &Tried) -> Result<bool, Failure> {
        let Some(inserted) = inserted else { return Ok(true) };
        let Err(error) = inserted else {
            self.store.spans_fail.store(false, Ordering::Relaxed);
            return Ok(true);
        };
        let class = Class::of(&error);
        let waited = tried.spans.map_or(Duration::ZERO, |since| since.elapsed());
        if class == Class::Retry && waited < self.patience() {
            return Err(error.into());
        }
        self.store.metrics.failed("spans", class);
        if !self.store.spans_fail.swap(true, Ordering::Relaxed) {
            let error = &Failure::from(error) as &dyn std::error::Error;
            tracing::error!(error, "spans of kept events are not stored until this is mended; events are");
        }
        Ok(false)
    }

    fn patience(&self) -> Duration {
        self.limit() / if self.store.spans_fail.load(Ordering::Relaxed) { HELD_AGAIN } else { HELD }
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.store.warehouse.config().insert_ms_max)
    }
}
