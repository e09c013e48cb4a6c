//! Listening to what other instances change, for whoever caches something.
//! Lost messages are told as such; what to do about them is the cache's to decide.

use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use super::{Change, SharedState};

/// Listens until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Calls `on_change` for each change that another instance announces, in their order, within a tokio runtime. It must
/// not block: who is slow loses changes, and is told so by [`Change::Unknown`].
pub fn listen(shared: &dyn SharedState, on_change: impl Fn(Change) + Send + 'static) -> Listener {
    let mut changes = shared.changes();
    Listener(tokio::spawn(async move {
        loop {
            match changes.recv().await {
                Ok(change) => on_change(change),
                Err(RecvError::Lagged(_)) => on_change(Change::Unknown),
                Err(RecvError::Closed) => return,
            }
        }
    }))
}
