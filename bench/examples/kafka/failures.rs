//! Requests that fail, at a steady pace beside the load. A request that begins and never ends keeps the management API's only
//! place, so each other one for it is refused (503): a failure by no chance, and one that costs the service next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bench::Target;
use bench::connection::Connection;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// More often than this nothing has to be looked at.
const POLL: Duration = Duration::from_millis(10);

/// Requests that fail, until [`Failures::end`].
#[derive(Debug)]
pub(crate) struct Failures {
    /// Keeps the place while it is open.
    holder: Connection,
    over: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    task: JoinHandle<Result<()>>,
}

impl Failures {
    /// Begins with them.
    pub(crate) async fn start(target: &Target, per_second: u32) -> Result<Self> {
        let holder = hold(target).await?;
        let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task =
            tokio::spawn(send(target.clone(), per_second.max(1), Arc::clone(&over), Arc::clone(&count)));
        Ok(Self { holder, over, count, task })
    }

    /// Requests that were refused so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Ends them; how many there were.
    pub(crate) async fn end(self) -> Result<u64> {
        self.over.store(true, Ordering::SeqCst);
        self.task.await.context("the task of failures broke")??;
        drop(self.holder);
        Ok(self.count.load(Ordering::SeqCst))
    }
}

/// A request for the management API whose body never comes; returns once another one is refused because of it.
async fn hold(target: &Target) -> Result<Connection> {
    let mut holder = Connection::open(&target.address).await?;
    let head = format!(
        "POST /rest/v3/short-urls HTTP/1.1\r\nHost: {}\r\nX-Api-Key: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{",
        target.address, target.api_key
    );
    holder.send(head.as_bytes()).await?;
    let mut probe = Connection::open(&target.address).await?;
    // Without this it might be in flight before the holder is.
    tokio::time::sleep(20 * POLL).await;
    match refused(&mut probe, target).await? {
        503 => Ok(holder),
        status => bail!("a request that has to be refused was answered by {status}"),
    }
}

async fn send(target: Target, per_second: u32, over: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Result<()> {
    // The one of `hold`.
    count.fetch_add(1, Ordering::SeqCst);
    let mut due = tokio::time::interval(Duration::from_secs(1) / per_second);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = Connection::open(&target.address).await?;
    while !over.load(Ordering::SeqCst) {
        due.tick().await;
        if connection.is_stale() {
            connection = Connection::open(&target.address).await?;
        }
        match refused(&mut connection, &target).await.context("a request to be refused got no answer")? {
            503 => count.fetch_add(1, Ordering::SeqCst),
            status => bail!("a request that has to be refused was answered by {status}"),
        };
    }
    Ok(())
}

async fn refused(connection: &mut Connection, target: &Target) -> Result<u16> {
    let request = format!("GET /rest/v3/tags HTTP/1.1\r\nHost: {}\r\n\r\n", target.address);
    connection.send(request.as_bytes()).await?;
    Ok(connection.receive(false).await?.status)
}
