//! The tower layer: starts a hop for each request, hands the handle in, and answers for a service that panics.
//!
//! Put it outermost. A second one further in finds the first one's hop and steps aside.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::body::{Guard, HopBody, RequestBody};
use crate::emitter::Shared;
use crate::hop::Hop;
use crate::identity::REQUEST_ID;

/// What a client is told of a panic: nothing.
const PANIC_BODY: &[u8] = br#"{"type":"about:blank","title":"Internal Server Error","status":500}"#;

type Panic = Box<dyn Any + Send>;

/// Makes a service leave exactly one event a request. See [`Emitter::layer`](crate::Emitter::layer).
#[derive(Debug, Clone)]
pub struct EmitterLayer {
    pub(crate) shared: Arc<Shared>,
}

impl<S> Layer<S> for EmitterLayer {
    type Service = EmitterService<S>;

    fn layer(&self, inner: S) -> EmitterService<S> {
        EmitterService { inner, shared: Arc::clone(&self.shared) }
    }
}

/// A service whose every request leaves exactly one event.
#[derive(Debug, Clone)]
pub struct EmitterService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B, RB> Service<Request<B>> for EmitterService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<RB>>,
    S::Error: std::fmt::Display,
    B: Body,
    RB: Body,
    RB::Data: From<Bytes>,
    RB::Error: std::fmt::Display,
{
    type Response = Response<HopBody<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> ResponseFuture<S::Future> {
        let is_head = request.method() == Method::HEAD;
        let (guard, request_id) = if request.extensions().get::<Hop>().is_some() {
            (None, None)
        } else {
            let (hop, request_id) = Hop::of(&self.shared, &request);
            request.extensions_mut().insert(hop.clone());
            (Some(Guard::new(hop)), Some(request_id))
        };
        let request = request.map(|body| RequestBody::new(body, guard.as_ref().map(Guard::hop)));
        let state = match catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) {
            Ok(future) => State::Running { future },
            Err(payload) => State::Over { payload: Some(payload) },
        };
        ResponseFuture { state, guard, request_id, is_head }
    }
}

pin_project! {
    /// The answer to come.
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
        // Behind the state: a handler that is dropped may still say something.
        guard: Option<Guard>,
        request_id: Option<HeaderValue>,
        is_head: bool,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Running { #[pin] future: F },
        Over { payload: Option<Panic> },
    }
}

impl<F, RB, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<RB>, E>>,
    E: std::fmt::Display,
    RB: Body,
{
    type Output = Result<Response<HopBody<RB>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = match this.state.as_mut().project() {
            StateProjection::Running { future } => catch_unwind(AssertUnwindSafe(|| future.poll(context))),
            StateProjection::Over { payload } => {
                Err(payload.take().unwrap_or_else(|| Box::new("polled again")))
            }
        };
        let mut result = match polled {
            Ok(polled) => Ok(ready!(polled)),
            Err(payload) => Err(payload),
        };
        // Dropping what the service left may panic as well.
        let over = State::Over { payload: None };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| this.state.set(over))) {
            result = result.and(Err(payload));
        }
        let (mut guard, is_head) = (this.guard.take(), *this.is_head);
        let mut response = match result {
            Ok(Ok(response)) => HopBody::wrap(response, guard, is_head),
            Ok(Err(error)) => {
                if let Some(guard) = &mut guard {
                    guard.hop().failed("service_error", &error);
                    guard.fail(Some(StatusCode::INTERNAL_SERVER_ERROR));
                }
                return Poll::Ready(Err(error));
            }
            Err(payload) => {
                if let Some(guard) = &guard {
                    guard.hop().panicked(&*payload);
                }
                HopBody::fixed(panic_response(), guard, is_head)
            }
        };
        if let Some(request_id) = this.request_id.take() {
            response.headers_mut().insert(REQUEST_ID, request_id);
        }
        Poll::Ready(Ok(response))
    }
}

fn panic_response() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(PANIC_BODY));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(PANIC_BODY.len()));
    response
}
