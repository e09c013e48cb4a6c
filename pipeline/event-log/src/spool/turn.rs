//! Takes turns among the processes that write `log.db`. SQLite's own lock is polled for, at growing intervals, so
//! that a busy writer starves all others for seconds (seen in tests); this one queues. Freed when its process dies.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};
use tokio::sync::oneshot;

/// The right to write, until dropped.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held for its lock")] File);

/// Where to wait for a turn.
#[derive(Debug)]
pub(super) struct Turns {
    directory: PathBuf,
    patience: Duration,
    /// A wait that took too long and goes on: the next one joins it, so that there is never more than one thread.
    waiting: Option<oneshot::Receiver<Result<Turn, Error>>>,
}

impl Turns {
    pub(super) fn new(directory: PathBuf, patience: Duration) -> Self {
        Self { directory, patience, waiting: None }
    }

    /// # Errors
    /// `TimedOut` after the patience: somebody else writes for that long, or hangs.
    pub(super) async fn next(&mut self) -> Result<Turn, Error> {
        if self.waiting.is_none() {
            if let Some(turn) = try_take(&self.directory)? {
                return Ok(turn);
            }
            let (done, waiting) = oneshot::channel();
            let directory = self.directory.clone();
            // Not tokio's: its runtime would wait for a hanging lock at the end of the process.
            std::thread::Builder::new().name("spool-turn".to_owned()).spawn(move || {
                // If nobody waits any more, the turn is dropped and so passed on.
                let _ = done.send(take(&directory));
            })?;
            self.waiting = Some(waiting);
        }
        let Some(waiting) = self.waiting.as_mut() else { return Err(ErrorKind::TimedOut.into()) };
        let waited = tokio::time::timeout(self.patience, waiting)
            .await
            .map_err(|_| Error::from(ErrorKind::TimedOut))?;
        self.waiting = None;
        waited.unwrap_or_else(|_| Err(ErrorKind::Interrupted.into()))
    }
}

/// Whoever wants a turn stands at the door (`queue`) until the turn is free, and only one fits there: who has just
/// had a turn finds the door taken and comes after.
fn take(directory: &Path) -> Result<Turn, Error> {
    let queue = file(directory, "queue.lock")?;
    retry_on_intr(|| flock(&queue, FlockOperation::LockExclusive))?;
    let turn = file(directory, "turn.lock")?;
    retry_on_intr(|| flock(&turn, FlockOperation::LockExclusive))?;
    Ok(Turn(turn))
}

/// The same if it needs no waiting.
fn try_take(directory: &Path) -> Result<Option<Turn>, Error> {
    let queue = file(directory, "queue.lock")?;
    let turn = file(directory, "turn.lock")?;
    for lock in [&queue, &turn] {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(Turn(turn)))
}

fn file(directory: &Path, name: &str) -> Result<File, Error> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_alternate_and_a_late_one_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let turns = || Turns::new(dir.path().to_owned(), Duration::from_millis(20));
        let (mut a, mut b) = (turns(), turns());
        let first = a.next().await.unwrap();
        assert_eq!(b.next().await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(b.next().await.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(first);
        // B stands in the queue since; A comes after it.
        b.patience = Duration::from_secs(60);
        let second = b.next().await.unwrap();
        assert_eq!(a.next().await.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(second);
        a.patience = Duration::from_secs(60);
        a.next().await.unwrap();
        assert!(b.waiting.is_none() && a.waiting.is_none());
    }
}
