//! The work of an exporter: takes what waits for a destination and sends it, one request after the other, each tried some times
//! and then given up. What a backend does, and for how long, concerns nobody but this task.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use tokio_util::sync::CancellationToken;

use super::metrics::Reason;
use super::otlp::{self, Made};
use super::queue::Queue;
use super::send::{Client, SendError};
use crate::backoff::Backoff;

/// How often a request is tried: some two minutes with the waits in between. After that a backend has been away for so long that
/// what comes now is worth more than what came then.
const TRIES_MAX: u32 = 8;

/// No backend may ask for a longer wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long sending may go on once the end has come, what is under way included: the collector itself is given longer.
const LAST_MAX: Duration = Duration::from_secs(3);

/// One destination, and what is sent to it.
pub(super) struct Sender {
    pub(super) queue: Arc<Queue>,
    pub(super) client: Client,
    pub(super) process: Arc<ResourceAttributesWithSchema>,
}

impl Sender {
    /// Sends until it is told to stop, and then what waits, if that goes fast.
    pub(super) async fn work(self, shutdown: CancellationToken) {
        let over = async {
            shutdown.cancelled().await;
            tokio::time::sleep(LAST_MAX).await;
        };
        let (over, mut away) = (over.shared(), false);
        loop {
            let spans = tokio::select! {
                () = shutdown.cancelled() => break,
                spans = self.queue.next() => spans,
            };
            self.deliver(spans, &shutdown, over.clone(), &mut away).await;
        }
        loop {
            let spans = self.queue.take();
            if spans.is_empty() {
                return;
            }
            if away || over.peek().is_some() {
                self.queue.counts.dropped(Reason::Stopped, spans.len() as u64);
            } else {
                self.deliver(spans, &shutdown, over.clone(), &mut away).await;
            }
        }
    }

    /// Sends these spans, or drops them in the end, which is when it is `over`. `away`: whether that went wrong of late, which is
    /// said once.
    async fn deliver(
        &self,
        spans: Vec<Made>,
        shutdown: &CancellationToken,
        over: impl Future<Output = ()> + Clone,
        away: &mut bool,
    ) {
        let (count, counts) = (spans.len() as u64, &self.queue.counts);
        let export = otlp::request(spans, &self.process);
        let mut backoff = Backoff::default();
        for left in (0..TRIES_MAX).rev() {
            let sent = tokio::select! {
                biased;
                sent = self.client.send(&export) => sent,
                () = over.clone() => {
                    counts.dropped(Reason::Stopped, count);
                    return;
                }
            };
            let error = match sent {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    counts.sent(count - rejected);
                    counts.dropped(Reason::Refused, rejected);
                    if std::mem::take(away) {
                        tracing::info!(to = counts.to(), "spans are exported again");
                    }
                    return;
                }
                Err(error) => error,
            };
            counts.failed();
            if !std::mem::replace(away, true) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(to = counts.to(), error, "spans are not exported; some may be dropped");
            }
            let retry_after = match error {
                SendError::Refused(_) => {
                    counts.dropped(Reason::Refused, count);
                    return;
                }
                SendError::Away { retry_after, .. } => retry_after.unwrap_or_default(),
            };
            if left == 0 || shutdown.is_cancelled() {
                break;
            }
            let wait = backoff.next().max(retry_after).min(WAIT_MAX);
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        counts.dropped(Reason::Away, count);
    }
}
