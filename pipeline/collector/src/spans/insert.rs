//! What becomes of a range whose spans can't be stored. They are stored before the ledger, under the range's token, so that
//! what is kept has its trace; but no count is made of them, and no event waits long for a trace. So where the table of spans
//! fails and ClickHouse does not, it is tried for a while, then the range goes on without: its spans are counted as lost, and
//! the log says so once. From then on a range tries it from time to time, and all others go on at once.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use warehouse::{Block, WarehouseError};

use crate::backoff::Backoff;
use crate::failure::{Class, Failure};
use crate::insert::Insertion;
use crate::traces::row::TABLE;

/// Part of an insert's time limit that a range may be held up by its spans alone: 15 s by default, longer than a broken
/// connection takes, and far below the two minutes after which a collector is said to stand still.
const HELD: u32 = 4;
/// The same for a range that tries it while it is known to fail, and the least that any try gets: 6 s, enough for the spans of a
/// large range.
const PROBE: u32 = 10;
/// Part of an insert's time limit from one such try to the next: 30 s by default. Spans are stored again within half a minute,
/// and the partitions that are held up meanwhile are few.
const PROBE_EVERY: u32 = 2;

/// What the table of spans said in the end; `None` where it was not asked.
pub(crate) type Inserted = Option<Result<(), WarehouseError>>;

impl Insertion<'_> {
    /// Tries to store spans. An error is not theirs: the range is another's, or must not go on, or ClickHouse is away as a whole.
    pub(crate) async fn insert_spans(&self, spans: &Block) -> Result<Inserted, Failure> {
        let Some(held) = self.patience(spans) else { return Ok(None) };
        let (mut begun, mut backoff, token) = (None, Backoff::default(), self.range.token());
        loop {
            self.hold().await?;
            let since = *begun.get_or_insert_with(Instant::now);
            let rest = held.saturating_sub(since.elapsed());
            let inserted = tokio::time::timeout(rest, self.send(TABLE, spans, &token)).await;
            let Err(error) = inserted.unwrap_or(Err(WarehouseError::TimedOut)) else {
                return Ok(Some(Ok(())));
            };
            let class = Class::of(&error);
            self.store.metrics.failed("spans", class);
            let wait = backoff.next();
            let in_time = since.elapsed() + wait + self.limit() / PROBE <= held;
            if class == Class::Retry && in_time && self.next_probe().is_none() {
                tokio::time::sleep(wait).await;
                continue;
            }
            if class == Class::Retry {
                // Is it this table alone? Whoever does not answer this either is waited for.
                self.is_in_ledger().await?;
            }
            return Ok(Some(Err(error)));
        }
    }

    /// Whether the spans are stored, now that all other tables have the range, which goes on in any case.
    pub(crate) fn spans_are_stored(&self, inserted: Inserted) -> bool {
        let Some(inserted) = inserted else { return false };
        let probe = Instant::now() + self.limit() / PROBE_EVERY;
        let news = std::mem::replace(&mut *self.next_probe(), inserted.is_err().then_some(probe)).is_none();
        let Err(error) = inserted else { return true };
        if news {
            let error = &Failure::from(error) as &dyn std::error::Error;
            tracing::error!(error, "spans of kept events are not stored until this is mended; events are");
        }
        false
    }

    /// How long the range may wait for its spans; `None` where it is not to try at all: there are none, or they fail and this is
    /// not the time to look again.
    fn patience(&self, spans: &Block) -> Option<Duration> {
        if spans.rows() == 0 {
            return None;
        }
        let mut next = self.next_probe();
        let Some(at) = *next else { return Some(self.limit() / HELD) };
        let now = Instant::now();
        if now < at {
            return None;
        }
        // One range is enough.
        *next = Some(now + self.limit() / PROBE_EVERY);
        Some(self.limit() / PROBE)
    }

    /// Holds nothing that a panic could leave half done.
    fn next_probe(&self) -> MutexGuard<'_, Option<Instant>> {
        self.store.spans_fail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.store.warehouse.config().insert_ms_max)
    }
}
