//! Bodies that are counted as they pass, and the guard that ends a hop exactly once.
//!
//! A hop ends with the last byte of its answer: when the body says so, when it has handed out all it announced, or
//! when it is dropped before. Bodies are passed on frame by frame, never held.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::hop::{End, Hop};

/// Status of a hop whose client went before there was an answer; nginx introduced it for that.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Ends its hop when dropped, if nobody did before.
#[derive(Debug)]
pub(crate) struct Guard {
    hop: Hop,
    status: u16,
    sent: u64,
    /// Length of the answer's body, where it is known beforehand.
    expected: Option<u64>,
    over: bool,
}

impl Guard {
    pub(crate) fn new(hop: Hop) -> Self {
        Self { hop, status: CLIENT_CLOSED_REQUEST, sent: 0, expected: None, over: false }
    }

    pub(crate) fn hop(&self) -> &Hop {
        &self.hop
    }

    /// There is an answer; the hop ends with its body.
    fn answered<B: Body>(&mut self, response: &Response<B>, bodiless: bool) {
        self.status = response.status().as_u16();
        let length = || response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        self.expected = response.body().size_hint().exact().or_else(length);
        // What follows these heads is no body, whatever the service made; it is never asked for.
        let none = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || none || response.body().is_end_stream() || self.expected == Some(0) {
            self.end(End::Complete);
        }
    }

    /// Some of the body went out.
    fn sent(&mut self, bytes: usize, is_last: bool) {
        self.sent += bytes as u64;
        if is_last || self.expected.is_some_and(|expected| self.sent >= expected) {
            self.end(End::Complete);
        }
    }

    pub(crate) fn fail(&mut self, status: Option<StatusCode>) {
        self.status = status.map_or(self.status, |status| status.as_u16());
        self.end(End::Failed);
    }

    fn end(&mut self, end: End) {
        if !std::mem::replace(&mut self.over, true) {
            self.hop.end(self.status, end, self.sent);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end(End::Cancelled);
    }
}

pin_project! {
    /// The body of an answer: the service's, or a fixed one where the service panicked.
    #[derive(Debug)]
    pub struct HopBody<B> {
        #[pin]
        content: Content<B>,
        guard: Option<Guard>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = ContentProjection]
    enum Content<B> {
        Service { #[pin] body: B },
        Fixed { bytes: Option<Bytes> },
    }
}

impl<B: Body> HopBody<B> {
    /// Wraps an answer, with the guard of its hop unless another layer holds it.
    pub(crate) fn wrap(response: Response<B>, mut guard: Option<Guard>, bodiless: bool) -> Response<Self> {
        if let Some(guard) = &mut guard {
            guard.answered(&response, bodiless);
        }
        response.map(|body| Self { content: Content::Service { body }, guard })
    }

    /// A body that is known beforehand.
    pub(crate) fn fixed(
        response: Response<Bytes>,
        mut guard: Option<Guard>,
        bodiless: bool,
    ) -> Response<Self> {
        let (head, bytes) = response.into_parts();
        if let Some(guard) = &mut guard {
            guard.status = head.status.as_u16();
            guard.expected = Some(bytes.len() as u64);
            if bodiless {
                guard.end(End::Complete);
            }
        }
        Response::from_parts(head, Self { content: Content::Fixed { bytes: Some(bytes) }, guard })
    }
}

impl<B: Body> Body for HopBody<B>
where
    B::Data: From<Bytes>,
    B::Error: std::fmt::Display,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let mut content = this.content;
        let polled = match content.as_mut().project() {
            ContentProjection::Service { body } => {
                catch_unwind(AssertUnwindSafe(|| body.poll_frame(context)))
            }
            ContentProjection::Fixed { bytes } => {
                Ok(Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes.into())))))
            }
        };
        let frame = match polled {
            Ok(polled) => ready!(polled),
            Err(payload) => {
                if let Some(guard) = this.guard {
                    guard.hop.panicked(&*payload);
                    guard.end(End::Failed);
                }
                // Its end can't be faked: an answer that stops in the middle must not look complete. The server
                // breaks the connection off.
                resume_unwind(payload)
            }
        };
        let Some(guard) = this.guard else { return Poll::Ready(frame) };
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                let is_last = match &*content {
                    Content::Service { body } => body.is_end_stream(),
                    Content::Fixed { bytes } => bytes.is_none(),
                };
                guard.sent(bytes, is_last);
            }
            Some(Err(error)) => {
                guard.hop.body_failed(guard.status, error);
                guard.end(End::Failed);
            }
            None => guard.end(End::Complete),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Service { body } => body.is_end_stream(),
            Content::Fixed { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Service { body } => body.size_hint(),
            Content::Fixed { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

pin_project! {
    /// The body of a request, counted as it is read.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        body: B,
        hop: Option<Hop>,
    }
}

impl<B: Body> RequestBody<B> {
    pub(crate) fn new(body: B, hop: Option<&Hop>) -> Self {
        let hop = hop.filter(|_| !body.is_end_stream()).cloned();
        Self { body, hop }
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        if let (Some(hop), Some(Ok(frame))) = (this.hop, &frame) {
            hop.0.bytes_in.fetch_add(frame.data_ref().map_or(0, Buf::remaining) as u64, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
