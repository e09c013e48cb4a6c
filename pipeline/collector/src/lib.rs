#![doc = include_str!("../README.md")]

mod assignment;
mod backoff;
mod batch;
mod bisect;
mod commit;
mod config;
mod consume;
mod dead_letter;
mod dead_letter_topic;
mod decode;
mod error;
mod failure;
mod freshness;
mod guard;
mod health;
mod histogram;
mod hold_back;
mod insert;
mod intent;
mod lease;
mod metrics;
mod partition;
mod policy;
mod range;
mod range_span;
mod requests;
mod rollup;
mod sample;
mod sequences;
mod spans;
mod start;
mod store;
mod symbols;
mod time;
mod traces;
mod visits;

use std::sync::Arc;

use event_log::{Consumer, Producer};
use tokio_util::sync::CancellationToken;
use warehouse::Warehouse;

pub use config::CollectorConfig;
pub use error::CollectorError;
pub use health::Health;
pub use metrics::CollectorMetrics;
pub use policy::Policy;
pub use range_span::RANGE_SPANS;
pub use traces::{
    EventSpans, ExportConfig, Exporting, Process, Protocol, SpanExport, TraceMetrics, TracesConfig,
    spawn as receive_traces,
};

/// Moves events from the log into ClickHouse until `shutdown` is cancelled. The configuration should have passed
/// [`CollectorConfig::check`]; the tables are expected to be there ([`warehouse::migrate`]), and waited for. Only then is
/// the group joined by `join`: a member that can't store must not be given partitions that another could. Dead letters go to `dead_letters` as well as into their table, if there is such a producer ([`event_log::EventLog::dead_letters`]).
/// Spans of what was stored go to `event_spans` as well, and nothing is waited for there.
///
/// # Errors
/// See [`CollectorError`]. Nothing is lost: what was not committed is read again.
pub async fn run(
    config: CollectorConfig,
    join: impl Future<Output = Box<dyn Consumer>> + Send,
    dead_letters: Option<Arc<dyn Producer>>,
    warehouse: Warehouse,
    metrics: CollectorMetrics,
    event_spans: EventSpans,
    shutdown: CancellationToken,
) -> Result<(), CollectorError> {
    let policy = Arc::new(Policy::load(config.policy_file.as_deref())?);
    let store = store::Store { warehouse, metrics, spans_fail: Arc::default(), event_spans };
    if !start::open_gate(&store, &policy, &shutdown).await {
        return Ok(());
    }
    let consumer = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        consumer = join => consumer,
    };
    let dead_letters = dead_letters.map(dead_letter_topic::DeadLetterTopic);
    let held = consume::Held::default();
    consume::Run { config, consumer, store, policy, dead_letters, shutdown, held }.work().await
}

/// What it costs to build a range, for `examples/range_cost.rs` and benchmarks; no part of the product.
#[doc(hidden)]
pub mod cost {
    use std::sync::Arc;

    use event_log::Record;

    use crate::Policy;

    /// How a range is built.
    #[derive(Debug, Clone)]
    pub struct Setup {
        /// Under which policy.
        pub policy: Arc<Policy>,
        /// Whether kept events get spans.
        pub spans: bool,
    }

    /// Decodes, counts, samples and encodes messages as one range. Returns the events seen, the rows kept and the bytes to
    /// insert.
    ///
    /// # Errors
    /// As for [`crate::run`].
    pub fn build(
        records: Vec<Record>,
        now_us: i64,
        Setup { policy, spans }: Setup,
    ) -> Result<(u64, u64, usize), crate::CollectorError> {
        let last = records.last().map_or(0, |record| record.offset);
        let intent = crate::intent::Intent::new(last, policy.version().to_owned(), now_us, true);
        let range = crate::range::Range {
            system: "kafka",
            topic: Arc::from("cost"),
            partition: 0,
            first: records.first().map_or(0, |record| record.offset),
            records: records.into(),
            intent: crate::intent::Intent { spans, ..intent },
            policy,
            replay: false,
        };
        let refuse = |error: warehouse::UnevenColumns| crate::CollectorError::Policy(vec![error.to_string()]);
        let batch = crate::batch::build(&range, &[], 0).map_err(refuse)?;
        let blocks = batch.others.iter().map(|(_, block)| block).chain([&batch.requests, &batch.spans]);
        let bytes = blocks.map(|block| block.encode().len()).sum();
        Ok((batch.ledger.seen.events, batch.ledger.kept, bytes))
    }
}
