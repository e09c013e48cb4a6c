//! Bodies of requests as they arrive: within a time, in one of few places, and no larger than they may be, also unpacked.

use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::receive::Refusal;

/// How long a body may take: exporters give up after 10 s, their longest default.
const ARRIVE_MAX: Duration = Duration::from_secs(10);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body is not there, and its time is over.
#[derive(Debug, thiserror::Error)]
#[error("the body did not come in time")]
pub(super) struct TooSlow;

/// A body on its way. Its place is free when it is read, or dropped.
pub(super) struct Arriving {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Arriving {
    pub(super) fn new(body: Incoming, place: OwnedSemaphorePermit) -> Self {
        Self { body, deadline: Box::pin(tokio::time::sleep(ARRIVE_MAX)), _place: place }
    }

    /// All of it, unpacked.
    pub(super) async fn read(self, gzip: bool, bytes_max: usize) -> Result<Bytes, Refusal> {
        let whole = Limited::new(self, bytes_max).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Refusal::TooLarge(bytes_max)
            } else if error.is::<TooSlow>() {
                Refusal::TooSlow
            } else {
                Refusal::Malformed("the body broke off".to_owned())
            }
        })?;
        if gzip { unpack(&whole.to_bytes(), bytes_max) } else { Ok(whole.to_bytes()) }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Box::new(TooSlow))));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Stops at the limit, however much more there would be.
fn unpack(packed: &[u8], bytes_max: usize) -> Result<Bytes, Refusal> {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(packed).take(limit).read_to_end(&mut unpacked);
    match read {
        Ok(bytes) if bytes > bytes_max => Err(Refusal::TooLarge(bytes_max)),
        Ok(_) => Ok(unpacked.into()),
        Err(_) => Err(Refusal::Malformed("the body is no gzip".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(bytes: usize) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; bytes]).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_unpacked_is_bounded() {
        assert_eq!(unpack(&packed(1000), 1000).unwrap().len(), 1000);
        assert!(matches!(unpack(&packed(1001), 1000), Err(Refusal::TooLarge(1000))));
        // A thousandth of it on the wire.
        let bomb = packed(64 << 20);
        assert!(bomb.len() < 100_000 && matches!(unpack(&bomb, 1 << 20), Err(Refusal::TooLarge(_))));
        assert!(matches!(unpack(&packed(1000)[..20], 1000), Err(Refusal::Malformed(_))));
        assert!(matches!(unpack(b"no gzip", 1000), Err(Refusal::Malformed(_))));
    }
}
