//! An answer on its way from the thread that runs the query to the network.
//!
//! Nothing is sent before 1 MiB of the result is there, it is complete, or it takes its time: until then a
//! failure still gets its proper status. After that a failure is marked in the stream and the connection is
//! broken off, so that no client takes a part for the whole. A client that stops reading fails the write.

use super::encoding::Encoder;
use crate::exception::{Exception, code};
use crate::ffi::Progress;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Chunks between query and network; a block of 65,409 rows each.
const CHUNKS_IN_FLIGHT: usize = 2;

/// What is held back by default. The size of ClickHouse's own output buffer.
const BUFFER_BYTES: usize = 1 << 20;

/// A block that comes this much later than the first one shows a result that takes its time: it is sent as
/// it comes, as ClickHouse does. Faster ones are complete, or a megabyte, before anybody would notice.
const BUFFER_TIME: Duration = Duration::from_millis(20);

/// What goes over the channel.
pub(crate) enum Reply {
    /// Status and headers, always first.
    Head(StatusCode, HeaderMap),
    /// Encoded bytes.
    Chunk(Bytes),
    /// The answer is complete.
    End,
}

/// What the answer looks like, apart from its content.
pub(crate) struct Shape {
    pub(crate) headers: HeaderMap,
    pub(crate) encoder: Encoder,
    pub(crate) encoding: Option<&'static str>,
    /// Bytes that are held back, if the client says how many.
    pub(crate) buffer_bytes: Option<usize>,
    /// Hold back everything, and fail beyond this.
    pub(crate) wait_end: Option<usize>,
    pub(crate) progress_headers: bool,
    pub(crate) stall: Duration,
    /// Marks a failure in the stream; random, so that no data can look like it.
    pub(crate) tag: String,
    pub(crate) version: String,
}

/// The writing end; it blocks.
pub(crate) struct Writer {
    replies: mpsc::Sender<Reply>,
    runtime: tokio::runtime::Handle,
    shape: Shape,
    held: Vec<Bytes>,
    held_bytes: usize,
    held_since: Option<Instant>,
    head_sent: bool,
    progress: Progress,
    started: Instant,
}

/// The client is gone, or has stopped reading.
#[derive(Debug)]
pub(crate) struct Gone;

impl Writer {
    pub(crate) fn new(runtime: tokio::runtime::Handle, shape: Shape) -> (Self, mpsc::Receiver<Reply>) {
        let (replies, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let (held, held_since, progress, started) = (Vec::new(), None, Progress::default(), Instant::now());
        (
            Self {
                replies,
                runtime,
                shape,
                held,
                held_bytes: 0,
                held_since,
                head_sent: false,
                progress,
                started,
            },
            receiver,
        )
    }

    /// Headers that are known once the statement is.
    pub(crate) fn describe(&mut self, format: &str, content_type: &str) {
        insert(&mut self.shape.headers, "x-clickhouse-format", format);
        insert(&mut self.shape.headers, "content-type", content_type);
    }

    pub(crate) fn count(&mut self, progress: Progress) {
        self.progress += progress;
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// A piece of the result.
    pub(crate) fn write(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        if chunk.is_empty() {
            return Ok(());
        }
        if self.head_sent {
            return self.send_chunk(chunk);
        }
        self.held_bytes += chunk.len();
        self.held.push(chunk);
        let slow = self.held_since.get_or_insert_with(Instant::now).elapsed() > BUFFER_TIME;
        match (self.shape.wait_end, self.shape.buffer_bytes) {
            (Some(bytes_max), _) if self.held_bytes > bytes_max => Err(WriteError::TooLarge(bytes_max)),
            (None, Some(bytes)) if self.held_bytes > bytes => self.send_held(),
            (None, None) if slow || self.held_bytes > BUFFER_BYTES => self.send_held(),
            _ => Ok(()),
        }
    }

    /// The result is complete.
    pub(crate) fn finish(mut self) -> Result<(), Gone> {
        let sent = self.send_held().and_then(|()| {
            let encoder = std::mem::replace(&mut self.shape.encoder, Encoder::Plain);
            let rest = encoder.finish().map_err(|_| WriteError::Gone)?;
            if !rest.is_empty() {
                self.send(Reply::Chunk(rest)).map_err(|Gone| WriteError::Gone)?;
            }
            self.send(Reply::End).map_err(|Gone| WriteError::Gone)
        });
        sent.map_err(|_| Gone)
    }

    /// The query failed.
    pub(crate) fn fail(mut self, exception: &Exception) -> Result<(), Gone> {
        if self.head_sent {
            let block = exception.mid_stream(&self.shape.tag);
            // Dropped without `End`: the body's reader breaks the connection off.
            return self.send_chunk(block.into()).map_err(|_| Gone);
        }
        self.held = vec![format!("{}\n", exception.text).into()];
        let headers = &mut self.shape.headers;
        insert(headers, "content-type", "text/plain; charset=UTF-8");
        insert(headers, "x-clickhouse-exception-code", &exception.code.to_string());
        if exception.status() == StatusCode::UNAUTHORIZED {
            insert(headers, "www-authenticate", "Basic realm=\"ClickHouse server HTTP API\"");
        }
        self.send_head(exception.status())?;
        self.finish()
    }

    fn send_head(&mut self, status: StatusCode) -> Result<(), Gone> {
        self.head_sent = true;
        let mut headers = std::mem::take(&mut self.shape.headers);
        let summary = summary(self.progress, self.started.elapsed());
        insert(&mut headers, "x-clickhouse-summary", &summary);
        if self.shape.progress_headers {
            insert(&mut headers, "x-clickhouse-progress", &summary);
        }
        if let Some(encoding) = self.shape.encoding {
            insert(&mut headers, "content-encoding", encoding);
        }
        insert(&mut headers, "x-clickhouse-exception-tag", &self.shape.tag);
        self.send(Reply::Head(status, headers))
    }

    fn send_held(&mut self) -> Result<(), WriteError> {
        if !self.head_sent {
            self.send_head(StatusCode::OK).map_err(|Gone| WriteError::Gone)?;
        }
        for chunk in std::mem::take(&mut self.held) {
            self.send_chunk(chunk)?;
        }
        Ok(())
    }

    fn send_chunk(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        let encoded = self.shape.encoder.push(chunk).map_err(|_| WriteError::Gone)?;
        self.send(Reply::Chunk(encoded)).map_err(|Gone| WriteError::Gone)
    }

    fn send(&self, reply: Reply) -> Result<(), Gone> {
        // Without waiting if there is room, which is the usual case.
        match self.replies.try_send(reply) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Gone),
            Err(mpsc::error::TrySendError::Full(reply)) => {
                let sent = self.replies.send_timeout(reply, self.shape.stall);
                self.runtime.block_on(sent).map_err(|_| Gone)
            }
        }
    }

    pub(crate) fn client_is_gone(&self) -> bool {
        self.replies.is_closed()
    }

    pub(crate) fn version(&self) -> &str {
        &self.shape.version
    }
}

/// Why a piece of a result could not be written.
#[derive(Debug)]
pub(crate) enum WriteError {
    Gone,
    TooLarge(usize),
}

impl From<WriteError> for Exception {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Gone => Self::new(code::QUERY_WAS_CANCELLED, "The client is gone"),
            WriteError::TooLarge(bytes) => Self::new(
                code::MEMORY_LIMIT_EXCEEDED,
                format_args!(
                    "The result is larger than the {bytes} bytes that wait_end_of_query may hold back"
                ),
            ),
        }
    }
}

/// `X-ClickHouse-Summary`: numbers as strings, as ClickHouse writes them.
fn summary(progress: Progress, elapsed: Duration) -> String {
    let Progress { rows_read, bytes_read, rows_written, bytes_written, rows_result, bytes_result } = progress;
    format!(
        "{{\"read_rows\":\"{rows_read}\",\"read_bytes\":\"{bytes_read}\",\"written_rows\":\"{rows_written}\",\
         \"written_bytes\":\"{bytes_written}\",\"total_rows_to_read\":\"{rows_read}\",\
         \"result_rows\":\"{rows_result}\",\"result_bytes\":\"{bytes_result}\",\"elapsed_ns\":\"{}\"}}",
        elapsed.as_nanos()
    )
}

/// Sets a header; a value that HTTP cannot carry is left out.
pub(crate) fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// The body that hyper sends. Dropped before its end, it lets go of `guard`, which stops the query.
pub(crate) struct ReplyBody {
    replies: Option<mpsc::Receiver<Reply>>,
    whole: Option<Bytes>,
    guard: Option<crate::server::StopOnDrop>,
    sent: Box<dyn Fn(u64) + Send + Sync>,
    broken: Broken,
}

/// What is left to do once a reply ends early: hyper must first have flushed what it was given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    No,
    Flushing,
    Now,
}

impl ReplyBody {
    /// A body that is there already.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let sent = Box::new(|_| ());
        Self { replies: None, whole: Some(bytes), guard: None, sent, broken: Broken::No }
    }

    /// A body that is still being written.
    pub(crate) fn stream(
        replies: mpsc::Receiver<Reply>,
        guard: crate::server::StopOnDrop,
        sent: Box<dyn Fn(u64) + Send + Sync>,
    ) -> Self {
        Self { replies: Some(replies), whole: None, guard: Some(guard), sent, broken: Broken::No }
    }

    fn end(&mut self) {
        self.replies = None;
        if let Some(guard) = self.guard.take() {
            guard.disarm();
        }
    }
}

impl hyper::body::Body for ReplyBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(bytes) = self.whole.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.broken {
            Broken::No => {}
            Broken::Flushing => {
                // One turn without a frame makes hyper flush; the next one ends it.
                self.broken = Broken::Now;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Broken::Now => {
                self.end();
                return Poll::Ready(Some(Err(std::io::Error::other("the query failed"))));
            }
        }
        let Some(replies) = self.replies.as_mut() else {
            return Poll::Ready(None);
        };
        match std::task::ready!(replies.poll_recv(context)) {
            Some(Reply::Chunk(bytes)) => {
                (self.sent)(bytes.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Some(Reply::End) => {
                self.end();
                Poll::Ready(None)
            }
            Some(Reply::Head(..)) | None => {
                self.broken = Broken::Flushing;
                self.poll_frame(context)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_none() && self.replies.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.whole, &self.replies) {
            (Some(bytes), _) => SizeHint::with_exact(bytes.len() as u64),
            (None, None) => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

/// Whether a client asked for a connection of its own is HTTP's affair; this only names the server.
pub(crate) fn common_headers(engine: &crate::engine::Engine, query_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, "x-clickhouse-query-id", query_id);
    insert(&mut headers, "x-clickhouse-server-display-name", &engine.host);
    insert(&mut headers, "x-clickhouse-timezone", &engine.timezone);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}
