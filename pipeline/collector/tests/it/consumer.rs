//! A consumer that dies at a commit: before it, or after it and before anybody knows.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_log::{CommitError, Committer, ConsumeError, Consumer, Delivery, Lag, Position};
use tokio::sync::Notify;

/// Where it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    /// At the commit of an intent, or at that of a stored range.
    pub(crate) intent: bool,
    pub(crate) after: bool,
}

pub(crate) struct Mortal {
    pub(crate) inner: Box<dyn Consumer>,
    pub(crate) death: Death,
    pub(crate) dead: Arc<Notify>,
}

#[async_trait]
impl Consumer for Mortal {
    fn topic(&self) -> &str {
        self.inner.topic()
    }
    fn system(&self) -> &'static str {
        self.inner.system()
    }
    async fn next(&mut self, wait: Duration) -> Result<Delivery, ConsumeError> {
        self.inner.next(wait).await
    }
    fn committer(&self) -> Arc<dyn Committer> {
        Arc::new(MortalCommitter {
            inner: self.inner.committer(),
            death: self.death,
            dead: Arc::clone(&self.dead),
        })
    }
    fn pause(&mut self, partition: u32) {
        self.inner.pause(partition);
    }
    fn resume(&mut self, partition: u32) {
        self.inner.resume(partition);
    }
    fn release(&mut self, partition: u32) {
        self.inner.release(partition);
    }
    async fn lag(&mut self) -> Result<Vec<Lag>, ConsumeError> {
        self.inner.lag().await
    }
}

struct MortalCommitter {
    inner: Arc<dyn Committer>,
    death: Death,
    dead: Arc<Notify>,
}

#[async_trait]
impl Committer for MortalCommitter {
    async fn commit(&self, partition: u32, position: Position) -> Result<(), CommitError> {
        if position.metadata.is_empty() == self.death.intent {
            return self.inner.commit(partition, position).await;
        }
        if self.death.after {
            self.inner.commit(partition, position).await?;
        }
        self.dead.notify_one();
        std::future::pending().await
    }
}
