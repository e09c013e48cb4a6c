//! A request's body on its way from the network to the thread that runs the query.
//!
//! A few frames are in flight, never the whole body. A client that stops sending fails the read.

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use std::io::{self, Read};
use std::time::Duration;
use tokio::sync::mpsc;

/// Frames between network and query; hyper's are up to some hundred KiB.
const FRAMES_IN_FLIGHT: usize = 4;

/// What is still read of a body that nobody wants any more, so that the client gets to see the answer: it may
/// read only after it has written. Beyond it the connection is closed.
const DRAIN_BYTES_MAX: u64 = 16 << 20;

/// What is wrong with a body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("Timeout exceeded while reading the request body: nothing arrived for {} ms", .0.as_millis())]
    Stalled(Duration),
    #[error("The request body is larger than {0} bytes")]
    TooLarge(u64),
    #[error("The request body ended before it was complete")]
    Cut,
}

/// The reading end; it blocks.
pub(crate) struct BodyReader {
    frames: mpsc::Receiver<Result<Bytes, BodyError>>,
    current: Bytes,
}

/// The channel from [`forward`] to a query.
pub(crate) fn channel() -> (mpsc::Sender<Result<Bytes, BodyError>>, BodyReader) {
    let (sender, frames) = mpsc::channel(FRAMES_IN_FLIGHT);
    (sender, BodyReader { frames, current: Bytes::new() })
}

/// Reads `body` to its end, hands it on, and counts it.
pub(crate) async fn forward(
    mut body: hyper::body::Incoming,
    sender: mpsc::Sender<Result<Bytes, BodyError>>,
    stall: Duration,
    bytes_max: u64,
    counted: impl Fn(u64),
) {
    let mut bytes = 0;
    let mut wanted = true;
    let mut drained = 0;
    loop {
        let frame = match tokio::time::timeout(stall, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return drop(sender.send(Err(BodyError::Cut)).await),
            Err(_) => return drop(sender.send(Err(BodyError::Stalled(stall))).await),
        };
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len() as u64;
        counted(data.len() as u64);
        if bytes > bytes_max {
            return drop(sender.send(Err(BodyError::TooLarge(bytes_max))).await);
        }
        if wanted {
            wanted = sender.send(Ok(data)).await.is_ok();
        } else {
            drained += data.len() as u64;
            if drained > DRAIN_BYTES_MAX {
                return;
            }
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.frames.blocking_recv() {
                None => return Ok(0),
                Some(Ok(frame)) => self.current = frame,
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let n = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}
