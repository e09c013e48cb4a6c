//! Takes one export, however it came: reads it, puts its spans into the queue and waits until they are stored. What comes of it
//! is said as OTLP asks, so that an exporter sends again what was not taken, and nothing else. No HTTP, no gRPC.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::TracesConfig;
use super::decode::decode;
use super::metrics::TraceMetrics;
use super::queue::{Fate, Hash, Queue};
use super::weight::{self, Unweighed};
use crate::time::now_us;

/// Exports that are read at the same time. Each holds its body twice at most, compressed and not: 16 of them and 4 MiB are
/// 128 MiB if all are as large as may be. Beside them one at a time is there as messages: what is between its reading and its
/// rows waits for nothing, and there is one thread.
const READING_MAX: usize = 16;

/// After a refusal that may pass at any moment.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf,
    Json,
}

/// Why an export is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this is no export of spans: {0}")]
    Malformed(String),
    #[error("the export is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the spans take more than {0} bytes as rows, each with its resource: send fewer at once")]
    RowsTooLarge(usize),
    #[error("the export takes more than {0} bytes as messages in memory: send fewer at once")]
    MessagesTooLarge(usize),
    #[error("the body did not come in time")]
    TooSlow,
    #[error("{0}")]
    Unsupported(String),
    #[error("the spans can't be stored: {0}")]
    Refused(String),
    #[error("too many exports at once")]
    Busy,
    #[error("the queue of spans is full")]
    Full,
    #[error("spans can't be stored right now")]
    Away(Duration),
    #[error("the spans were not stored in time")]
    Late,
}

impl Refusal {
    /// When to send it again; `None`: never.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy | Self::Full | Self::Late => Some(RETRY_SOON),
            Self::Away(wait) => Some((*wait).max(RETRY_SOON)),
            _ => None,
        }
    }
}

/// What all exports have in common.
pub(super) struct Receiver {
    pub(super) config: TracesConfig,
    pub(super) queue: Arc<Queue>,
    pub(super) metrics: TraceMetrics,
    reading: Arc<Semaphore>,
}

impl Receiver {
    pub(super) fn new(config: TracesConfig, queue: Arc<Queue>, metrics: TraceMetrics) -> Self {
        Self { config, queue, metrics, reading: Arc::new(Semaphore::new(READING_MAX)) }
    }

    /// A place to read an export's body; not given where it would be read for nothing.
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Some(wait) = self.queue.away_for() {
            return Err(Refusal::Away(wait));
        }
        Arc::clone(&self.reading).try_acquire_owned().map_err(|_| Refusal::Busy)
    }

    /// Stores an export, once. Answered when its rows are stored: what an exporter has been told is taken outlives this process.
    pub(super) async fn export(
        &self,
        format: Format,
        body: Bytes,
    ) -> Result<ExportTraceServiceResponse, Refusal> {
        let request = read(format, &body, self.config.messages_bytes_max())?;
        let bytes_max = self.config.export_bytes_max();
        let decoded = decode(request, now_us().saturating_mul(1000), bytes_max)
            .map_err(|_| Refusal::RowsTooLarge(bytes_max))?;
        self.metrics.decoded(&decoded);
        let response = ExportTraceServiceResponse { partial_success: decoded.partial_success() };
        if decoded.spans.is_empty() {
            return Ok(response);
        }
        let hash = hash(&body);
        drop(body);
        let mut fate = self.queue.offer(hash, decoded.spans, decoded.bytes).map_err(|_| Refusal::Full)?;
        let known = fate.wait_for(|fate| *fate != Fate::Open);
        match tokio::time::timeout(self.config.answer_after(), known).await {
            Ok(Ok(fate)) => match &*fate {
                Fate::Refused(words) => Err(Refusal::Refused(words.clone())),
                Fate::Open | Fate::Stored => Ok(response),
            },
            // Given up at the end of the process, or still under way.
            Ok(Err(_)) | Err(_) => Err(self.queue.away_for().map_or(Refusal::Late, Refusal::Away)),
        }
    }
}

fn read(format: Format, body: &Bytes, bytes_max: usize) -> Result<ExportTraceServiceRequest, Refusal> {
    weight::check(format, body, bytes_max).map_err(|unweighed| match unweighed {
        Unweighed::TooHeavy => Refusal::MessagesTooLarge(bytes_max),
        Unweighed::Malformed => Refusal::Malformed("no tags and lengths of Protobuf".to_owned()),
    })?;
    match format {
        Format::Protobuf => ExportTraceServiceRequest::decode(body.clone())
            .map_err(|error| Refusal::Malformed(error.to_string())),
        // Where it is wrong, not what stands there.
        Format::Json => serde_json::from_slice(body).map_err(|error| {
            Refusal::Malformed(format!("no OTLP as JSON at line {}, column {}", error.line(), error.column()))
        }),
    }
}

fn hash(body: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(&blake3::hash(body).as_bytes()[..size_of::<Hash>()]);
    hash
}
