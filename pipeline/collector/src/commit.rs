//! The protocol of one range, in a task of its own: its intent is committed, its rows are inserted, its dead letters sent
//! to their topic, its end committed. Each step is tried for as long as it takes; the task may be aborted anywhere, and
//! whoever has the partition next goes on from what is committed.

use std::sync::Arc;

use event_log::CommitError;

use crate::backoff::Backoff;
use crate::batch::Batch;
use crate::dead_letter_topic::DeadLetterTopic;
use crate::failure::{Class, Failure};
use crate::health::Who;
use crate::insert::{Insertion, Stored};
use crate::lease::Lease;
use crate::range::Range;
use crate::range_span::{self, step, within};
use crate::start::published;
use crate::store::Store;
use crate::time::now_us;

/// A range on its way.
pub(crate) struct RangeTask {
    pub(crate) range: Range,
    pub(crate) store: Store,
    pub(crate) lease: Lease,
    pub(crate) dead_letters: Option<DeadLetterTopic>,
    pub(crate) forgets_after: u64,
}

/// How a range ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Stored and committed; the next one begins there.
    Stored { next: u64 },
    /// The partition is another's by now, who finishes it.
    Lost,
}

/// What comes next.
enum Step {
    /// Find the policy that it was begun under.
    Policy,
    /// Commit the intent as it is now, and insert.
    /// `begun`: something of it may be stored already, by an earlier try or another collector.
    Insert {
        begun: bool,
    },
    /// Send the dead letters from this one on.
    DeadLetters {
        batch: Arc<Batch>,
        sent: usize,
    },
    /// Commit the end.
    End {
        batch: Arc<Batch>,
    },
    Done,
}

impl RangeTask {
    /// Does all of it.
    pub(crate) async fn run(mut self) -> Ended {
        let who = Who::Partition(self.range.partition);
        let (mut step, mut backoff) = (Step::Policy, Backoff::default());
        loop {
            match self.advance(&mut step).await {
                Ok(()) => {
                    backoff = Backoff::default();
                    self.store.metrics.gate(who, None);
                    if matches!(step, Step::Done) {
                        return Ended::Stored { next: self.next() };
                    }
                }
                Err(failure) if failure.class() == Class::Lost => {
                    tracing::warn!(%who, range = self.range.token(), "a range is another collector's by now");
                    self.store.metrics.failed(failure.step(), Class::Lost);
                    return Ended::Lost;
                }
                Err(failure) => self.store.wait(who, &failure, &mut backoff).await,
            }
        }
    }

    /// One step further; where it fails, what was reached stays.
    async fn advance(&mut self, next: &mut Step) -> Result<(), Failure> {
        match next {
            Step::Policy => {
                if self.range.intent.policy != self.range.policy.version() {
                    let policy = published(&self.store, &self.range.intent.policy);
                    self.range.policy = within(step("policy"), policy).await?;
                }
                *next = Step::Insert { begun: self.range.replay };
            }
            Step::Insert { begun } => {
                // Before every try: a range that was lost meanwhile is not touched.
                within(step("intent"), self.lease.renew(&self.range.intent)).await?;
                let insertion = Insertion {
                    store: &self.store,
                    range: &self.range,
                    lease: &self.lease,
                    forgets_after: self.forgets_after,
                };
                match insertion.attempt(begun).await? {
                    Stored::Amend(intent) => self.range.intent = intent,
                    Stored::Done(mut batch) => {
                        self.store.event_spans.offer(std::mem::take(&mut batch.exported));
                        *next = Step::DeadLetters { batch: batch.into(), sent: 0 };
                    }
                }
            }
            Step::DeadLetters { batch, sent } => {
                if let Some(topic) = &self.dead_letters {
                    within(step("dead letters"), topic.send(&self.range, &batch.letters, sent)).await?;
                }
                *next = Step::End { batch: Arc::clone(batch) };
            }
            Step::End { batch } => {
                within(step("commit"), self.end()).await?;
                range_span::stored(batch.ledger.seen.events, batch.ledger.kept);
                self.store.metrics.committed(batch, self.range.replay, now_us());
                *next = Step::Done;
            }
            Step::Done => (),
        }
        Ok(())
    }

    async fn end(&self) -> Result<(), CommitError> {
        self.lease.end(self.next()).await
    }

    fn next(&self) -> u64 {
        self.range.intent.last + 1
    }
}
