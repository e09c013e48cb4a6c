//! Where ranges go, and what is said and waited for after a failure. What follows from one is decided in
//! [`crate::failure`].

use std::sync::{Arc, Mutex};
use std::time::Instant;

use warehouse::{Warehouse, WarehouseError, schema_check};

use crate::backoff::Backoff;
use crate::failure::{Class, Failure};
use crate::health::Who;
use crate::{CollectorMetrics, EventSpans};

/// ClickHouse, and who is told about it. Clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) warehouse: Warehouse,
    pub(crate) metrics: CollectorMetrics,
    /// While the table of spans fails: when a range is to try it again.
    pub(crate) spans_fail: Arc<Mutex<Option<Instant>>>,
    /// Where spans of kept events go as well.
    pub(crate) event_spans: EventSpans,
}

impl Store {
    /// After a failure: says what there is to say, and waits.
    pub(crate) async fn wait(&self, who: Who, failure: &Failure, backoff: &mut Backoff) {
        let mut class = failure.class();
        if class == Class::RefreshSchema
            && matches!(schema_check(&self.warehouse).await, Err(WarehouseError::Schema(_)))
        {
            class = Class::Fatal;
        }
        self.metrics.failed(failure.step(), class);
        let wait = backoff.next();
        match class {
            Class::Retry | Class::RefreshSchema | Class::Lost => {
                tracing::warn!(
                    %who,
                    error = failure as &dyn std::error::Error,
                    ?wait,
                    "a range was not stored; trying again"
                );
            }
            // A refused row elsewhere than in `requests` is no event's fault.
            Class::Fatal | Class::Poison => {
                if self.metrics.gate(who, Some(failure.chain())) {
                    tracing::error!(
                        %who,
                        error = failure as &dyn std::error::Error,
                        "nothing can be stored until this is mended; nothing is lost"
                    );
                }
            }
        }
        tokio::time::sleep(wait).await;
    }
}
