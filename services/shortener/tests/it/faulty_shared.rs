//! Real shared state that one instance can be cut off from, while the others go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use shortener::shared::{Bucket, Change, Entry, SharedError, SharedState, Taken};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

pub(crate) struct FaultyShared {
    inner: Arc<dyn SharedState>,
    down: AtomicBool,
    heard: Mutex<broadcast::Receiver<Change>>,
    hears: AtomicBool,
}

impl FaultyShared {
    /// Of what has just been opened.
    pub(crate) fn new(inner: Arc<dyn SharedState>) -> Self {
        let heard = Mutex::new(inner.changes());
        Self { inner, down: AtomicBool::new(false), heard, hears: AtomicBool::new(false) }
    }

    /// Whether it hears what others say: a subscription begins with saying that messages may have been lost.
    pub(crate) fn hears(&self) -> bool {
        let anything = !matches!(self.heard.lock().unwrap().try_recv(), Err(TryRecvError::Empty));
        self.hears.fetch_or(anything, Ordering::SeqCst) || anything
    }

    /// Every call fails from now on, or works again. What others say is heard all the time.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), SharedError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(SharedError::Unavailable("it was taken down".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl SharedState for FaultyShared {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }
    async fn ping(&self) -> Result<(), SharedError> {
        self.check()?;
        self.inner.ping().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>, SharedError> {
        self.check()?;
        self.inner.get(key).await
    }
    async fn put(&self, key: &str, entry: Entry, change: Option<&Change>) -> Result<bool, SharedError> {
        self.check()?;
        self.inner.put(key, entry, change).await
    }
    async fn announce(&self, change: &Change) -> Result<(), SharedError> {
        self.check()?;
        self.inner.announce(change).await
    }
    fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes()
    }
    async fn take(&self, name: &str, bucket: Bucket, tokens: u32) -> Result<Taken, SharedError> {
        self.check()?;
        self.inner.take(name, bucket, tokens).await
    }
    async fn lease(&self, name: &str, holder: &str, keep: Duration) -> Result<bool, SharedError> {
        self.check()?;
        self.inner.lease(name, holder, keep).await
    }
}
