//! Stores a range: builds its blocks and inserts each under the range's token, the ledger last. Tries again for as long
//! as it takes. Commits nothing: what has to be written down first is handed back.
//!
//! `requests` goes first, since only there ClickHouse can refuse a row that one event is to blame for: it is found by
//! halves, and becomes a dead letter before anything has counted it.

use std::ops::Range as Rows;
use std::sync::Arc;
use std::time::Instant;

use warehouse::{Block, Warehouse, WarehouseError, queries, schema_check};

use crate::CollectorMetrics;
use crate::backoff::Backoff;
use crate::batch::{Batch, build};
use crate::failure::Class;
use crate::health::Who;
use crate::intent::{Intent, Place, REFUSED_MAX};
use crate::range::Range;

const REQUESTS: &str = "requests";
const LEDGER: &str = "ingest_ledger";

/// How far a range got.
#[derive(Debug)]
pub(crate) enum Stored {
    /// It is in ClickHouse, once; with what it added up to, or `None` where an earlier life had stored all of it.
    Done(Option<Box<Batch>>),
    /// This has to be written down before it can go on.
    Amend(Intent),
}

/// Stores ranges. Clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) warehouse: Warehouse,
    pub(crate) metrics: CollectorMetrics,
}

/// A row can't be stored: ClickHouse's words.
struct Refused(String);

impl Store {
    /// Stores a range, or finds out what has to be written down first. Ends only then.
    pub(crate) async fn store(&self, range: &Range) -> Stored {
        let mut backoff = Backoff::default();
        let mut is_new = range.replay;
        loop {
            let attempt = async {
                if !is_new {
                    self.refuse_repeated_offsets(range).await?;
                    is_new = true;
                }
                self.attempt(range).await
            };
            match attempt.await {
                Ok(stored) => {
                    self.metrics.gate(Who::Partition(range.partition), None);
                    return stored;
                }
                Err(error) => self.wait(Who::Partition(range.partition), &error, &mut backoff).await,
            }
        }
    }

    /// A log that was replaced gives offsets out again, and ClickHouse would take their tokens for repetitions and drop
    /// what is new. So a range that no intent announces must not be in the ledger before it is stored.
    async fn refuse_repeated_offsets(&self, range: &Range) -> Result<(), WarehouseError> {
        let parameters = [("topic", &*range.topic), ("partition", &range.partition.to_string())];
        let last: Vec<u64> = self.warehouse.rows(queries::LEDGER_REACHES, &parameters).await?;
        if last.first().is_none_or(|last| *last < range.first) {
            return Ok(());
        }
        Err(WarehouseError::Schema(format!(
            "the ledger has offsets of partition {} from {} on, which the event log now gives out again: the log was \
             replaced; start it with a new ClickHouse database, or put the old log back",
            range.partition, range.first
        )))
    }

    async fn attempt(&self, range: &Range) -> Result<Stored, WarehouseError> {
        if range.replay && self.is_in_ledger(range).await? {
            return Ok(Stored::Done(None));
        }
        let mut batch = self.build(range, &[]).await?;
        let token = range.token();
        match (&range.intent.bisect, &range.intent.refused) {
            (false, _) => {
                if let Err(Refused(_)) = self.insert_requests(&batch.requests, &token).await? {
                    // If it is the table that is wrong, no row is to blame.
                    schema_check(&self.warehouse).await?;
                    return Ok(Stored::Amend(Intent { bisect: true, ..range.intent.clone() }));
                }
            }
            (true, None) => {
                let refused = self.bisect(&batch, &token, None).await?;
                return Ok(Stored::Amend(Intent { refused: Some(refused), ..range.intent.clone() }));
            }
            (true, Some(refused)) => {
                self.bisect(&batch, &token, Some(refused)).await?;
                // Nothing has counted the refused events yet: count again, without them.
                let kept = batch.ledger.kept - refused.len() as u64;
                batch = self.build(range, refused).await?;
                batch.ledger.kept = kept;
            }
        }
        let others = batch.others.iter().map(|(table, block)| self.insert(table, block, &token));
        for inserted in join_all(others).await {
            inserted?;
        }
        let ledger =
            batch.ledger.block(range).map_err(|source| WarehouseError::Block { table: LEDGER, source })?;
        self.insert(LEDGER, &ledger, &token).await?;
        Ok(Stored::Done(Some(Box::new(batch))))
    }

    /// On a thread of its own: it keeps a core busy for a while.
    async fn build(&self, range: &Range, refused: &[Place]) -> Result<Batch, WarehouseError> {
        let (range, refused) = (range.clone(), refused.to_vec());
        let built = tokio::task::spawn_blocking(move || build(&range, &refused)).await;
        match built {
            Ok(built) => built.map_err(|source| WarehouseError::Block { table: REQUESTS, source }),
            // It does not panic; if it did, it would for every collector that comes to this range.
            Err(join) => Err(WarehouseError::Schema(format!("a range can't be built: {join}"))),
        }
    }

    async fn is_in_ledger(&self, range: &Range) -> Result<bool, WarehouseError> {
        let parameters = [
            ("topic", &*range.topic),
            ("partition", &range.partition.to_string()),
            ("first", &range.first.to_string()),
            ("last", &range.intent.last.to_string()),
        ];
        let ranges: Vec<u64> = self.warehouse.rows(queries::LEDGER_HAS_RANGE, &parameters).await?;
        Ok(ranges.first().is_some_and(|ranges| *ranges > 0))
    }

    async fn insert(&self, table: &'static str, block: &Block, token: &str) -> Result<(), WarehouseError> {
        let begun = Instant::now();
        let bytes = self.warehouse.insert(table, block, token).await?;
        if block.rows() > 0 {
            self.metrics.inserted(table, block.rows(), bytes, begun.elapsed());
        }
        Ok(())
    }

    async fn insert_requests(
        &self,
        block: &Block,
        token: &str,
    ) -> Result<Result<(), Refused>, WarehouseError> {
        match self.insert(REQUESTS, block, token).await {
            Ok(()) => Ok(Ok(())),
            Err(error) if Class::of(&error) == Class::Poison => {
                self.metrics.failed(Class::Poison);
                Ok(Err(Refused(error.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    /// Inserts the rows that can be stored and returns the places of those that can't, sorted. Each part has a token of
    /// its own. The whole is always halved, whatever is known, so that the parts are the same in every life.
    async fn bisect(
        &self,
        batch: &Batch,
        token: &str,
        known: Option<&[Place]>,
    ) -> Result<Vec<Place>, WarehouseError> {
        let all = 0..batch.requests.rows();
        let mut refused = Vec::new();
        let mut parts = if all.len() > 1 { halves(&all) } else { vec![all] };
        while let Some(part) = parts.pop() {
            let places = &batch.places[part.clone()];
            let is_known = known.map(|known| places.iter().any(|place| known.binary_search(place).is_ok()));
            let outcome = if is_known == Some(true) {
                Err(Refused(String::new()))
            } else {
                let part_token = format!("{token}/rows:{}-{}", part.start, part.end);
                self.insert_requests(&batch.requests.slice(part.clone()), &part_token).await?
            };
            match outcome {
                Ok(()) => (),
                Err(Refused(_)) if part.len() > 1 => parts.extend(halves(&part)),
                Err(Refused(why)) => {
                    refused.extend_from_slice(places);
                    if refused.len() > REFUSED_MAX {
                        return Err(WarehouseError::Schema(format!(
                            "more than {REFUSED_MAX} rows refused: {why}"
                        )));
                    }
                }
            }
        }
        refused.sort_unstable();
        Ok(refused)
    }

    /// After a failure: says what there is to say, and waits.
    pub(crate) async fn wait(&self, who: Who, error: &WarehouseError, backoff: &mut Backoff) {
        let mut class = Class::of(error);
        if class == Class::RefreshSchema
            && matches!(schema_check(&self.warehouse).await, Err(WarehouseError::Schema(_)))
        {
            class = Class::Fatal;
        }
        self.metrics.failed(class);
        let wait = backoff.next();
        match class {
            Class::Retry | Class::RefreshSchema => {
                tracing::warn!(
                    ?who,
                    error = error as &dyn std::error::Error,
                    ?wait,
                    "ClickHouse did not take a range; trying again"
                );
            }
            // A refused row elsewhere than in `requests` is no event's fault.
            Class::Fatal | Class::Poison => {
                if self.metrics.gate(who, Some(error.to_string())) {
                    tracing::error!(
                        ?who,
                        error = error as &dyn std::error::Error,
                        "nothing can be stored until this is mended; nothing is lost"
                    );
                }
            }
        }
        tokio::time::sleep(wait).await;
    }
}

fn halves(rows: &Rows<usize>) -> Vec<Rows<usize>> {
    let middle = rows.start + rows.len() / 2;
    vec![middle..rows.end, rows.start..middle]
}

/// All of them at once; ClickHouse works on different tables side by side.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    futures_util::future::join_all(futures).await
}

/// Makes the policy known, so that another collector can repeat a range that was begun under it.
pub(crate) async fn publish(store: &Store, policy: &crate::Policy) -> Result<(), WarehouseError> {
    let block = crate::batch::policy_block(policy.version(), policy.text())
        .map_err(|source| WarehouseError::Block { table: "sampling_policies", source })?;
    store.warehouse.insert("sampling_policies", &block, &format!("policy:{}", policy.version())).await?;
    Ok(())
}

/// The policy of that version, as it was published.
pub(crate) async fn published(store: &Store, version: &str) -> Result<Option<Arc<str>>, WarehouseError> {
    const SQL: &str = "SELECT text FROM sampling_policies WHERE version = {version:String} LIMIT 1";
    let texts: Vec<String> = store.warehouse.rows(SQL, &[("version", version)]).await?;
    Ok(texts.into_iter().next().map(Into::into))
}
