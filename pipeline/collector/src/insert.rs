//! Stores a range: builds its blocks and inserts each under the range's token, the ledger last. Commits nothing but the
//! proof that the range is still ours: what has to be written down first is handed back. Waits for nothing.
//!
//! `requests` goes first, since only there ClickHouse can refuse a row that one event is to blame for: it is found by
//! halves, and becomes a dead letter before anything has counted it.

use std::time::Instant;

use futures_util::future::{join_all, try_join};
use tracing::Instrument as _;
use warehouse::{Block, WarehouseError, schema_check};

use crate::batch::{Batch, build};
use crate::failure::{Class, Failure};
use crate::intent::{Intent, Place};
use crate::lease::Lease;
use crate::range::Range;
use crate::range_span::{self, step};
use crate::store::Store;

pub(crate) const REQUESTS: &str = "requests";
const LEDGER: &str = "ingest_ledger";

/// How far a range got.
#[derive(Debug)]
pub(crate) enum Stored {
    /// It is in ClickHouse, once; with what it adds up to.
    Done(Box<Batch>),
    /// This has to be written down before it can go on.
    Amend(Intent),
}

/// A row can't be stored: ClickHouse's words.
pub(crate) struct Refused(pub(crate) String);

/// One try to store a range.
pub(crate) struct Insertion<'a> {
    pub(crate) store: &'a Store,
    pub(crate) range: &'a Range,
    pub(crate) lease: &'a Lease,
    /// So many ranges on the ledger since this one was begun, and its tokens may be forgotten.
    pub(crate) forgets_after: u64,
}

impl Insertion<'_> {
    /// Stores the range, or finds out what has to be written down first. `begun`: whether something of it may be stored already,
    /// which it may be from now on.
    pub(crate) async fn attempt(&self, begun: &mut bool) -> Result<Stored, Failure> {
        let intent = &self.range.intent;
        let refused = intent.refused.as_deref().unwrap_or_default();
        if !*begun {
            self.refuse_repeated_offsets().await?;
            *begun = true;
        } else if self.is_in_ledger().await? {
            let whole = self.build(&[]).await?;
            return Ok(Stored::Done(Box::new(self.without(whole, refused).await?)));
        } else {
            self.refuse_forgotten().await?;
        }
        let mut batch = self.build(&[]).await?;
        match (intent.bisect, &intent.refused) {
            (false, _) => {
                if let Err(Refused(_)) = self.insert_requests(&batch.requests, &self.range.token()).await? {
                    // If it is the table that is wrong, no row is to blame.
                    schema_check(&self.store.warehouse).await?;
                    return Ok(Stored::Amend(Intent { bisect: true, ..intent.clone() }));
                }
            }
            (true, None) => {
                let refused = self.bisect(&batch, None).await?;
                return Ok(Stored::Amend(Intent { refused: Some(refused), ..intent.clone() }));
            }
            (true, Some(refused)) => {
                self.bisect(&batch, Some(refused)).await?;
                batch = self.without(batch, refused).await?;
            }
        }
        self.insert_others(&mut batch).await?;
        Ok(Stored::Done(Box::new(batch)))
    }

    async fn insert_others(&self, batch: &mut Batch) -> Result<(), Failure> {
        let token = self.range.token();
        let others = batch.others.iter().map(|(table, block)| self.insert(table, block, &token));
        let others = async { join_all(others).await.into_iter().collect::<Result<(), _>>() };
        // All of them at once: ClickHouse works on different tables side by side. If another one fails, spans are not waited for.
        let ((), spans) = try_join(others, self.insert_spans(&batch.spans)).await?;
        batch.spans_stored = Some(self.spans_are_stored(spans));
        let uneven = |source| WarehouseError::Block { table: LEDGER, source };
        let ledger = batch.ledger.block(self.range).map_err(uneven)?;
        self.insert(LEDGER, &ledger, &token).await
    }

    /// Nothing has counted the refused events yet: counts again, without them.
    async fn without(&self, whole: Batch, refused: &[Place]) -> Result<Batch, Failure> {
        if refused.is_empty() {
            return Ok(whole);
        }
        let kept = whole.ledger.kept - refused.len() as u64;
        let mut batch = self.build(refused).await?;
        batch.ledger.kept = kept;
        // What is kept was decided before, with them, and so it is in their spans, which know of the refused ones by the intent.
        batch.spans = whole.spans;
        batch.spans_omitted = whole.spans_omitted;
        batch.exported = whole.exported;
        Ok(batch)
    }

    /// On a thread of its own: it keeps a core busy for a while.
    async fn build(&self, refused: &[Place]) -> Result<Batch, Failure> {
        let (range, refused) = (self.range.clone(), refused.to_vec());
        let exported_max = self.store.event_spans.room();
        let built = tokio::task::spawn_blocking(move || build(&range, &refused, exported_max));
        match built.instrument(step("build")).await {
            Ok(built) => Ok(built.map_err(|source| WarehouseError::Block { table: REQUESTS, source })?),
            // It does not panic; if it did, it would for every collector that comes to this range.
            Err(join) => Err(Failure::Refused(format!("a range can't be built: {join}"))),
        }
    }

    async fn insert(&self, table: &'static str, block: &Block, token: &str) -> Result<(), Failure> {
        if block.rows() == 0 {
            return Ok(());
        }
        self.hold().await?;
        Ok(self.send(table, block, token).await?)
    }

    /// The range is still ours, and ClickHouse still knows what it has of it.
    pub(crate) async fn hold(&self) -> Result<(), Failure> {
        if self.lease.hold(&self.range.intent).await? {
            // A long try, such as a search by halves: the others may have stored many ranges since it began.
            self.refuse_forgotten().await?;
        }
        Ok(())
    }

    pub(crate) async fn send(
        &self,
        table: &'static str,
        block: &Block,
        token: &str,
    ) -> Result<(), WarehouseError> {
        let (sent, span) = (Instant::now(), range_span::insert(table, block.rows()));
        let inserted = self.store.warehouse.insert(table, block, token).instrument(span.clone()).await;
        let bytes = inserted.inspect_err(|error| range_span::failed(&span, Class::of(error)))?;
        self.store.metrics.inserted(table, block.rows(), bytes, sent.elapsed());
        Ok(())
    }

    pub(crate) async fn insert_requests(
        &self,
        block: &Block,
        token: &str,
    ) -> Result<Result<(), Refused>, Failure> {
        match self.insert(REQUESTS, block, token).await {
            Ok(()) => Ok(Ok(())),
            Err(failure) if failure.class() == Class::Poison => {
                self.store.metrics.failed(failure.step(), Class::Poison);
                Ok(Err(Refused(failure.chain())))
            }
            Err(failure) => Err(failure),
        }
    }
}
