//! The emitter: what the layer, the publisher and the metrics of one boot have in common.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use event_log::Producer;
use prometheus_client::registry::Registry;
use wide_event::redact::Redactor;
use wide_event::{Resource, Timestamp};

use crate::config::EmitterConfig;
use crate::hop::{End, Hop};
use crate::identity::{Trace, new_uuid};
use crate::layer::EmitterLayer;
use crate::metrics::{EmitterMetrics, RequestCollector};
use crate::publisher::{Publisher, PublisherHandle};
use crate::queue::{Queue, Refused};
use crate::record::Part;
use crate::requests::{Requests, RouteId};
use crate::sequence::{self, Sequence};
use crate::state::State;

/// The address at the other end of the connection. A server that is not axum's puts it into each request's
/// extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// Why no emitter could be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{field}: {wrong}")]
    Config {
        /// Which setting.
        field: &'static str,
        /// What is wrong with it.
        wrong: String,
    },
    /// Collectors refuse events whose instance is not named.
    #[error("the resource names no instance")]
    NoInstance,
    /// Numbers would not survive a kill. Mend the directory, or do without.
    #[error("the sequence directory {path} can't be used")]
    SequenceDir {
        /// As configured.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Makes services leave events. Cheap to clone; all clones are one emitter.
#[derive(Debug, Clone)]
pub struct Emitter {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) enabled: bool,
    pub(crate) resource: Resource,
    pub(crate) sequence: Sequence,
    pub(crate) queue: Queue<Hop>,
    pub(crate) requests: Requests,
    pub(crate) metrics: EmitterMetrics,
    pub(crate) state: State,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("resource", &self.resource).finish_non_exhaustive()
    }
}

impl Shared {
    /// Queues the event of a hop that has ended, or counts that there was no room. Whether there was.
    pub(crate) fn queue(&self, hop: Hop, size: usize, failure: bool) -> bool {
        let dropped = match self.queue.push(hop, size, failure) {
            Ok(()) => return true,
            Err(Refused::Full) if failure => &self.metrics.dropped_queue_full_failure,
            Err(Refused::Full) => &self.metrics.dropped_queue_full,
            Err(Refused::Closed) => &self.metrics.dropped_shutdown,
        };
        dropped.inc();
        false
    }
}

impl Emitter {
    /// Starts the publisher as a task of the current tokio runtime. The resource's boot id is made here.
    ///
    /// `secret` is what visitors are hashed under: the same for all instances of a service, and kept.
    ///
    /// # Errors
    /// [`StartError`]: nothing was started.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        config: EmitterConfig,
        mut resource: Resource,
        secret: [u8; 32],
        producer: Arc<dyn Producer>,
    ) -> Result<(Self, PublisherHandle), StartError> {
        if let Some((field, wrong)) = config.check().into_iter().next() {
            return Err(StartError::Config { field, wrong });
        }
        if resource.instance.is_empty() {
            return Err(StartError::NoInstance);
        }
        resource.boot_id = new_uuid(Timestamp::from_system(SystemTime::now())).to_string();
        let (sequence, ended) = match &config.sequence_dir {
            Some(directory) if config.enabled => std::fs::create_dir_all(directory)
                .and_then(|()| {
                    Ok((Sequence::in_directory(directory, &resource)?, sequence::ended(directory)?))
                })
                .map_err(|source| StartError::SequenceDir { path: directory.clone(), source })?,
            _ => (Sequence::in_memory(), Vec::new()),
        };
        let (queue, receiver) = Queue::new(&config);
        let shared = Arc::new(Shared {
            enabled: config.enabled,
            resource,
            sequence,
            queue,
            requests: Requests::new(),
            metrics: EmitterMetrics::default(),
            state: State::default(),
        });
        let redactor = Redactor::new(secret);
        let handle = Publisher::start(config, Arc::clone(&shared), receiver, redactor, producer, ended);
        Ok((Self { shared }, handle))
    }

    /// The layer; to be put outermost.
    #[must_use]
    pub fn layer(&self) -> EmitterLayer {
        EmitterLayer { shared: Arc::clone(&self.shared) }
    }

    /// Shows counters of these routes from the start, and not from their first request on, which is in no rate then. For
    /// the few routes that objectives are stated for: each costs some 25 series.
    pub fn expect_routes(&self, templates: &[&str]) {
        for template in templates {
            self.shared.requests.route(template);
        }
    }

    /// Leaves the event of a request that never became one: a head that could not be parsed, was too long or did
    /// not come in time. `status` is what was answered, `error` what the parser said.
    pub fn malformed(&self, peer: Option<SocketAddr>, status: u16, error: &str) {
        let now = Timestamp::from_system(SystemTime::now());
        let request_id = new_uuid(now).to_string();
        let hop = Hop::new(Some(Arc::clone(&self.shared)), |record| {
            record.ts = now;
            record.trace = Trace::of(None);
            record.method = "OTHER";
            record.route = RouteId::MALFORMED;
            record.client = peer.map(|peer| peer.ip());
            record.verdict = Some(wide_event::Outcome::ClientError);
            record.put(Part::RequestId, request_id.as_bytes());
            record.fail_text("malformed_request", &error);
        });
        hop.end(status, End::Complete, 0);
    }

    /// The id of this boot, a UUIDv7.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.shared.resource.boot_id
    }

    /// The highest sequence number given out: with events on, the number of requests that have ended.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.shared.sequence.issued()
    }

    /// Requests counted.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.total()
    }

    /// Why events go nowhere, for as long as they do: the publisher has died, or the log refused the last append for
    /// good (closed, broken). `None` while it is only down or full, since then events wait, and after a shutdown.
    /// Cheap: for every probe.
    ///
    /// For readiness and nothing else: requests are answered as ever, and their events counted as dropped. A refusal
    /// is forgotten as soon as the log takes an event, so where a process that is not ready gets no requests, restart
    /// it once the log is mended.
    #[must_use]
    pub fn not_publishing(&self) -> Option<String> {
        self.shared.state.trouble()
    }

    /// The publisher's metrics.
    #[must_use]
    pub fn metrics(&self) -> &EmitterMetrics {
        &self.shared.metrics
    }

    /// Adds all metrics but the histogram of durations to a registry, whose prefix is the caller's.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(RequestCollector(Arc::clone(&self.shared))));
        self.shared.metrics.register(registry);
    }

    /// Appends the histogram of durations, `PREFIX_request_duration_seconds`, in OpenMetrics' text format: between
    /// `prometheus_client`'s `encode_registry` and `encode_eof`. Its exemplars are the newest requests whose events are
    /// certain to be kept: failures, what somebody forced, and what took longer than [`wide_event::latency::SLOW_US`].
    pub fn write_durations(&self, prefix: &str, text: &mut String) {
        self.shared.requests.write_durations(prefix, text);
    }
}
