//! Stores what waits, one insert at a time, each until it is stored: under a token that is made of the payloads, so that a
//! repetition is dropped. What ClickHouse will never take is refused, one export alone where several were sent together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use warehouse::{Warehouse, WarehouseError};

use super::metrics::TraceMetrics;
use super::queue::{Export, Fate, Queue};
use super::row::{self, TABLE};
use crate::backoff::Backoff;
use crate::failure::{Class, Failure};

/// What inserts need.
pub(super) struct Inserter {
    pub(super) queue: Arc<Queue>,
    pub(super) warehouse: Warehouse,
    pub(super) flush_after: Duration,
    pub(super) metrics: TraceMetrics,
}

impl Inserter {
    /// Stores for ever.
    pub(super) async fn work(self) {
        loop {
            let exports = self.queue.next(self.flush_after).await;
            let Err((exports, words)) = self.store(exports).await else { continue };
            if exports.len() == 1 {
                self.refuse(exports, words);
                continue;
            }
            for export in exports {
                if let Err((alone, words)) = self.store(vec![export]).await {
                    self.refuse(alone, words);
                }
            }
        }
    }

    /// Tries until they are stored, or ClickHouse refuses what is in them: then they come back, with its words.
    async fn store(&self, exports: Vec<Export>) -> Result<(), (Vec<Export>, String)> {
        let spans = exports.iter().flat_map(|export| &export.spans);
        let stored = spans.clone().count() as u64;
        let block = match row::block(spans) {
            Ok(block) => block,
            Err(source) => return Err((exports, source.to_string())),
        };
        let (token, mut backoff) = (token(&exports), Backoff::default());
        loop {
            let sent = Instant::now();
            let failure = match self.warehouse.insert(TABLE, &block, &token).await {
                Ok(_) => {
                    self.metrics.inserted(sent.elapsed());
                    self.metrics.stored.inc_by(stored);
                    self.queue.finish(exports, &Fate::Stored);
                    return Ok(());
                }
                Err(error) => error,
            };
            let class = Class::of(&failure);
            self.metrics.failed(class);
            if class == Class::Poison {
                return Err((exports, Failure::from(failure).chain()));
            }
            let wait = backoff.next();
            self.say(failure, class, wait);
            tokio::time::sleep(wait).await;
        }
    }

    /// The exporters are told to try again meanwhile, and keep their spans.
    fn say(&self, failure: WarehouseError, class: Class, wait: Duration) {
        self.queue.failed(wait);
        let error = Failure::from(failure);
        let error = &error as &dyn std::error::Error;
        if class == Class::Fatal {
            tracing::error!(
                error,
                ?wait,
                "no spans can be stored until this is mended; exporters are told to try again"
            );
        } else {
            tracing::warn!(error, ?wait, "spans were not stored; trying again");
        }
    }

    fn refuse(&self, exports: Vec<Export>, words: String) {
        let spans: usize = exports.iter().map(|export| export.spans.len()).sum();
        tracing::error!(spans, error = words, "ClickHouse refuses spans; they are not stored");
        self.metrics.rejected("refused", spans as u64);
        self.queue.finish(exports, &Fate::Refused(words));
    }
}

/// The same for the same exports in the same order. Of one export it is that of its payload, whoever receives it.
fn token(exports: &[Export]) -> String {
    let hash = match exports {
        [one] => row::hex(&one.hash),
        several => {
            let mut hasher = blake3::Hasher::new();
            several.iter().for_each(|export| {
                hasher.update(&export.hash);
            });
            hasher.finalize().to_hex().to_string()
        }
    };
    format!("traces:{hash}")
}
