//! What axum knows of a request: the matched route, the peer's address; and the handle as an extractor.
//!
//! Only here is axum known; without the feature `axum` the crate serves any tower service.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath};
use http::request::Parts;
use http::{Extensions, Request};
use tower::{Layer, Service};

use crate::hop::Hop;

/// The template of the route, once axum has found it.
pub(crate) fn template(extensions: &Extensions) -> Option<&str> {
    extensions.get::<MatchedPath>().map(MatchedPath::as_str)
}

/// The peer, where the server was made with `into_make_service_with_connect_info::<SocketAddr>`.
pub(crate) fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// Takes the hop of the request, and tells it the route. Without the layer it is a [`Hop::detached`] one.
impl<S: Sync> FromRequestParts<S> for Hop {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let Some(hop) = parts.extensions.get::<Self>() else { return Ok(Self::detached()) };
        if let Some(template) = template(&parts.extensions) {
            hop.route(template);
        }
        Ok(hop.clone())
    }
}

/// Tells hops their routes: for `Router::route_layer`, where the emitter's own layer is outside the router and so
/// runs before routing. Not needed where that was added with `Router::layer`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouteLabelLayer;

impl<S> Layer<S> for RouteLabelLayer {
    type Service = RouteLabel<S>;

    fn layer(&self, inner: S) -> RouteLabel<S> {
        RouteLabel(inner)
    }
}

/// The service of [`RouteLabelLayer`].
#[derive(Debug, Clone)]
pub struct RouteLabel<S>(S);

impl<S: Service<Request<B>>, B> Service<Request<B>> for RouteLabel<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let extensions = request.extensions();
        if let (Some(hop), Some(template)) = (extensions.get::<Hop>(), template(extensions)) {
            hop.route(template);
        }
        self.0.call(request)
    }
}
