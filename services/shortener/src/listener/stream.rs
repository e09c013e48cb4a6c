//! A client's connection that gives up on clients who take nothing, or next to nothing: what hyper has no limit for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::config::HttpConfig;

/// A TCP stream whose writes fail when they have waited for too long: each byte that is taken allows for some more
/// waiting, up to a bound. Only waiting counts, so an idle connection uses nothing up.
pub(super) struct ClientStream {
    tcp: TcpStream,
    limit: WriteLimit,
    /// How long writes may wait from now on.
    patience: Duration,
    // Made when a write has to wait, which those of redirects never do.
    waiting: Option<Waiting>,
}

/// How slowly a client may take what is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriteLimit {
    stall: Duration,
    bytes_per_s_min: u32,
}

struct Waiting {
    since: Instant,
    too_long: Pin<Box<Sleep>>,
}

impl WriteLimit {
    pub(super) fn new(config: &HttpConfig) -> Self {
        Self {
            stall: Duration::from_millis(config.write_stall_ms_max),
            bytes_per_s_min: config.write_bytes_per_s_min,
        }
    }

    /// What of `patience` is left when a write of some bytes has waited for so long.
    fn left(self, patience: Duration, waited: Duration, bytes: usize) -> Duration {
        if self.bytes_per_s_min == 0 {
            return self.stall;
        }
        #[allow(clippy::cast_precision_loss)] // of a write's bytes nothing is lost
        let earned = Duration::from_secs_f64(bytes as f64 / f64::from(self.bytes_per_s_min));
        patience.saturating_sub(waited).saturating_add(earned).min(self.stall)
    }
}

impl ClientStream {
    pub(super) fn new(tcp: TcpStream, limit: WriteLimit) -> Self {
        Self { tcp, limit, patience: limit.stall, waiting: None }
    }

    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            let waited = self.waiting.take().map_or(Duration::ZERO, |waiting| waiting.since.elapsed());
            if self.patience < self.limit.stall || !waited.is_zero() {
                let bytes = *written.as_ref().unwrap_or(&0);
                self.patience = self.limit.left(self.patience, waited, bytes);
            }
            return Poll::Ready(written);
        }
        let patience = self.patience;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Waiting { since: Instant::now(), too_long: Box::pin(sleep(patience)) });
        match waiting.too_long.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write(cx, bytes);
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write_vectored(cx, slices);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_too_little_runs_out_of_patience_and_others_do_not() {
        let limit = WriteLimit { stall: Duration::from_secs(15), bytes_per_s_min: 1_000 };
        let after = |limit: WriteLimit, waited_ms: u64, bytes: usize, times: u32| {
            let waited = Duration::from_millis(waited_ms);
            (0..times).fold(limit.stall, |patience, _| limit.left(patience, waited, bytes))
        };
        assert_eq!(after(limit, 1_000, 1, 16), Duration::from_millis(1), "but for what was taken");
        assert_eq!(after(limit, 1_000, 500, 10), Duration::from_secs(10));
        assert_eq!(after(limit, 1_000, 1_000, 1_000), limit.stall, "just enough");
        assert_eq!(after(limit, 14_000, 1_000_000, 1_000), limit.stall, "halting, and fast");
        let off = WriteLimit { bytes_per_s_min: 0, ..limit };
        assert_eq!(after(off, 14_000, 1, 1_000), limit.stall, "anything is progress");
    }
}
